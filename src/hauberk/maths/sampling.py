"""Uniform points of lp unit balls."""

from collections.abc import Sequence
from math import prod

import torch
from torch import Tensor

from hauberk.maths.rng import Draws


def ball_point(
    draws: Draws, draw: int | Tensor, shape: Sequence[int], p: float, dtype: torch.dtype
) -> Tensor:
    """``(B, *shape)``: a uniform point of the unit lp ball per example, 1 <= p < inf.

    Independent entries with density proportional to ``exp(-|t|^p)``, divided by the p-th root of
    ``sum |t|^p`` plus an exponential variable, are uniform in the ball (Barthe, Guédon, Mendelson &
    Naor 2005).
    """
    d = prod(shape)
    if p == 2:
        entries = draws.normal(draw, (d,), dtype).mul_(0.5**0.5)
    else:
        # |t|^p follows a gamma law of shape 1/p, which is one of shape 1 + 1/p times U^p.
        power = draws.split(2)
        size = power.uniform(draw, (d,), dtype)
        if p == 1:
            size = size.log_().neg_()
        else:
            size = gamma(power, draw, d, 1 + 1 / p, dtype).pow_(1 / p).mul_(size)
        sign = draws.integers(draw, (d,), 2).to(dtype).mul_(2).sub_(1)
        entries = size.mul_(sign)
    extra = draws.split(3).uniform(draw, (1,), dtype).log_().neg_()
    total = entries.abs().pow_(p).sum(1, keepdim=True).add_(extra).pow_(1 / p)
    return (entries / total.clamp_min_(torch.finfo(dtype).tiny)).view(-1, *shape)


def gamma(draws: Draws, draw: int | Tensor, d: int, shape: float, dtype: torch.dtype) -> Tensor:
    """``(B, d)`` gamma variables of shape >= 1 and scale 1 (Marsaglia & Tsang 2000)."""
    # 19 in 20 proposals are accepted: after eight rounds none is open, for all that matters.
    a = shape - 1 / 3
    c = 1 / (9 * a) ** 0.5
    result = torch.full((len(draws.key), d), a, dtype=dtype, device=draws.key.device)
    open_ = torch.ones_like(result, dtype=torch.bool)
    for round_ in range(8):
        stream = draws.split(10 + round_)
        z = stream.normal(draw, (d,), dtype)
        v = (1 + c * z) ** 3
        u = stream.split(1).uniform(draw, (d,), dtype)
        accept = (v > 0) & (u.log() < 0.5 * z * z + a * (1 - v + v.clamp_min(1e-30).log()))
        result = torch.where(open_ & accept, a * v, result)
        open_ &= ~accept
    return result
