"""Models A to D of Wang et al. 2021, and what models A to H have in common."""

import pytest
import torch
from helpers.wang2021 import CIFAR, LARGE, MNIST, SMALL, build, conv, fc, name, size

from hauberk import models
from hauberk.errors import InputError

EVERY = [(m, s) for m in SMALL for s in (MNIST, CIFAR)] + [(m, CIFAR) for m in LARGE]


@pytest.mark.parametrize(("factory", "shape"), EVERY, ids=name)
def test_shape_determinism_and_dtype(factory, shape):
    model = build(factory, shape)
    x = torch.rand(1, *shape, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        logits = model(x)
        assert logits.shape == (1, 10)
        assert torch.equal(model(x), logits)
        precise = model.double()(x.double())
    assert precise.dtype == torch.float64
    torch.testing.assert_close(precise.float(), logits, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize(("factory", "shape"), EVERY, ids=name)
def test_gradient_reaches_the_input_and_every_parameter(factory, shape):
    model = build(factory, shape)
    n = 4 if factory in SMALL else 1
    x = torch.rand(n, *shape, generator=torch.Generator().manual_seed(1)).requires_grad_(True)
    model(x).square().sum().backward()
    assert x.grad is not None
    assert x.grad.flatten(1).abs().sum(1).gt(0).all()
    assert [key for key, p in model.named_parameters() if not p.grad.abs().sum() > 0] == []


@pytest.mark.parametrize("factory", SMALL + LARGE, ids=name)
def test_state_dict_round_trip(factory):
    shape = MNIST if factory in SMALL else CIFAR
    one, two = build(factory, shape), build(factory, shape, seed=1)
    x = torch.rand(1, *shape, generator=torch.Generator().manual_seed(2))
    with torch.no_grad():
        expected = one(x)
        assert not torch.equal(two(x), expected)
        two.load_state_dict(one.state_dict())
        assert torch.equal(two(x), expected)


@pytest.mark.parametrize("factory", SMALL, ids=name)
def test_examples_do_not_influence_each_other(factory):
    model = build(factory, MNIST).double()
    x = torch.rand(3, *MNIST, dtype=torch.float64)
    alone = torch.cat([model(x[i : i + 1]) for i in range(3)])
    torch.testing.assert_close(model(x), alone)


@pytest.mark.parametrize("factory", SMALL, ids=name)
def test_empty_batch_and_two_classes(factory):
    model = build(factory, (2, 17, 17), classes=2)
    assert model(torch.zeros(0, 2, 17, 17)).shape == (0, 2)
    assert model(torch.rand(3, 2, 17, 17)).shape == (3, 2)


def test_parameters_of_the_small_networks():
    for channels, side, a, b, c, d in (
        (1, 28, 125_898, 700_810, 44_426, 421_642),
        (3, 32, 418_762, 701_386, 62_006, 545_098),
    ):
        shape = (channels, side, side)
        layers = fc(channels * side**2, 128) + fc(128, 128) + fc(128, 64) + fc(64, 10)
        assert size(build(models.ModelA, shape)) == layers == a
        layers = conv(channels, 32, 3) + conv(32, 64, 3) + conv(64, 128, 3)
        layers += 4 * conv(128, 128, 3) + conv(128, 128, 1) + conv(128, 10, 1)
        assert size(build(models.ModelB, shape)) == layers == b
        last = {28: 4, 32: 5}[side]
        layers = conv(channels, 6, 5) + conv(6, 16, 5)
        layers += fc(16 * last**2, 120) + fc(120, 84) + fc(84, 10)
        assert size(build(models.ModelC, shape)) == layers == c
        layers = conv(channels, 32, 3) + conv(32, 64, 3) + fc(64 * (side // 4) ** 2, 128)
        assert size(build(models.ModelD, shape)) == layers + fc(128, 10) == d


def test_all_cnn_strides_have_no_relu_and_halve_three_times():
    model = build(models.ModelB, MNIST)
    negative, sides = set(), []

    def look(key):
        def hook(_, inputs, output):
            if (inputs[0] < 0).any():
                negative.add(key)
            sides.append(output.shape[-1])

        return hook

    for i in range(1, 10):
        getattr(model, f"conv{i}").register_forward_hook(look(f"conv{i}"))
    model(torch.rand(4, *MNIST))
    assert negative == {"conv4", "conv7"}
    assert sides == [28, 28, 14, 14, 14, 7, 7, 7, 4]


@pytest.mark.parametrize(("factory", "rate"), [(models.ModelB, 0.5), (models.ModelD, 0.25)])
def test_dropout_is_of_the_published_rate_and_in_training_only(factory, rate):
    model = build(factory, MNIST)
    x = torch.rand(2, *MNIST)
    assert model.dropout.p == rate
    assert torch.equal(model(x), model(x))
    model.train()
    assert not torch.equal(model(x), model(x))


@pytest.mark.parametrize("factory", SMALL, ids=name)
def test_refuses_what_cannot_be_built(factory):
    for wrong in ({"channels": 0}, {"size": 0}, {"classes": 1}):
        with pytest.raises(InputError, match=next(iter(wrong))):
            factory(**wrong)


def test_smallest_sizes_are_the_smallest_that_work():
    for factory, least in ((models.ModelC, 16), (models.ModelD, 4), (models.ModelB, 1)):
        assert build(factory, (1, least, least))(torch.rand(1, 1, least, least)).shape == (1, 10)
        with pytest.raises(InputError, match="size"):
            factory(size=least - 1)


@pytest.mark.parametrize("letter", "ABCD")
def test_models_for_cifar10_are_those_of_its_shape(letter):
    made = getattr(models, f"model_{letter.lower()}_cifar10")()
    assert type(made) is getattr(models, f"Model{letter}")
    assert size(made) == size(build(type(made), CIFAR))
    assert made.eval()(torch.rand(1, *CIFAR)).shape == (1, 10)
