"""Adversarial points as images of 8 bits: rounded towards the clean image, and judged again."""

import torch
from torch import Tensor

from hauberk.errors import InputError
from hauberk.threats.box import Box

MOST = 255


def to_bytes(points: Tensor, clean: Tensor, box: Box) -> tuple[Tensor, Tensor]:
    """Points as whole numbers from 0 to 255 of the box, rounded towards the clean inputs.

    Where the clean input is such a number itself, a rounded point lies between it and the point, so
    that it stays inside every ball that the point lies in.

    Args:
        points: ``(B, ...)``. clean: alike.

    Returns:
        The numbers, ``(B, ...)`` uint8, and the inputs that they stand for, in the points' dtype.

    Raises:
        InputError: for a box without ends.

    Example:
        >>> clean = torch.tensor([[100.0, 100.0]]) / 255
        >>> to_bytes(clean + torch.tensor([[0.010, -0.010]]), clean, Box())[0]
        tensor([[102,  98]], dtype=torch.uint8)
    """
    lo, hi = (edge.double() for edge in box.bounds(clean))
    if not bool((lo.isfinite() & hi.isfinite()).all()):
        raise InputError(f"the box {box} has no end, so 8-bit values have no place in it")
    wide = torch.where(hi > lo, hi - lo, 1.0)
    goal, start = (((v.double() - lo) / wide) * MOST for v in (points, clean))
    # What is a whole number but for the rounding of the inputs counts as one.
    size = torch.finfo(torch.float32).eps * 4 * MOST
    goal, start = (torch.where((v - v.round()).abs() <= size, v.round(), v) for v in (goal, start))
    inward = torch.where(goal >= start, goal.floor(), goal.ceil())
    # Between a clean input that is no whole number and its point there may be none.
    passed = torch.where(goal >= start, inward < start, inward > start)
    whole = torch.where(passed, start.round(), inward).clamp(0, MOST)
    found = (lo + wide * whole / MOST).to(points.dtype)
    return whole.to(torch.uint8), torch.where(whole == start, clean.to(found), found)
