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

ROUNDING = 1e-3
"""Share of a block's largest logit by which another device or batch size may change margins."""

REMEDY = "resume with the same model, or choose another --out"


def require_same_decisions(
    part: Mapping[str, Any], ids: Tensor, margin: Tensor, correct: Tensor, logits: Tensor
) -> None:
    """Refuse a model whose clean margins or decisions are not those of the recorded part.

    Args:
        part: columns ``id``, ``margin`` and ``correct`` of the clean part.
        ids, margin, correct: of the block's examples now, ``(B,)``.
        logits: their logits, ``(B, C)``, which set the scale of rounding.

    Raises:
        InputError: naming the first input that is decided otherwise.
    """
    if not np.array_equal(part["id"], ids.numpy()):
        raise InputError(f"the run holds other examples in this block than it is given: {REMEDY}")
    was, now = np.asarray(part["margin"], dtype=float), margin.double().cpu().numpy()
    share = max(ROUNDING, 16 * torch.finfo(logits.dtype).eps)
    scale = logits.double().nan_to_num(nan=0.0, posinf=0.0, neginf=0.0).abs()
    allowed = share * (float(scale.amax()) if scale.numel() else 0.0)
    with np.errstate(invalid="ignore"):
        far = ~(np.abs(was - now) <= allowed) & ~((was == now) | (np.isnan(was) & np.isnan(now)))
        clear = np.maximum(np.abs(was), np.abs(now)) > allowed
    other = far | ((np.asarray(part["correct"], dtype=bool) != correct.cpu().numpy()) & clear)
    if other.any():
        k = int(np.flatnonzero(other)[0])
        raise InputError(
            f"the model decides clean input {int(ids[k])} otherwise than this run recorded "
            f"(margin {now[k]:.6g}, recorded {was[k]:.6g}): {REMEDY}"
        )


def require_same_domains(wrong: Tensor, recorded: Tensor, ids: Tensor) -> None:
    """Refuse models that decide clean inputs otherwise than recorded, behind their transformations.

    Args:
        wrong, recorded: ``(B, ...)`` bool, now and in the ledger. One in a hundred decisions may
            differ by rounding.

    Raises:
        InputError: naming the first input that is decided otherwise.
    """
    other = (wrong != recorded).flatten(1) if wrong.shape == recorded.shape else None
    if other is None or float(other.double().mean()) > 0.01:
        k = 0 if other is None else int(other.any(1).nonzero()[0])
        raise InputError(
            f"the models decide clean input {int(ids[k])} otherwise than this run "
            f"recorded: {REMEDY}"
        )
