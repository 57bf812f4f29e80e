"""Linear models and inputs that the solvers of least distance are tested on."""

import torch

from helpers import data
from helpers.models import Linear

BOX = (-1.0, 2.0)


def linear(features=12, classes=3, dtype=torch.float64):
    """A linear model, the same in every dtype."""
    return Linear(features, classes, seed=1, dtype=dtype, drawn=torch.float64)


def inputs(n=5, shape=(12,), dtype=torch.float64, box=BOX):
    """Uniform inputs of the box."""
    return data.inputs(n, shape, seed=2, box=box, dtype=dtype)


def labels(model, x):
    """What the model decides."""
    return model(x).argmax(1)
