"""The projection onto l2-ball ∩ box on rows."""

import torch
from torch import Tensor

from hauberk.maths.roots import ROUNDS, settled, shrink_, slack


def solve_l2(a: Tensor, reach: Tensor, lo: Tensor, hi: Tensor) -> Tensor:
    """Project rows ``a`` (B, d); ``reach`` (B, 1) float64, bounds broadcast to ``a``.

    The squared norm of ``clip(s a)`` is concave, increasing and piecewise linear in ``q = s^2``, so
    Newton's method from the left rises to the root ``s = 1 / (1 + mu)`` without overshooting.
    """
    clipped = a.clamp(lo, hi)
    norm = torch.linalg.vector_norm(clipped, dim=1, keepdim=True)
    goal = torch.minimum(norm, reach.to(a.dtype))
    if a.device.type == "cpu" and torch.equal(goal, norm):
        return shrink_(clipped, reach, 2)
    tiny = torch.finfo(a.dtype).tiny
    # In units of each row's largest entry, so that squares neither vanish nor overflow.
    top = a.abs().amax(1, keepdim=True).clamp_min_(tiny)
    unit, low, high, aim = a / top, lo / top, hi / top, goal / top
    full, square = aim * aim, torch.empty_like(a)
    tolerance = full * slack(a.dtype)
    q = full / (unit * unit).sum(1, keepdim=True).clamp_min_(tiny)
    scaled, part = torch.empty_like(a), torch.empty_like(a)
    for _ in range(ROUNDS):
        torch.mul(unit, q.sqrt(), out=scaled)
        torch.clamp(scaled, low, high, out=part)
        torch.mul(part, part, out=square)
        missing = full - square.sum(1, keepdim=True)
        free = square.mul_(torch.eq(scaled, part, out=scaled)).sum(1, keepdim=True)
        rise = q * missing / free.clamp_min_(tiny)
        done = (missing.abs() <= tolerance) | (rise.abs() <= 1e-7 * q)
        if settled(done):
            break
        q = torch.where(done, q, q + rise).clamp_(tiny, 1)
    torch.clamp(torch.mul(unit, q.sqrt(), out=scaled), low, high, out=part)
    return shrink_(part.mul_(top), reach, 2).clamp_(lo, hi)
