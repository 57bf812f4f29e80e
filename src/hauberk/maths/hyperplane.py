"""The shortest step onto a hyperplane, inside a box, in any lp norm."""

from math import inf

import torch
from torch import Tensor

MOST = 40  # Newton steps; 2 to 8 are usual


@torch.no_grad()
def to_hyperplane(w: Tensor, c: Tensor, p: float, lo: Tensor | float, hi: Tensor | float) -> Tensor:
    """The d of least lp norm with ``w . d = c`` and ``lo <= d <= hi``, per example.

    Where the box does not reach the hyperplane, the corner that comes nearest to it; where ``w``
    vanishes, 0. Exact up to rounding.

    Args:
        w: normals, ``(B, ...)``, finite.
        c: how far the hyperplanes lie from 0, in units of the normal, ``(B,)``.
        p: 0 (fewest coordinates), any number from 1 on, or inf.
        lo, hi: the box, ``lo <= 0 <= hi``; numbers, or tensors that broadcast to ``w``.

    Source: Croce & Hein 2020 (FAB), section 3.1, there for p = 1, 2, inf.

    Raises:
        ValueError: for any other p.

    Example:
        >>> w, c = torch.tensor([[1.0, 2.0]]), torch.tensor([1.0])
        >>> [to_hyperplane(w, c, p, -1.0, 1.0).tolist() for p in (1, inf)]
        [[[0.0, 0.5]], [[0.3333333432674408, 0.3333333432674408]]]
    """
    if p != 0 and not p >= 1:
        raise ValueError(f"p is {p}: give 0, or p >= 1")
    flat = w.flatten(1)
    direction = flat.sign() * c.sign().unsqueeze(1)
    low, high = (torch.as_tensor(b).to(w).expand_as(w).flatten(1) for b in (lo, hi))
    room = torch.where(direction > 0, high, -low).masked_fill_(direction == 0, 0)
    # Scaled, so that squares of small gradients do not vanish.
    top = flat.abs().amax(1, keepdim=True).clamp_min_(torch.finfo(w.dtype).tiny)
    size = flat.abs() / top
    goal = c.abs().to(w.dtype).unsqueeze(1) / top
    # No coordinate needs more than takes it there alone: so all is finite in an unbounded box. The
    # doubling keeps rounding from making the goal seem out of reach.
    room = torch.minimum(room, (2 * goal / size).nan_to_num_(nan=0.0).clamp_(max=1e30))
    size_of = _filled if p <= 1 else _shared
    return (size_of(size, room, goal, p) * direction).view_as(w)


def _shared(size: Tensor, room: Tensor, goal: Tensor, p: float) -> Tensor:
    """Magnitudes for p > 1: min(s |w|^(1/(p-1)), room), with the s that reaches the goal.

    What is reached is concave, rising and piecewise linear in s: Newton's method climbs to the
    root from the left, and where no kink lies ahead a step ends exactly.
    """
    each = (size > 0).to(size.dtype) if p == inf else size.pow(1 / (p - 1))
    gain = size * each
    s = goal / gain.sum(1, keepdim=True).clamp_min_(torch.finfo(size.dtype).tiny)
    for _ in range(MOST):
        ray = each * s
        left = torch.minimum(ray, room)
        lacking = goal - (left * size).sum(1, keepdim=True)
        slope = gain.masked_fill(ray >= room, 0).sum(1, keepdim=True)
        step = torch.where(slope > 0, lacking / slope, 0.0).clamp_min_(0)
        step = torch.minimum(step, s.abs() * 1e30 + 1e-30)
        s = s + step
        if s.is_cpu and not bool((step > s * (4 * torch.finfo(s.dtype).eps)).any()):
            break
    # A goal beyond the box leaves no slope before all rooms are used.
    over = goal > (room * size).sum(1, keepdim=True)
    return torch.where(over, room, torch.minimum(each * s, room))


def _filled(size: Tensor, room: Tensor, goal: Tensor, p: float) -> Tensor:
    """Fills coordinates greedily, largest |w| (p = 1) or |w| x room (p = 0) first.

    The last one is filled in part.
    """
    gain = size * room
    worth = size if p == 1 else gain
    order = worth.argsort(dim=1, descending=True)
    gains = gain.gather(1, order)
    before = gains.cumsum(1).sub_(gains)
    share = ((goal - before) / gains.clamp_min(torch.finfo(size.dtype).tiny)).clamp_(0, 1)
    part = share * room.gather(1, order)
    return torch.zeros_like(room).scatter_(1, order, part)
