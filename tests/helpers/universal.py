"""A model that sums, and images that it gets right by little."""

import torch

from helpers.models import halfspace


def summing(weight=1.0):
    """Decides for class 1 where the features sum to more than 2, if all weights are 1."""
    return halfspace([weight] * 4, -2.0, torch.float64)


def data(n=30, low=0.3, high=0.45):
    rng = torch.Generator().manual_seed(1)
    x = low + (high - low) * torch.rand(n, 1, 2, 2, generator=rng, dtype=torch.float64)
    return x, torch.zeros(n, dtype=torch.int64)
