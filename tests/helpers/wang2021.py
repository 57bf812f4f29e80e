"""The models of Wang et al. 2021: which are small, how they are built, and how large layers are."""

import torch

from hauberk import models

MNIST, CIFAR = (1, 28, 28), (3, 32, 32)
SMALL = [models.ModelA, models.ModelB, models.ModelC, models.ModelD]
LARGE = [models.ModelE, models.ModelF, models.ModelG, models.ModelH]


def name(value):
    """Of a model's class, or of a shape."""
    return value.__name__ if isinstance(value, type) else "x".join(map(str, value))


def build(factory, shape, classes=10, seed=0):
    """A model for images of a shape, in eval mode."""
    torch.manual_seed(seed)
    if factory in SMALL:
        return factory(channels=shape[0], size=shape[1], classes=classes).eval()
    return factory(classes=classes).eval()


def size(model):
    """Number of parameters."""
    return sum(p.numel() for p in model.parameters())


def fc(a, b):
    """Parameters of a fully connected layer."""
    return a * b + b


def conv(a, b, k, bias=True):
    """Parameters of a convolution."""
    return a * b * k * k + b * bias
