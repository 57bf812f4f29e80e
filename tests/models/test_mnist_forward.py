"""Networks for grey images, layer by layer from their state dicts."""

import pytest
import torch
from helpers.models import layers
from torch.nn import functional as F

from hauberk.models import LeNet5, LeNet5Wide, MadryCNN, SmallCNN


def small(at, x):
    x = at("conv2", at("conv1", x).relu()).relu()
    x = at("conv4", at("conv3", F.max_pool2d(x, 2)).relu()).relu()
    return at("fc3", at("fc2", at("fc1", F.max_pool2d(x, 2)).relu()).relu())


def lenet(at, x):
    for name in ("conv1", "conv2"):
        x = F.max_pool2d(at(name, x, padding=1).relu(), 2)
    return at("linear2", at("linear1", x).relu())


def madry(at, x):
    for name in ("conv1", "conv2"):
        x = F.max_pool2d(at(name, x, padding=2).relu(), 2)
    return at("fc2", at("fc1", x).relu())


@pytest.mark.parametrize(
    ("factory", "by_hand"),
    [(SmallCNN, small), (LeNet5, lenet), (MadryCNN, madry), (LeNet5Wide, madry)],
)
def test_the_layers_in_their_order(factory, by_hand):
    torch.manual_seed(0)
    model = factory().double().eval().requires_grad_(False)
    for weight in model.parameters():
        weight.mul_(2)  # so that every ReLU and every maximum matters
    x = torch.rand(3, 1, 28, 28, dtype=torch.float64)
    torch.testing.assert_close(model(x), by_hand(layers(model), x))
