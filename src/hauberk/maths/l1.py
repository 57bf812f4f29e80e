"""The projection onto l1-ball ∩ box on rows."""

import torch
from torch import Tensor

from hauberk.maths.roots import decreasing_root, shrink_, slack


def solve_l1(a: Tensor, reach: Tensor, lo: Tensor, hi: Tensor) -> Tensor:
    """Project rows ``a`` (B, d); ``reach`` (B, 1) float64, bounds broadcast to ``a``.

    With ``m = |a|`` and ``cap`` the bound on the side of a's sign, the norm of
    ``min(max(m - mu, 0), cap)`` falls piecewise linearly in mu; Newton steps end exactly.
    """
    clipped = a.clamp(lo, hi)
    norm = torch.linalg.vector_norm(clipped, 1, dim=1, keepdim=True)
    goal = torch.minimum(norm, reach.to(a.dtype))
    if a.device.type == "cpu" and torch.equal(goal, norm):
        return shrink_(clipped, reach, 1)
    size = a.abs()
    cap = torch.copysign(torch.full_like(a[:1, :1], torch.inf), a).clamp_(lo, hi).abs_()
    none, rest, part = torch.zeros_like(a[:1, :1]), torch.empty_like(a), torch.empty_like(a)

    def evaluate(mu: Tensor) -> tuple[Tensor, Tensor]:
        torch.sub(size, mu, out=rest)
        torch.clamp(rest, none, cap, out=part)
        excess = part.sum(1, keepdim=True).sub_(goal)
        # Entries between their two kinks are the ones that clamping left alone.
        slope = torch.eq(rest, part, out=rest).sum(1, keepdim=True)
        return excess, slope

    zero = torch.zeros_like(goal)
    top = size.amax(1, keepdim=True)
    mu = decreasing_root(evaluate, zero, zero, top, goal * slack(a.dtype))
    torch.clamp(torch.sub(size, mu, out=rest), none, cap, out=part)
    return shrink_(part.copysign_(a), reach, 1)
