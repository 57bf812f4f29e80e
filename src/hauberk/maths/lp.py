"""Projection onto lp ball ∩ box for general p > 1."""

from functools import partial
from math import inf

import torch
from torch import Tensor

from hauberk.maths.rowwise import Radius, ReadyRadii, cheap_to_read, on_rows, shrink

MOST = 100  # steps of the outer search; 5 to 10 are usual
FREE = 12  # of them until every other one halves the bracket
MOST_INNER = 30  # of the inner one; 2 to 5 are usual
LEAST = -300.0  # logarithm, relative to the radius, of what may as well be 0


@torch.no_grad()
def project_general(
    a: Tensor, p: float, eps: float | Tensor | ReadyRadii, lo: float | Tensor, hi: float | Tensor
) -> Tensor:
    """Nearest point of {||d||_p <= eps, lo <= d <= hi} to ``a`` (B, ...), for 1 < p < inf.

    Its magnitudes are min(t, |clip(a)|), where t + mu p t^(p-1) = |a| with the least mu >= 0 that
    reaches the ball. Works in float64 throughout.
    """
    close = 1e-13 if a.dtype == torch.float64 else 1e-9
    return on_rows(partial(_solve, p, close), a, eps, lo, hi, double=True)


def _solve(
    p: float, close: float, x: Tensor, radius: Radius, lo: Tensor, hi: Tensor,
    out: Tensor, _: list[Tensor],
) -> None:  # fmt: skip
    torch.clamp(x, lo, hi, out=out)
    bounded = radius.exact < inf
    unit = torch.where((radius.exact > 0) & bounded, radius.exact, 1.0)
    cap = out.abs() / unit
    done = (cap.pow(p).sum(1, keepdim=True) <= 1 - 1e-13) & (radius.exact > 0) | ~bounded
    if cheap_to_read(x) and bool(done.all()):
        return
    left = _search((x.abs() / unit).log_().clamp_(LEAST, -2 * LEAST), cap, done, p, close)
    norm = left.pow(p).sum(1, keepdim=True).pow(1 / p).mul_(unit)
    found = torch.copysign(left.mul_(unit).mul_(shrink(norm, radius, x.dtype)), x)
    # Dividing by the unit and back may round outward.
    torch.where(done, out, torch.clamp(found, lo, hi), out=out)


def _search(size: Tensor, cap: Tensor, done: Tensor, p: float, close: float) -> Tensor:
    """Magnitudes of lp norm 1, from log |a|: bracketed Newton steps in z = log(mu p).

    Nothing is sought for rows that are ``done``.
    """
    dual = p / (p - 1)
    # By Hoelder's inequality this multiplier is large enough.
    high = torch.logsumexp(size * dual, 1, keepdim=True) / dual
    low, z, y = torch.full_like(high, -100.0), high.clone(), torch.full_like(size, inf)
    for step in range(MOST if cheap_to_read(size) else MOST // 3):
        y = _roots(size, z, y, p)
        t = y.exp()
        left = torch.minimum(t, cap)
        powers = left.pow(p)
        total = powers.sum(1, keepdim=True)
        excess = total.log().masked_fill_(done, 0.0)
        if cheap_to_read(size) and bool((excess.abs() <= close).all()):
            break
        outside = excess > 0
        low, high = torch.where(outside, z, low), torch.where(outside, high, z)
        share = -torch.expm1(y - size)  # of mu p t^(p-1) in |a|
        speed = share.div_(1 + (p - 2) * share).mul_(powers).mul_(t < cap)
        newton = z + excess * total / (p * speed.sum(1, keepdim=True))
        safe = (newton > low) & (newton < high) & (step < FREE or step % 2 == 1)
        z = torch.where(safe, newton, (low + high) / 2)
    return left


def _roots(size: Tensor, z: Tensor, y: Tensor, p: float) -> Tensor:
    """y = log t with t + exp(z) t^(p-1) = exp(size), from a guess of it.

    In logarithms the left side is convex and rises with slopes between 1 and p - 1: Newton's method
    converges from anywhere.
    """
    y = torch.minimum(y, torch.minimum(size, (size - z) / (p - 1))).clamp_min_(2 * LEAST)
    for _ in range(MOST_INNER if cheap_to_read(size) else MOST_INNER // 3):
        second = z + (p - 1) * y
        both = torch.logaddexp(y, second)
        slope = 1 + (p - 2) * (second - both).exp_()
        step = both.sub_(size).div_(slope)
        new = (y - step).clamp_min_(2 * LEAST)
        moved, y = (new - y).abs_(), new
        if cheap_to_read(size) and moved.max().item() <= 1e-5:
            break
    return y
