"""The projection onto lp-ball ∩ box on rows, for general p > 1."""

import torch
from torch import Tensor

from hauberk.maths.norms import norm
from hauberk.maths.roots import shrink_


def solve_lp(a: Tensor, p: float, reach: Tensor, lo: Tensor, hi: Tensor) -> Tensor:
    """Project rows ``a`` (B, d); ``reach`` (B, 1) float64, bounds broadcast to ``a``.

    Per entry ``t + mu p t^(p-1) = |a|`` has one root in [0, |a|]; clipped roots shrink as mu grows,
    and mu is found by bisection on its logarithm, in float64.
    """
    clipped = a.clamp(lo, hi)
    inside = norm(clipped.double(), p).unsqueeze(1) <= reach
    if a.device.type == "cpu" and bool(inside.all()):
        return clipped
    wide = a.double()
    size = wide.abs()
    top = size.amax(1, keepdim=True).clamp_min_(1e-300)
    size = size / top
    cap = torch.copysign(torch.full_like(wide[:1, :1], torch.inf), wide).clamp_(
        lo.double(), hi.double()
    )
    cap = cap.abs_() / top
    aim = (reach / top).clamp_min(1e-30)
    low, high = torch.full_like(top, -80.0), torch.full_like(top, 80.0)
    for _ in range(64):
        mid = 0.5 * (low + high)
        outside = norm(_entries(size, p, mid.exp()).minimum(cap), p).unsqueeze(1) > aim
        low, high = torch.where(outside, mid, low), torch.where(outside, high, mid)
    part = _entries(size, p, high.exp()).minimum(cap).mul_(top).copysign_(wide)
    part = torch.where(inside, clipped.double(), part)
    return shrink_(part.to(a.dtype), reach, p).clamp_(lo, hi)


def _entries(size: Tensor, p: float, mu: Tensor) -> Tensor:
    """Root t in [0, size] of ``t + mu p t^(p-1) = size``, per entry, by safeguarded Newton."""
    low, high = torch.zeros_like(size), size
    # One of the two terms is at least half of the sum: the root is at most this.
    t = torch.minimum(size, (size / (mu * p)).pow(1 / (p - 1)))
    for _ in range(40):
        power = mu * p * t.pow(p - 2)
        excess = t + power * t - size
        excess = torch.where(t > 0, excess, -size)
        low, high = torch.where(excess < 0, t, low), torch.where(excess > 0, t, high)
        newton = t - excess / (1 + (p - 1) * power)
        safe = (newton > low) & (newton < high)
        moved = torch.where(safe, newton, 0.5 * (low + high))
        if size.device.type == "cpu" and bool(((moved - t).abs() <= 1e-16 * size).all()):
            return moved
        t = moved
    return t
