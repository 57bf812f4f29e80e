"""Noise of sensors: Gaussian, shot, impulse. ``x`` is ``(B, C, H, W)`` float64 of 8-bit levels."""

import torch
from torch import Tensor

from hauberk.maths.rng import Draws


def gaussian_noise(x: Tensor, draws: Draws, scale: float) -> Tensor:
    """Independent normal noise of standard deviation ``scale``."""
    return x + scale * draws.normal(0, x.shape[1:], x.dtype)


def shot_noise(x: Tensor, draws: Draws, photons: int) -> Tensor:
    """As many photons as a Poisson distribution of mean ``photons * x`` gives.

    The numbers are its quantiles at uniform draws.
    """
    top = int(photons + 10 * photons**0.5) + 10
    means = torch.arange(256, dtype=torch.float64) * (photons / 255)
    counts = torch.arange(top, dtype=torch.float64)
    # P(N <= k) = Q(k + 1, mean), a row for each level; rows one after the other are sorted.
    chance = torch.special.gammaincc((counts + 1).expand(256, -1), means.unsqueeze(1))
    level = (x * 255).round()
    wanted = level + draws.uniform(0, x.shape[1:], torch.float64)
    table = (torch.arange(256).unsqueeze(1) + chance).flatten()
    drawn = torch.searchsorted(table, wanted.contiguous()) - level.long() * top
    return drawn.clamp(max=top - 1).to(x.dtype) / photons


def impulse_noise(x: Tensor, draws: Draws, share: float) -> Tensor:
    """That share of the values becomes 0 or 1, equally often."""
    hit = draws.uniform(0, x.shape[1:], x.dtype) <= share
    salt = draws.uniform(1, x.shape[1:], x.dtype) <= 0.5
    return torch.where(hit, salt.to(x.dtype), x)
