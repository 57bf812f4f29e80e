"""Projection onto l1 ball ∩ box, without sorting."""

import torch
from torch import Tensor

from hauberk.maths.rowwise import (
    PRECISION,
    Radius,
    ReadyRadii,
    all_inside,
    cheap_to_read,
    ints,
    on_rows,
    shrink,
)

MOST = 9  # Newton steps before a bracket is drawn; 3 to 7 are usual
NEAR = 1e-2
WIDE = 32_768  # from this many coordinates on, a sample of them gives the first guess
STRIDE = 11  # of that sample: coprime to the widths of images


@torch.no_grad()
def project_l1(
    a: Tensor, eps: float | Tensor | ReadyRadii, lo: float | Tensor, hi: float | Tensor
) -> Tensor:
    """Nearest point of {||d||_1 <= eps, lo <= d <= hi} to ``a`` (B, ...), per example.

    It is d_i = clip(sign(a_i) max(|a_i| - mu, 0)) with the least mu >= 0 that reaches the ball.
    What holds for all projections is said in :mod:`hauberk.maths.projections`.

    Args:
        a: perturbations, ``(B, ...)``.
        eps: the radius, one number or ``(B,)``.
        lo, hi: bounds of the perturbations, ``lo <= 0 <= hi``.

    Source: Wang et al. 2021, Proposition 1; Newton's method on it as in Cominetti et al. 2014.

    Example:
        >>> project_l1(torch.tensor([[0.5, 0.0, 2.0]]), 1.0, -2.0, 2.0).round(decimals=3)
        tensor([[0., 0., 1.]])
    """
    return on_rows(_solve, a, eps, lo, hi, spares=5)


def _solve(
    x: Tensor, radius: Radius, lo: Tensor, hi: Tensor, out: Tensor, spares: list[Tensor]
) -> None:
    torch.clamp(x, lo, hi, out=out)
    size, cap, rest, left, free = spares
    norm = torch.abs(out, out=cap).sum(1, True)
    if all_inside(norm, radius, x.dtype):
        return
    aim = torch.minimum(norm, radius.aim)  # a clipped row that is inside is its own projection
    torch.abs(x, out=size)
    if cheap_to_read(x):
        _newton(size, cap, norm, aim, radius.unit, rest, left, free)
    else:
        left = _bracketed(size, cap, aim, radius.unit)
    factor = shrink(left.sum(1, True, dtype=torch.float64), radius, x.dtype)
    torch.copysign(left.mul_(factor), x, out=out)


def _newton(
    size: Tensor, cap: Tensor, norm: Tensor, aim: Tensor, unit: Tensor,
    rest: Tensor, left: Tensor, free: Tensor,
) -> None:  # fmt: skip
    """Fill ``left`` with clamp(size - mu, 0, cap), rows of sum ``aim``; overwrites the others.

    With size = |a| and cap = |clip(a)| the sum falls piecewise linearly in mu, and its slope is the
    number of entries that the clamp leaves alone. Where no kink lies ahead a step ends exactly.
    """
    precision = PRECISION[size.dtype]
    enough = precision.fine
    size.sub_(torch.finfo(size.dtype).tiny)  # zeros must not count as left alone at mu = 0
    zero = size.new_zeros(())
    if size.shape[1] >= WIDE:
        mu = _sampled(size, cap, aim, unit)
    else:
        mu = (norm - aim).div_(torch.eq(size, cap, out=free).sum(1, True).clamp_min_(1))
    torch.sub(size, mu, out=rest)
    for step in range(MOST):
        torch.clamp(rest, zero, cap, out=left)
        excess = left.sum(1, True).sub_(aim)
        worst = (excess * unit).abs_().max().item() if step else 1.0
        if worst <= enough:
            return
        if worst <= precision.good:
            enough = precision.good  # one more step ends on the piece, up to rounding
        excess.div_(torch.eq(rest, left, out=free).sum(1, True).clamp_min_(1))
        if worst <= NEAR:
            rest.sub_(excess)  # finer than mu, whose own rounding may exceed the entries
        else:
            torch.sub(size, mu.add_(excess), out=rest)
    # The sum is neither convex nor concave, so that Newton's method may run in circles.
    error = left.sum(1, True).sub_(aim).mul_(unit).abs_()
    rows = (error <= precision.good).logical_not_().squeeze(1).nonzero().squeeze(1)
    if len(rows):
        left[rows] = _bracketed(size[rows], cap[rows], aim[rows], unit[rows])


def _sampled(size: Tensor, cap: Tensor, aim: Tensor, unit: Tensor) -> Tensor:
    """A guess of mu: its value for every eleventh coordinate and an eleventh of the radius."""
    size, cap = size[:, ::STRIDE].contiguous(), cap[:, ::STRIDE].contiguous()
    norm = cap.sum(1, True)
    aim = torch.minimum(norm, aim / STRIDE)
    zero, rest, left = size.new_zeros(()), torch.empty_like(size), torch.empty_like(size)
    mu, excess, free = torch.zeros_like(aim), norm - aim, torch.eq(size, cap, out=left)
    for _ in range(MOST):
        mu.add_(excess.div_(free.sum(1, True).clamp_min_(1)))
        torch.clamp(torch.sub(size, mu, out=rest), zero, cap, out=left)
        excess = left.sum(1, True).sub_(aim)
        if (excess * unit).abs_().max().item() <= NEAR / STRIDE:
            break
        free = torch.eq(rest, left, out=left)
    return mu


def _bracketed(size: Tensor, cap: Tensor, aim: Tensor, unit: Tensor) -> Tensor:
    """The same magnitudes for whatever numbers.

    Bisection on the bits of mu ends at neighbouring numbers; every other step tries Newton's where
    the host may check whether that ended it. Below the upper of two neighbours, while mu falls by
    less than a unit in its last place, no entry comes in: the sum is concave, and Newton's method
    climbs to the root and stays.
    """
    dtype = size.dtype
    cap = torch.minimum(cap, aim)  # no entry exceeds the radius, and sums stay finite
    zero = size.new_zeros(())
    high = size.amax(1, True).clamp_min_(0).view(ints(dtype))
    low = torch.zeros_like(high)
    bits = 8 * dtype.itemsize - 1
    mu, wanted = None, low
    for step in range(2 * bits if cheap_to_read(size) else bits):
        middle = low + ((high - low) >> 1)
        if cheap_to_read(size) and step % 2:
            middle = torch.where((wanted > low) & (wanted < high), wanted, middle)
        mu = middle.view(dtype)
        rest = size - mu
        left = torch.clamp(rest, zero, cap)
        excess = left.sum(1, True).sub_(aim)
        outside = excess > 0
        low, high = torch.where(outside, middle, low), torch.where(outside, high, middle)
        if cheap_to_read(size):
            if (excess * unit).abs_().max().item() <= PRECISION[dtype].fine:
                return left
            if not bool((high - low > 1).any()):
                break
            slope = (rest == left).sum(1, True).clamp_min_(1)
            wanted = (mu + excess / slope).clamp_min_(0).view(ints(dtype))
    rest = size - high.view(dtype)
    for _ in range(8):
        lacking = aim - torch.clamp(rest, zero, cap).sum(1, True)
        free = ((rest >= 0) & (rest < cap)).sum(1, True)
        rest.add_(lacking.clamp_min_(0).div_(free.clamp_min_(1)))
    return torch.clamp(rest, zero, cap)
