"""A multilayer perceptron, small enough for tests and for the embedded digits."""

from collections.abc import Sequence
from itertools import pairwise

import torch.nn.functional as F
from torch import Tensor, nn

from hauberk.errors import InputError


class MLP(nn.Module):
    """Fully connected layers with ReLU between them; the input (B, ...) is flattened first.

    Keys: `layers.0.weight`, `layers.0.bias`, `layers.1.weight`, ...

    Args:
        sizes: widths of the layers, from the number of input features to the number of classes;
            the default takes the embedded 8x8 digits.

    Raises:
        InputError: for fewer than two sizes, or one below 1.

    Example:
        >>> import torch
        >>> from hauberk.models import MLP
        >>> MLP((64, 16, 10))(torch.rand(2, 1, 8, 8)).shape
        torch.Size([2, 10])
    """

    def __init__(self, sizes: Sequence[int] = (64, 32, 10)) -> None:
        super().__init__()
        if len(sizes) < 2 or min(sizes) < 1:
            raise InputError(f"sizes={tuple(sizes)}: give at least two positive layer sizes")
        self.layers = nn.ModuleList(nn.Linear(a, b) for a, b in pairwise(sizes))

    def forward(self, x: Tensor) -> Tensor:
        x = x.flatten(1)
        for layer in self.layers[:-1]:
            x = F.relu(layer(x))
        logits: Tensor = self.layers[-1](x)
        return logits
