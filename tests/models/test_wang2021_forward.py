"""Models A to D of Wang et al. 2021 (Table A1), layer by layer from their state dicts."""

import pytest
import torch
from helpers.models import layers
from torch.nn import functional as F

from hauberk.models import ModelA, ModelB, ModelC, ModelD


def a(at, x):
    for name in ("fc1", "fc2", "fc3"):
        x = at(name, x).relu()
    return at("fc4", x)


def b(at, x):
    for names, strided in ((("conv1", "conv2"), "conv3"), (("conv4", "conv5"), "conv6")):
        for name in names:
            x = at(name, x, padding=1).relu()
        x = at(strided, x, padding=1, stride=2)
    x = at("conv8", at("conv7", x, padding=1).relu()).relu()
    return at("conv9", x, stride=2).mean((2, 3))


def c(at, x):
    for name in ("conv1", "conv2"):
        x = F.max_pool2d(at(name, x).relu(), 2)
    return at("fc3", at("fc2", at("fc1", x).relu()).relu())


def d(at, x):
    for name in ("conv1", "conv2"):
        x = F.max_pool2d(at(name, x, padding=1).relu(), 2)
    return at("fc2", at("fc1", x).relu())


@pytest.mark.parametrize(
    ("factory", "by_hand"), [(ModelA, a), (ModelB, b), (ModelC, c), (ModelD, d)]
)
@pytest.mark.parametrize(("channels", "size"), [(1, 28), (3, 32)])
def test_the_layers_in_their_order(factory, by_hand, channels, size):
    torch.manual_seed(0)
    model = factory(channels, size).double().eval().requires_grad_(False)
    for weight in model.parameters():
        weight.mul_(2)  # so that every ReLU and every maximum matters
    x = torch.rand(2, channels, size, size, dtype=torch.float64)
    torch.testing.assert_close(model(x), by_hand(layers(model), x))
