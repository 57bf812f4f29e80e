"""Networks for colour images, layer by layer from their state dicts."""

from math import sqrt

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from hauberk.models import ModelE, ModelF, ModelG, ModelH, PreActResNet18, WideResNet


class By:
    """What the layers of a model do, by their names in its state dict."""

    def __init__(self, model, eps=1e-5):
        self.state, self.eps = model.state_dict(), eps

    def conv(self, name, x, stride=1):
        weight = self.state[f"{name}.weight"]
        bias = self.state.get(f"{name}.bias")
        return F.conv2d(x, weight, bias, stride=stride, padding=weight.shape[-1] // 2)

    def norm(self, name, x):
        part = {
            k: self.state[f"{name}.{k}"].view(-1, 1, 1)
            for k in ("weight", "bias", "running_mean", "running_var")
        }
        centred = (x - part["running_mean"]) / (part["running_var"] + self.eps).sqrt()
        return centred * part["weight"] + part["bias"]

    def full(self, name, x):
        return x @ self.state[f"{name}.weight"].T + self.state[f"{name}.bias"]

    def block(self, name, x, first=0):
        """A convolution, BatchNorm and ReLU that follow each other in a Sequential."""
        x = self.conv(f"{name}.{first}", x)
        return self.norm(f"{name}.{first + 1}", x).relu()


def vgg(by, x):
    at = 0
    for depth in (2, 2, 3, 3, 3):
        for _ in range(depth):
            x, at = by.block("features", x, at), at + 3
        x, at = F.max_pool2d(x, 2), at + 1
    return by.full("classifier", x.flatten(1))


def resnet(by, x):
    x = by.norm("bn1", by.conv("conv1", x)).relu()
    for stage, depth in enumerate((3, 4, 6, 3), start=1):
        for unit in range(depth):
            name, stride = f"layer{stage}.{unit}", 2 if stage > 1 and unit == 0 else 1
            y = by.norm(f"{name}.bn1", by.conv(f"{name}.conv1", x)).relu()
            y = by.norm(f"{name}.bn2", by.conv(f"{name}.conv2", y, stride)).relu()
            y = by.norm(f"{name}.bn3", by.conv(f"{name}.conv3", y))
            if unit == 0:
                x = by.norm(f"{name}.shortcut.1", by.conv(f"{name}.shortcut.0", x, stride))
            x = (x + y).relu()
    return by.full("linear", x.mean((2, 3)))


def leaky(x):
    return torch.where(x > 0, x, 0.1 * x)


def madry(by, x):
    by.eps = 1e-3
    x = by.conv("conv", x)
    for stage in (1, 2, 3):
        for unit in range(5):
            name, first = f"stage{stage}.{unit}", unit == 0
            stride = 2 if first and stage > 1 else 1
            active = leaky(by.norm(f"{name}.bn1", x))
            y = by.conv(f"{name}.conv1", active, stride)
            y = by.conv(f"{name}.conv2", leaky(by.norm(f"{name}.bn2", y)))
            way = active if first and stage == 1 else x
            if stride == 2:
                way = (
                    way[..., ::2, ::2] + way[..., 1::2, ::2] + way[..., ::2, 1::2]
                    + way[..., 1::2, 1::2]
                ) / 4  # fmt: skip
            more = (y.shape[1] - way.shape[1]) // 2
            none = torch.zeros(len(y), more, *y.shape[2:], dtype=y.dtype)
            x = y + torch.cat((none, way, none), 1)
    return by.full("linear", leaky(by.norm("bn", x)).mean((2, 3)))


def googlenet(by, x):
    x = by.block("pre_layers", x)
    for names in (("a3", "b3"), ("a4", "b4", "c4", "d4", "e4"), ("a5", "b5")):
        for name in names:
            one = by.block(f"{name}.b1", x)
            three = by.block(f"{name}.b2", by.block(f"{name}.b2", x), 3)
            five = by.block(f"{name}.b3", by.block(f"{name}.b3", by.block(f"{name}.b3", x), 3), 6)
            pool = by.block(f"{name}.b4", F.max_pool2d(x, 3, stride=1, padding=1), 1)
            x = torch.cat((one, three, five, pool), 1)
        if names[-1] != "b5":
            x = F.max_pool2d(x, 3, stride=2, padding=1)
    return by.full("linear", x.mean((2, 3)))


def unit(by, name, x, stride, shortcut):
    """A pre-activated unit: the shortcut, where it is a convolution, takes the activated input."""
    active = by.norm(f"{name}.bn1", x).relu()
    y = by.norm(f"{name}.bn2", by.conv(f"{name}.conv1", active, stride)).relu()
    y = by.conv(f"{name}.conv2", y)
    return y + (by.conv(shortcut, active, stride) if f"{shortcut}.weight" in by.state else x)


def preact(by, x):
    x = by.conv("conv1", x)
    for stage in (1, 2, 3, 4):
        for number in (0, 1):
            name = f"layer{stage}.{number}"
            stride = 2 if stage > 1 and number == 0 else 1
            x = unit(by, name, x, stride, f"{name}.shortcut.0")
    return by.full("linear", by.norm("bn", x).relu().mean((2, 3)))


def wide(by, x):
    x = by.conv("conv1", x)
    for stage in (1, 2, 3):
        for number in (0, 1):
            name = f"block{stage}.layer.{number}"
            stride = 2 if stage > 1 and number == 0 else 1
            x = unit(by, name, x, stride, f"{name}.convShortcut")
    return by.full("fc", by.norm("bn1", x).relu().mean((2, 3)))


def wide_16_1():
    return WideResNet(16, 1)


@pytest.mark.parametrize(
    ("factory", "by_hand"),
    [
        (ModelE, vgg), (ModelF, resnet), (ModelG, madry), (ModelH, googlenet),
        (PreActResNet18, preact), (wide_16_1, wide),
    ],
)  # fmt: skip
def test_the_layers_in_their_order(factory, by_hand):
    torch.manual_seed(0)
    model = factory().double().eval().requires_grad_(False)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):  # as a training leaves it; small variances show eps
            module.running_mean.normal_().mul_(0.1)
            module.running_var.uniform_(0.01, 0.05)
            module.weight.uniform_(0.1, 0.3)
            module.bias.normal_().mul_(0.1)
    side = 32 if factory is ModelE else 16
    x = torch.rand(1, 3, side, side, dtype=torch.float64)
    torch.testing.assert_close(model(x), by_hand(By(model), x), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("factory", [wide_16_1, ModelG], ids=["wide", "G"])
def test_convolutions_start_with_the_variance_of_their_fan_out(factory):
    """He et al. 2015: 2 over the outputs that a weight feeds."""
    torch.manual_seed(0)
    seen = 0
    for module in factory().modules():
        if isinstance(module, nn.Conv2d) and module.weight.numel() > 4000:
            fan = module.out_channels * module.kernel_size[0] ** 2
            spread = float(module.weight.detach().std())
            assert spread == pytest.approx(sqrt(2 / fan), rel=0.08)
            seen += 1
    assert seen > 3
