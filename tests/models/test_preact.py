"""Pre-activation ResNet-18, beside the wide residual networks."""

import pytest
import torch
from torch import nn

from hauberk import models

CIFAR = (3, 32, 32)


def convolutions(*shapes):
    return sum(inner * outer * k * k for inner, outer, k in shapes)


def preact_by_hand():
    total = convolutions((3, 64, 3)) + 2 * 512 + 512 * 10 + 10
    inner = 64
    for outer in (64, 128, 256, 512):
        total += 2 * inner + 2 * outer + convolutions((inner, outer, 3), (outer, outer, 3))
        total += 4 * outer + convolutions((outer, outer, 3), (outer, outer, 3))
        total += inner * outer if inner != outer else 0
        inner = outer
    return total


def wide_by_hand(depth, widen):
    total = convolutions((3, 16, 3)) + 2 * 64 * widen + 64 * widen * 10 + 10
    inner = 16
    for outer in (16 * widen, 32 * widen, 64 * widen):
        for unit in range((depth - 4) // 6):
            start = inner if unit == 0 else outer
            total += 2 * start + 2 * outer + convolutions((start, outer, 3), (outer, outer, 3))
        total += inner * outer
        inner = outer
    return total


@pytest.mark.parametrize(
    ("factory", "parameters", "by_hand"),
    [
        (models.PreActResNet18, 11_172_170, preact_by_hand()),
        (models.wrn_28_4, 5_849_050, wide_by_hand(28, 4)),
        (models.wrn_28_10, 36_479_194, wide_by_hand(28, 10)),
        (models.wrn_34_10, 46_160_474, wide_by_hand(34, 10)),
    ],
    ids=lambda value: getattr(value, "__name__", None),
)
def test_parameters(factory, parameters, by_hand):
    assert sum(p.numel() for p in factory().parameters()) == parameters == by_hand


SMALL = {
    "preact": models.PreActResNet18,
    "wide": lambda **more: models.WideResNet(10, 1, **more),
}


@pytest.mark.parametrize("name", SMALL)
@pytest.mark.parametrize("more", [{}, {"per_image": True}, {"mean": [0.5] * 3, "std": [0.2] * 3}])
def test_examples_stand_alone_in_float64_and_in_any_number(name, more):
    torch.manual_seed(0)
    model = SMALL[name](**more).eval().double()
    x = torch.rand(3, *CIFAR, dtype=torch.float64)
    logits = model(x)
    assert logits.shape == (3, 10)
    assert logits.dtype == torch.float64
    torch.testing.assert_close(torch.cat([model(one) for one in x.split(1)]), logits)
    assert model(x[:0]).shape == (0, 10)


@pytest.mark.parametrize("name", SMALL)
def test_two_classes_and_other_sizes_of_image(name):
    model = SMALL[name](classes=2).eval()
    assert model(torch.rand(1, 3, 16, 24)).shape == (1, 2)


def test_strides_divide_the_sides_by_eight_and_four():
    x = torch.rand(1, *CIFAR)
    model = models.PreActResNet18().eval()
    deep = model.layer4(model.layer3(model.layer2(model.layer1(model.conv1(x)))))
    assert deep.shape == (1, 512, 4, 4)
    wide = models.WideResNet(10, 2).eval()
    assert wide.block3(wide.block2(wide.block1(wide.conv1(x)))).shape == (1, 128, 8, 8)


def test_a_unit_adds_to_what_comes_in():
    """With convolutions of 0 a unit is its shortcut: the input, or a 1x1 of the activated input."""
    torch.manual_seed(0)
    x = torch.randn(2, 64, 8, 8)
    kept = models.PreActResNet18().eval().layer1[0]
    nn.init.zeros_(kept.conv2.weight)
    assert torch.equal(kept(x), x)
    first = models.WideResNet(10, 4).eval().block2.layer[0]
    nn.init.zeros_(first.conv2.weight)
    active = torch.relu(x / (1 + first.bn1.eps) ** 0.5)
    torch.testing.assert_close(first(x), first.convShortcut(active))


def test_keys_are_those_of_public_code():
    keys = models.PreActResNet18().state_dict().keys()
    assert {"conv1.weight", "layer2.0.shortcut.0.weight", "bn.running_var", "linear.bias"} <= keys
    assert not any(key.startswith("layer1.0.shortcut") for key in keys)
    keys = models.WideResNet(16, 1).state_dict().keys()
    assert {"conv1.weight", "block2.layer.0.convShortcut.weight", "bn1.bias", "fc.weight"} <= keys
    assert not any("convShortcut" in key for key in keys if ".layer.1." in key)
