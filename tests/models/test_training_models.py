"""The networks that the papers train."""

import pytest
import torch
from torch import nn

from hauberk import models
from hauberk.errors import InputError
from hauberk.models.normalised import standardise

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


def test_strides_leave_an_eighth_and_a_quarter_of_the_pixels_a_side():
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


@pytest.mark.parametrize("name", SMALL)
def test_normalisation_is_the_same_as_that_of_the_input(name):
    x, mean, std = torch.rand(2, *CIFAR), [0.1, 0.5, 0.9], [0.2, 0.3, 0.4]
    torch.manual_seed(0)
    plain = SMALL[name]().eval()
    for more, before in (
        ({"per_image": True}, standardise(x)),
        (
            {"mean": mean, "std": std},
            (x - torch.tensor(mean)[:, None, None]) / torch.tensor(std)[:, None, None],
        ),
    ):
        model = SMALL[name](**more).eval()
        model.load_state_dict(plain.state_dict(), strict=True)
        torch.testing.assert_close(model(x), plain(before))


def test_standardised_images_have_mean_0_and_variance_1():
    x = torch.rand(4, 3, 8, 8, dtype=torch.float64) * 0.3 + 0.1
    flat = standardise(x).flatten(1)
    zeros = torch.zeros(4, dtype=torch.float64)
    torch.testing.assert_close(flat.mean(1), zeros)
    torch.testing.assert_close(flat.var(1, correction=0), zeros + 1)
    torch.testing.assert_close(standardise(2 * x + 3), standardise(x))  # whatever the contrast


def test_flat_images_are_standardised_by_the_bound():
    """The bound is 1 / sqrt(d): for x = (a, -a) below it, x * sqrt(2)."""
    x = torch.tensor([[0.01, -0.01], [0.7, 0.7]], dtype=torch.float64, requires_grad=True)
    found = standardise(x)
    expected = torch.tensor([[0.01, -0.01], [0.0, 0.0]], dtype=torch.float64) * 2**0.5
    torch.testing.assert_close(found.detach(), expected)
    (found[:, 0].sum()).backward()
    assert x.grad.isfinite().all()
    assert standardise(torch.rand(0, 3, 4, 4)).shape == (0, 3, 4, 4)


def test_standardisation_has_the_right_slope():
    x = torch.rand(2, 5, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(standardise, x)


def test_the_default_of_wrn_28_4_is_that_of_mma_training():
    assert models.wrn_28_4().per_image
    assert not models.WideResNet(28, 4).per_image


def test_lenet5_of_mma_training():
    model = models.LeNet5Wide().eval()
    assert model.fc1.out_features == 1024
    assert model(torch.rand(2, 1, 28, 28)).shape == (2, 10)


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: models.WideResNet(27, 4), "6 n"),
        (lambda: models.WideResNet(4, 4), "6 n"),
        (lambda: models.WideResNet(10, 0), "widen"),
        (lambda: models.WideResNet(10, 1, 1), "2 or more"),
        (lambda: models.PreActResNet18(1), "2 or more"),
        (lambda: models.PreActResNet18(mean=[0.5], std=[0.2]), "3 channels"),
        (lambda: models.PreActResNet18(std=[0.2] * 3), "3 channels"),
        (lambda: models.PreActResNet18(mean=[0.5] * 3, std=[0.0] * 3), "above 0"),
        (
            lambda: models.WideResNet(10, 1, mean=[0.5] * 3, std=[1.0] * 3, per_image=True),
            "per image or per channel",
        ),
    ],
)
def test_what_cannot_be_built(make, says):
    with pytest.raises(InputError, match=says):
        make()
