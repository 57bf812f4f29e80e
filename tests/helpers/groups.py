"""Groups of inputs that share a perturbation, and the balls and boxes to try."""

import numpy as np
import pytest
import torch

from hauberk.threats import L0, L1, L2, Linf, Lp

BALLS = [L0(3), L1(1.5), Lp(1.5, 0.9), L2(0.7), Linf(0.2)]
BOXES = [(0.0, 1.0), (-1.0, 3.0), (100.0, 101.0)]
EACH_BALL = pytest.mark.parametrize("ball", BALLS, ids=str)
EACH_BOX = pytest.mark.parametrize("box", BOXES, ids=str)
DTYPES = pytest.mark.parametrize("dtype", [torch.float32, torch.float64])


def groups(s=4, m=3, shape=(6,), box=(0.0, 1.0), dtype=torch.float64, seed=0):
    """Random groups (s, m, ...), of which every fourth number lies at an end of the box."""
    rng = np.random.default_rng(seed)
    x = rng.random((s, m, *shape))
    x = np.where(rng.random(x.shape) < 0.25, x.round(), x)
    return torch.tensor(x * (box[1] - box[0]) + box[0], dtype=dtype)


def normal(*shape, seed=1, dtype=torch.float64):
    """Normal numbers, the same for the same seed."""
    return torch.tensor(np.random.default_rng(seed).normal(size=shape), dtype=dtype)
