"""What inputs and labels must be."""

from typing import Any

import torch
from torch import Tensor

from hauberk.errors import InputError
from hauberk.threats.base import Box


def check(x: Tensor, y: Tensor, box: Box, grouped: bool = False) -> tuple[Tensor, Tensor]:
    """Inputs and labels as they must be, or one clear error; integer labels become int64.

    ``grouped``: inputs (G, M, ...) and labels (G, M) instead of (B, ...) and (B,).
    """
    y = check_kinds(x, y, box, grouped)
    check_values(x, box)
    return x, y


def check_kinds(x: Any, y: Tensor, box: Box, grouped: bool = False) -> Tensor:
    """Refuse inputs of another type or shape than labels say; the labels as int64.

    Args:
        x: anything with the shape and dtype of inputs ``(B, ...)``; nothing of it is read.

    Raises:
        InputError: as :func:`check` does.
    """
    if not isinstance(getattr(x, "dtype", None), torch.dtype) or not isinstance(y, Tensor):
        raise InputError("inputs and labels must be torch tensors: use torch.as_tensor")
    if not x.dtype.is_floating_point:
        raise InputError(f"inputs are {x.dtype}: give floats in the box {box} (uint8 / 255)")
    kind, many = ("(G, M)", 2) if grouped else ("(B,)", 1)
    if y.is_floating_point() or y.dtype == torch.bool or y.dim() != many:
        raise InputError(f"labels are {y.dtype} {tuple(y.shape)}: give integer class ids {kind}")
    if grouped and (len(x.shape) < 3 or x.shape[:2] != y.shape or not x.shape[1]):
        raise InputError(
            f"{tuple(x.shape)} inputs with {tuple(y.shape)} labels: give groups (G, M, ...) of at "
            "least one input each, and (G, M)"
        )
    if len(x.shape) < 2 or len(x) != len(y):
        raise InputError(f"{tuple(x.shape)} inputs with {len(y)} labels: give (B, ...) and (B,)")
    if bool((y < 0).any()):
        raise InputError(f"label {int(y.min())} is negative: classes are numbered from 0")
    return y.long()


def check_values(x: Tensor, box: Box, start: int = 0) -> None:
    """Refuse inputs ``(B, ...)`` that are not finite or leave the box; ``start``: of the first.

    Raises:
        InputError: as :func:`check` does.
    """
    if len(x) and not bool(x.isfinite().all()):
        bad = start + int((~x.isfinite().flatten(1).all(1)).nonzero()[0])
        raise InputError(f"input {bad} holds NaN or infinite values: clean the data")
    lo, hi = box.bounds(x)
    if not bool(((x >= lo) & (x <= hi)).all()):
        raise InputError(
            f"inputs lie in [{float(x.min()):.4g}, {float(x.max()):.4g}] but the box is {box}: "
            "move normalisation into the model, or pass box="
        )
