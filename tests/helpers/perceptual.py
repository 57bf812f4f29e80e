"""Threats by a measured distance, and the models that attacks on them are tested on."""

import torch
from torch import nn

from helpers.data import inputs
from helpers.models import network


def linear(features=8, classes=2, dtype=torch.float32):
    """One layer."""
    return network(features, classes, dtype=dtype)


def shear(features=8, dtype=torch.float32):
    """A matrix ``(12, features)`` whose ellipsoid is no ball."""
    rng = torch.Generator().manual_seed(3)
    return torch.randn(12, features, generator=rng, dtype=torch.float64).to(dtype)


def ellipsoid(matrix):
    """The distance ``|matrix @ (x - x0)|_2``."""
    return lambda x0, x: ((x - x0).flatten(1) @ matrix.T.to(x)).norm(dim=1)


def convolutional(dtype=torch.float32, classes=3):
    """One convolution of 4x4 images, whose features a perceptual threat can compare."""
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(1, 4, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(64, classes)
    ).to(dtype)


def middle(n=6, features=8, dtype=torch.float32):
    """Points so far from the box that it plays no part."""
    rng = torch.Generator().manual_seed(2)
    return 0.4 + 0.2 * torch.rand(n, features, generator=rng, dtype=torch.float64).to(dtype)


def images(n=6, shape=(3, 4, 4), box=(0.0, 1.0), dtype=torch.float32, seed=0):
    """Uniform images of the box."""
    return inputs(n, shape, seed=seed, box=box, dtype=dtype)


def dropping(dtype=torch.float32, dropout=0.5):
    """A network of 3x4x4 images with dropout and a ReLU that overwrites its input."""
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 5, 3, padding=1), nn.ReLU(inplace=True), nn.Dropout(dropout), nn.Flatten(),
        nn.Linear(80, 4),
    ).to(dtype)  # fmt: skip
