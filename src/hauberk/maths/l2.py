"""Projection onto l2 ball ∩ box."""

import torch
from torch import Tensor

from hauberk.maths.rowwise import (
    PRECISION,
    Radius,
    ReadyRadii,
    all_inside,
    cheap_to_read,
    on_rows,
    shrink,
)

MOST = 12  # Newton steps in float32; 2 to 4 are usual
MOST_WIDE = 200  # in float64, for rows whose entries span many orders of magnitude
MOST_BLIND = 20  # where the host reads nothing
MOVING = 0.05  # share of the squared norm below which float32 is too coarse for what moves


@torch.no_grad()
def project_l2(
    a: Tensor, eps: float | Tensor | ReadyRadii, lo: float | Tensor, hi: float | Tensor
) -> Tensor:
    """Nearest point of {||d||_2 <= eps, lo <= d <= hi} to ``a`` (B, ...), per example.

    It is d_i = clip(a_i / (1 + mu)) with the least mu >= 0 that reaches the ball.
    What holds for all projections is said in :mod:`hauberk.maths.projections`.

    Args:
        a: perturbations, ``(B, ...)``.
        eps: the radius, one number or ``(B,)``.
        lo, hi: bounds of the perturbations, ``lo <= 0 <= hi``.

    Source: Wang et al. 2021, Proposition 1.

    Example:
        >>> project_l2(torch.tensor([[3.0, 4.0]]), 1.0, -2.0, 2.0).round(decimals=3)
        tensor([[0.6000, 0.8000]])
    """
    # Unless the numbers are read, it is unknown whether float32 suffices.
    return on_rows(_solve, a, eps, lo, hi, spares=2, double=not cheap_to_read(a))


def _solve(
    x: Tensor, radius: Radius, lo: Tensor, hi: Tensor, out: Tensor, spares: list[Tensor]
) -> None:
    torch.clamp(x, lo, hi, out=out)
    ray, square = spares
    full = torch.mul(out, out, out=square).sum(1, True)
    if all_inside(full.sqrt(), radius, x.dtype):
        return
    x.mul_(torch.ne(out, out.new_zeros(()), out=ray))  # at an edge, no step outward counts
    bad = _newton(x, full, radius, lo, hi, out, ray, square)
    norm = square.sum(1, True, dtype=torch.float64).sqrt_()
    if bad is not None:
        rows = bad.squeeze(1).nonzero().squeeze(1)
        out[rows], norm[rows] = _in_double(x[rows], radius.of(rows), lo, hi, rows)
    out.mul_(shrink(norm, radius, x.dtype))


def _newton(
    x: Tensor, clipped: Tensor, radius: Radius, lo: Tensor, hi: Tensor,
    out: Tensor, ray: Tensor, square: Tensor,
) -> Tensor | None:  # fmt: skip
    """Fill ``out`` with the projection; ``clipped`` is the squared norm of the clip.

    The squared norm of clip(s x) is concave, rising and piecewise linear in q = s^2, so that
    Newton's method climbs from the left and, where no kink lies ahead, ends exactly. ``square`` is
    left as the square of ``out``. Returns which rows (n, 1) float32 is too coarse for, if any.
    """
    precision, wide = PRECISION[x.dtype], x.dtype == torch.float64
    most = (MOST_WIDE if wide else MOST) if cheap_to_read(x) else MOST_BLIND
    tiny = torch.finfo(x.dtype).tiny
    full, scale = radius.aim.square(), radius.unit.square()
    inside = torch.le(clipped, full, out=torch.empty_like(full))
    if wide:
        _bring_near(x, inside)
    full = torch.minimum(full, clipped)  # a clipped row that is inside is its own projection
    q = torch.mul(x, x, out=square).sum(1, True).clamp_min_(tiny).reciprocal_().mul_(full)
    q = torch.maximum(q, inside)
    # Without it, what rounding leaves to be desired of a row that cannot grow would count.
    least = (full * precision.fine).add_(tiny)
    enough = precision.fine
    for step in range(most):
        torch.clamp(torch.mul(x, q.sqrt(), out=ray), lo, hi, out=out)
        lacking = full - torch.mul(out, out, out=square).sum(1, True)
        if step > 0 and cheap_to_read(x):
            worst = (lacking * scale).max().item()
            if worst <= enough:
                break
            if worst <= precision.good:
                enough = precision.good  # one more step ends on the piece, up to rounding
        slope = ray.eq_(out).mul_(square).sum(1, True)
        q.addcmul_(q, lacking / slope.add_(least))
    if wide:
        return None
    moving = (slope * scale).add_(inside)
    if worst <= precision.good and moving.min().item() >= MOVING:
        return None
    return ((lacking * scale <= precision.good) & (moving >= MOVING)).logical_not_()


def _bring_near(x: Tensor, inside: Tensor) -> None:
    """Scale down rows whose squares overflow: their projections, if outside, stay the same."""
    top = x.abs().amax(1, True)
    x.mul_(torch.where((top > 1e150) & (inside == 0), 1e150 / top, 1.0))


def _in_double(
    x: Tensor, radius: Radius, lo: Tensor, hi: Tensor, rows: Tensor
) -> tuple[Tensor, Tensor]:
    """Some rows again, and their norms; ``x`` and ``radius`` are theirs alone."""
    x, exact = x.double(), radius.exact
    lo, hi = ((b[rows] if b.dim() else b).double() for b in (lo, hi))
    radius = Radius(exact, exact, exact.reciprocal(), radius.positive)
    out = torch.clamp(x, lo, hi)
    clipped = out.square().sum(1, True)
    _newton(x, clipped, radius, lo, hi, out, torch.empty_like(x), torch.empty_like(x))
    out = out.to(torch.float32)
    return out, torch.linalg.vector_norm(out.double(), 2, 1, True)
