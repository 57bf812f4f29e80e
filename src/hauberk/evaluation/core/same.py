"""Whether the model still decides the clean inputs as the run that is resumed recorded it.

Fingerprints tell models apart by their weights and their code. This is the second net, for plain
functions and for code that changed where no fingerprint looks.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from hauberk.errors import InputError
from hauberk.evaluation.core.judge import CleanVerdict

ROUNDING = 1e-3
"""Share of a block's largest logit by which another device or batch size may change margins."""

REMEDY = "resume with the same model, or choose another --out"


def require_same_decisions(
    part: Mapping[str, Any],
    margins: Tensor | None,
    ids: Tensor,
    clean: CleanVerdict,
    dtype: torch.dtype,
) -> None:
    """Refuse a model whose clean margins or decisions are not those of the recorded part.

    Args:
        part: columns ``id``, ``margin`` and ``correct`` of the clean part.
        margins: of every domain, ``(B, ...)``, if the part has them.
        ids: of the block's examples now, ``(B,)``.
        clean: what the judge finds on them now.
        dtype: of the model, which sets the scale of rounding.

    Raises:
        InputError: naming the first input that is decided otherwise.
    """
    if not np.array_equal(part["id"], ids.numpy()):
        raise InputError(f"the run holds other examples in this block than it is given: {REMEDY}")
    was, now = (np.asarray(part["margin"], dtype=float)[:, None], clean.margin.numpy()[:, None])
    if margins is not None:
        was, now = margins.flatten(1).numpy(), clean.tensors["margins"].flatten(1).numpy()
    allowed = max(ROUNDING, 16 * torch.finfo(dtype).eps) * clean.scale
    with np.errstate(invalid="ignore"):
        same = (np.abs(was - now) <= allowed) | (was == now) | (np.isnan(was) & np.isnan(now))
        clear = np.maximum(np.abs(was), np.abs(now)).min(1) > allowed
    correct = np.asarray(part["correct"], dtype=bool) != clean.correct.cpu().numpy()
    other = ~same.all(1) | (correct & clear)
    if other.any():
        k = int(np.flatnonzero(other)[0])
        d = int(np.argmin(same[k]))
        raise InputError(
            f"the model decides clean input {int(ids[k])} otherwise than this run recorded "
            f"(margin {now[k, d]:.6g}, recorded {was[k, d]:.6g}): {REMEDY}"
        )
