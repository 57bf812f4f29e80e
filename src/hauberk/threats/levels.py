"""Changes of 8-bit images in whole steps: what rounding takes from a fraction, undone."""

from math import inf

import torch
from torch import Tensor

from hauberk.maths.norms import norm
from hauberk.maths.steps import per_example

LEVELS = 255
"""Steps from one end of the box to the other."""

ROUNDED = 1 + 2.0**-24
"""A size may be the fraction's float32: by how much that rounds it down at most."""


def in_steps(x: Tensor, x0: Tensor, edges: tuple[Tensor, Tensor]) -> Tensor:
    """How far 8-bit values moved, ``(S, ...)`` float64: a fraction of the box, rounded once.

    An 8-bit image divided by 255 holds rounded numbers, so that the difference of 8 steps may
    exceed 8/255 by what rounding added. Where both numbers are one of the 256 levels of the box, to
    within two units in the last place, this is their number of steps times the step.

    Args:
        x: points ``(S, ...)``; x0: the clean inputs, alike.
        edges: the ends of the box, which broadcast to one input.

    Returns:
        inf where one of the two is no level, or the box has no end.

    Example:
        >>> levels = torch.arange(256.0) / 255
        >>> x0, x = levels[None, :-8], levels[None, 8:]
        >>> bool(((x.double() - x0.double()) > 8 / 255).any())
        True
        >>> bool((in_steps(x, x0, (torch.tensor(0.0), torch.tensor(1.0))) == 8 / 255).all())
        True
    """
    lo, hi = (edge.double() for edge in edges)
    size = hi - lo
    steps, whole = _steps(x.double(), lo, size, x.dtype)
    steps0, whole0 = _steps(x0.double(), lo, size, x0.dtype)
    both = whole & whole0 & size.isfinite()
    return torch.where(both, (steps - steps0).abs() * size / LEVELS, inf)


def _steps(x: Tensor, lo: Tensor, size: Tensor, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """The nearest level of each number, and whether it is that level but for rounding."""
    steps = ((x - lo) / size * LEVELS).round()
    off = (x - (lo + steps * size / LEVELS)).abs()
    return steps, off <= 2 * torch.finfo(dtype).eps * (lo.abs() + (x - lo).abs())


def within(x: Tensor, x0: Tensor, reach: Tensor, edges: tuple[Tensor, Tensor]) -> Tensor:
    """Whether no feature moved by more than ``reach``, in float64 or in whole steps, ``(S,)`` bool.

    Args:
        x, x0, edges: as of :func:`in_steps`.
        reach: of every feature, float64, which broadcasts to the inputs.
    """
    plain = (x.double() - x0.double()).abs() <= reach
    return (plain | (in_steps(x, x0, edges) <= reach * ROUNDED)).flatten(1).all(1)


def linf_distance(x: Tensor, x0: Tensor, radius: Tensor, edges: tuple[Tensor, Tensor]) -> Tensor:
    """The largest change, ``(S,)`` float64; the radius where whole steps bring a point within it.

    Args:
        x, x0, edges: as of :func:`in_steps`.
        radius: ``(S,)`` float64.
    """
    far = norm(x.double() - x0.double(), inf)
    # Only what exceeds the radius by as little as rounding can is looked at more closely.
    size = torch.stack([end.double().abs().nan_to_num(posinf=0.0).amax() for end in edges]).amax()
    close = (far > radius) & (far <= radius + 8 * torch.finfo(x0.dtype).eps * size)
    if close.device.type == "cpu" and not bool(close.any()):
        return far
    return torch.where(close & within(x, x0, per_example(radius, x0), edges), radius, far)
