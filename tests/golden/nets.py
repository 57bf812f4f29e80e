"""The two small networks of the golden runs, with weights that were trained once and kept.

Nothing depends on how they were trained: ``weights.npz`` is what they are.
"""

from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

FILE = Path(__file__).with_name("weights.npz")


class ConvNet(nn.Module):
    """A convolution and two layers, with modules for the kinks; trained without attacks."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(1, 4, 3, padding=1), nn.ReLU(), nn.AvgPool2d(2), nn.Flatten(),
            nn.Linear(64, 20), nn.ReLU(), nn.Linear(20, 10),
        )  # fmt: skip

    def forward(self, x: Tensor) -> Tensor:
        return self.layers(x)


class Perceptron(nn.Module):
    """Two layers, with a function for the kink; trained to resist three balls."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = nn.Linear(64, 20), nn.Linear(20, 10)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(torch.relu(self.first(x.flatten(1))))


class Noisy(nn.Module):
    """A network behind random noise on its input: a stochastic model."""

    def __init__(self, model: nn.Module, size: float = 0.1) -> None:
        super().__init__()
        self.model, self.size = model, size

    def forward(self, x: Tensor) -> Tensor:
        return self.model(x + self.size * torch.randn_like(x))


class Untrained(nn.Module):
    """A tiny network with batch normalisation, whose first weights are plain numbers."""

    def __init__(self, norm: bool = False) -> None:
        super().__init__()
        self.first, self.last = nn.Linear(64, 12), nn.Linear(12, 10)
        self.norm = nn.BatchNorm1d(12) if norm else nn.Identity()
        with torch.no_grad():
            for weight in self.parameters():
                ramp = torch.arange(weight.numel(), dtype=torch.float64)
                weight.copy_(0.2 * torch.sin(1 + 1.7 * ramp).view(weight.shape))

    def forward(self, x: Tensor) -> Tensor:
        return self.last(torch.relu(self.norm(self.first(x.flatten(1)))))


def conv(dtype: torch.dtype = torch.float64) -> nn.Module:
    """The network without defence, in eval mode."""
    return _loaded(ConvNet(), "conv", dtype)


def perceptron(dtype: torch.dtype = torch.float64) -> nn.Module:
    """The network that resists."""
    return _loaded(Perceptron(), "perceptron", dtype)


def _loaded(model: nn.Module, name: str, dtype: torch.dtype) -> nn.Module:
    with np.load(FILE) as arrays:
        state = {
            key.partition("/")[2]: torch.from_numpy(arrays[key])
            for key in arrays.files
            if key.startswith(f"{name}/")
        }
    model.load_state_dict(state)
    return model.to(dtype).eval()
