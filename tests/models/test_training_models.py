"""The networks that the papers train, and the recipes that train them."""

import re
from functools import cache
from pathlib import Path

import pytest
import torch
from torch import nn

from hauberk import cli, commands_train, models
from hauberk.commands_strategy import strategy_of
from hauberk.commands_train_words import circumstances, settings_of
from hauberk.errors import InputError
from hauberk.models.loading import load_model
from hauberk.models.normalised import standardise
from hauberk.threats import L1, L2, Box, Linf
from hauberk.train.config import Settings

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


FOLDER = Path(__file__).parents[2] / "recipes" / "train"
RECIPES = sorted(FOLDER.glob("*.yaml"))
# Those of Ding 2020 differ by the size at the end of their names alone.
ONE_OF_EACH = {re.sub(r"-[0-9.]+$", "", path.stem): path.stem for path in RECIPES}


@pytest.fixture
def read(monkeypatch):
    """What the console makes of a recipe: its options, strategy and settings."""

    def read(name):
        told = []
        monkeypatch.setattr(
            commands_train, "train", lambda options, argv: told.append(options) or 0
        )
        assert cli.main(["train", "--config", str(FOLDER / f"{name}.yaml")]) == 0
        (options,) = told
        strategy = strategy_of(options.strategy, options.threat or [])
        circumstances(options)
        return options, strategy, Settings(**settings_of(options))

    return read


def test_every_paper_has_its_recipes():
    names = {path.stem for path in RECIPES}
    for data in ("mnist", "cifar10"):
        maini = {f"maini-{data}-{s}" for s in ("msd", "max", "avg", "linf", "l2", "l1")}
        tramer = {f"tramer-{data}-{s}" for s in ("natural", "linf", "l1", "avg", "max")}
        tramer |= {f"tramer-{data}-{s}" for s in ("rt", "rt-avg", "rt-max")}
        assert maini | tramer | {f"wang-{data}-ampgd"} <= names
    sizes = {"mnist-linf": 5, "mnist-l2": 4, "cifar10-linf": 8, "cifar10-l2": 5}
    hinges = {"mnist-linf": 1, "mnist-l2": 3, "cifar10-linf": 3, "cifar10-l2": 3}
    for counts, kinds in ((sizes, ("pgd", "pgdls")), (hinges, ("mma", "omma"))):
        for setting, many in counts.items():
            for kind in kinds:
                assert len(list(FOLDER.glob(f"ding-{setting}-{kind}-*.yaml"))) == many
    budget = {f"budget-mnist-{s}" for s in ("avg", "max", "msd", "ampgd", "random-norm", "eat")}
    assert budget <= names


@cache
def made(model):
    """The shape of the images that a model takes, once found to give 10 logits."""
    built = load_model(model)
    shape = (1, 28, 28) if next(built.parameters()).shape[1] == 1 else CIFAR
    assert built(torch.rand(1, *shape)).shape == (1, 10)
    return shape


@pytest.mark.parametrize("name", [path.stem for path in RECIPES])
def test_recipe_names_what_there_is(read, name):
    options, strategy, _ = read(name)
    assert options.out == f"runs/train/{name}"
    x = torch.rand(2, *((1, 28, 28) if "mnist" in name else CIFAR))
    if name in set(ONE_OF_EACH.values()):
        strategy.check(x, torch.tensor([0, 9]), Box())
    assert made(options.model) == x.shape[1:]


def rates(settings, examples):
    """The rate of a step, given the examples that are trained on."""
    return lambda step: settings.rates.at(step, -(-examples // settings.minibatch))


def test_msd_on_mnist_is_that_of_maini_2020(read):
    options, strategy, settings = read("maini-mnist-msd")
    assert options.model == "hauberk.models:MadryCNN"
    assert strategy.threats == (Linf(0.3), L2(2), L1(10))
    msd = strategy.attack_on(strategy.threat)
    sizes = (msd.step_linf * 0.3, msd.step_l2 * 2, msd.step_l1 * 10)
    assert sizes == pytest.approx((0.01, 0.1, 0.8))
    assert (msd.steps, msd.k, settings.epochs, settings.optimiser) == (100, (5, 20), 15, "adam")
    rate = rates(settings, 60_000)
    assert [rate(step - 1) for step in (300, 3600, 6300, 9000)] == pytest.approx(
        [1e-3 / 12, 1e-3, 5e-4, 0]
    )


def test_max_on_mnist_is_that_of_maini_2020(read):
    _, strategy, settings = read("maini-mnist-max")
    assert strategy.threats == (Linf(0.3), L2(2), L1(12))
    linf, l2, l1 = map(strategy.attack_on, strategy.threats)
    assert (linf.steps, l2.steps, l1.steps, settings.epochs) == (50, 100, 100, 4)
    assert (linf.step_size, l2.step_size, l1.step_l1 * 12) == pytest.approx((0.01, 0.1, 1.0))


def test_avg_on_cifar_is_that_of_maini_2020(read):
    _, strategy, settings = read("maini-cifar10-avg")
    assert strategy.threats == (Linf(0.03), L2(0.3), L1(12))
    linf, l2, l1 = map(strategy.attack_on, strategy.threats)
    assert (linf.steps, l2.steps, l1.steps, settings.epochs) == (40, 50, 50, 50)
    assert (linf.step_size, l2.step_size, l1.step_l1 * 12) == pytest.approx((0.003, 0.05, 1.0))
    assert (settings.momentum, settings.weight_decay) == (0.9, 5e-4)
    rate = rates(settings, 128 * 100)
    ends = [rate(100 * epoch - 1) for epoch in (10, 20, 30, 40, 50)]
    assert ends == pytest.approx([0.05, 0.1, 0.0525, 0.005, 0])


def test_mma_on_mnist_is_that_of_ding_2020(read):
    options, strategy, settings = read("ding-mnist-l2-mma-6")
    assert strategy.threats == (L2(6),)
    assert strategy.clean == pytest.approx(1 / 3)
    assert (strategy.steps, strategy.bisections, strategy.eps_init) == (40, 10, 0.5)
    assert (settings.minibatch, settings.learning_rate) == (50, 1e-4)
    assert settings.epochs * (60_000 - options.validation) / 50 == pytest.approx(1e5, rel=0.01)
    assert read("ding-mnist-l2-omma-6")[1].clean == 0


def test_pgdls_on_cifar_is_that_of_ding_2020(read):
    options, strategy, settings = read("ding-cifar10-linf-pgdls-8")
    assert options.model == "hauberk.models:wrn_28_4"
    assert strategy.threats == (Linf(8 / 255),)
    assert strategy.grow * settings.epochs == pytest.approx(50)
    assert strategy.attack_on(strategy.threat).steps == 10
    rate = rates(settings, 45_000)
    found = [rate(step) for step in (0, 19_999, 20_000, 30_000, 40_000, 49_999)]
    assert found == pytest.approx([0.3, 0.3, 0.09, 0.03, 0.009, 0.009])
    assert settings.epochs * -(-45_000 // 128) == pytest.approx(5e4, rel=0.01)


def test_max_is_that_of_tramer_2019(read):
    _, strategy, settings = read("tramer-mnist-max")
    linf, l1, l2 = map(strategy.attack_on, strategy.threats)
    assert strategy.threats == (Linf(0.3), L1(10), L2(2))
    assert (linf.steps, l1.steps, l2.steps) == (40, 100, 100)
    assert l1.share == (0.005, 0.2)  # of the coordinates: percentiles 80 to 99.5
    rate = rates(settings, 60_000)
    assert [rate(step) for step in (0, 2999, 3000, 5999)] == pytest.approx([1e-3] * 2 + [1e-4] * 2)


@pytest.mark.parametrize(("name", "minibatch", "steps"), [("max", 128, 8e4), ("avg", 64, 1.6e5)])
def test_cifar_is_that_of_tramer_2019(read, name, minibatch, steps):
    options, strategy, settings = read(f"tramer-cifar10-{name}")
    assert strategy.threats == (Linf(4 / 255), L1(2000 / 255))
    assert settings.minibatch == minibatch
    assert settings.augment == ["pad-crop:4", "flip"]
    assert settings.epochs * -(-(50_000 - options.validation) // minibatch) == pytest.approx(
        steps, rel=0.01
    )
    rate = rates(settings, 50_000 - options.validation)
    assert [rate(int(steps * share)) for share in (0.49, 0.5, 0.75)] == pytest.approx(
        [0.1, 0.01, 0.001]
    )
    turned = read(f"tramer-cifar10-rt-{name}")
    assert not turned[2].augment
    assert turned[1].attack_on(turned[1].threats[1]).samples == 10
