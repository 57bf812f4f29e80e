"""What the projections share: safe radii, and roots of monotone functions, one per row."""

from collections.abc import Callable

import torch
from torch import Tensor

ROUNDS = 60
"""Most evaluations of a root search; five or so are usual."""


def slack(dtype: torch.dtype) -> float:
    """What a radius must give so that later roundings cannot leave the ball, relative."""
    return 2.0**-22 if dtype == torch.float32 else 2.0**-44


def shrink_(u: Tensor, reach: Tensor, p: float) -> Tensor:
    """Rows of ``u`` (B, d) scaled down, if need be, until their lp norm is safely in reach.

    The roots are good to rounding; this pays for the rounding. Box constraints survive scaling.
    """
    norm = torch.linalg.vector_norm(u, p, dim=1, keepdim=True, dtype=torch.float64)
    factor = (reach * (1 - slack(u.dtype)) / norm.clamp_min_(1e-300)).clamp_(max=1)
    return u.mul_(factor.to(u.dtype))


def settled(done: Tensor) -> bool:
    """Whether all rows are done; looks only where looking is free."""
    return done.device.type == "cpu" and bool(done.all())


def decreasing_root(
    evaluate: Callable[[Tensor], tuple[Tensor, Tensor]], start: Tensor, low: Tensor, high: Tensor,
    tolerance: Tensor,
) -> Tensor:  # fmt: skip
    """Root of a decreasing function per row: Newton steps, bisection where they leave the bracket.

    Args:
        evaluate: from ``mu`` (B, 1) the excess ``f(mu)`` (positive left of the root) and minus its
            slope, both (B, 1).
        low, high: brackets, (B, 1), f(low) >= 0 >= f(high).
        tolerance: |f| at which a row is done, (B, 1).
    """
    mu = start
    for _ in range(ROUNDS):
        excess, slope = evaluate(mu)
        left = excess > 0
        low, high = torch.where(left, mu, low), torch.where(left, high, mu)
        step = mu + excess / slope
        # Strictly inside: a step onto the bracket's end would go back and forth between the ends.
        inside = (step > low) & (step < high)
        step = torch.where(inside, step, 0.5 * (low + high))
        done = (excess.abs() <= tolerance) | (step == mu)
        if settled(done):
            break
        mu = torch.where(done, mu, step)
    return mu
