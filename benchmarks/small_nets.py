"""Small networks for the embedded digits, trained in seconds, the same ones for the same seed."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from hauberk.data import load_data
from hauberk.models.mlp import MLP


def digits_mlp(
    sizes: Sequence[int] = (64, 32, 10), *, epochs: int = 40, seed: int = 0, noise: float = 0.0
) -> MLP:
    """An MLP trained with Adam on `digits:train`, images in [0, 1]; in eval mode.

    Args:
        noise: standard deviation of Gaussian noise on the training images.
    """
    generator = torch.Generator().manual_seed(seed)
    data = load_data("digits:train")
    images, labels = data.images, data.labels
    model = MLP(sizes)
    with torch.no_grad():
        for layer in model.layers:
            assert isinstance(layer, nn.Linear)
            bound = layer.in_features**-0.5
            for value in (layer.weight, layer.bias):
                value.copy_((torch.rand(value.shape, generator=generator) * 2 - 1) * bound)
    optimiser = torch.optim.Adam(model.parameters(), lr=3e-3)
    for _ in range(epochs):
        for rows in torch.randperm(len(labels), generator=generator).split(64):
            batch = images[rows]
            batch = batch + noise * torch.randn(batch.shape, generator=generator)
            loss = nn.functional.cross_entropy(model(batch), labels[rows])
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
    return model.eval()


def accuracy(model: nn.Module, images: Tensor, labels: Tensor) -> float:
    """Share of the images that the model gets right."""
    with torch.no_grad():
        return float((model(images).argmax(1) == labels).double().mean())
