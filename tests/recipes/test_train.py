"""The recipes of training: each is read as the command reads it; nothing is trained for long."""

from dataclasses import replace
from functools import cache
from pathlib import Path

import pytest
import torch
import yaml

from hauberk import models
from hauberk.attacks import PGD, MultiSteepestDescent
from hauberk.cli.main import main as cli
from hauberk.cli.strategy import strategy_of
from hauberk.cli.train import TrainCommand
from hauberk.evaluation.core.bound import with_model
from hauberk.models.loading import load_model
from hauberk.solvers.ddn import DDN
from hauberk.threats import L1, L2, Box, Linf, threat
from hauberk.train import MMA, PGDLS, DDNTraining, Single, Standard, fit

CIFAR = (3, 32, 32)
MADRY = "hauberk.models:MadryCNN"
FOLDER = Path(__file__).parents[2] / "recipes" / "train"
RECIPES = sorted(
    str(path.relative_to(FOLDER).with_suffix(""))
    for path in FOLDER.glob("*/*.yaml")
    if path.name != "model.yaml"
)


@pytest.fixture
def read(monkeypatch, tmp_path):
    """What the command makes of a recipe: its options, strategy and settings.

    In an empty folder: a run saved beside the recipes must not disturb the test.
    """
    monkeypatch.chdir(tmp_path)

    def read(name, *words):
        called = []
        monkeypatch.setattr(TrainCommand, "run", lambda self: called.append(self) or 0)
        assert cli(["train", "--config", str(FOLDER / f"{name}.yaml"), *words]) == 0
        (options,) = called
        strategy = strategy_of(options.strategy, options.threat, options.set)
        if options.model.endswith(".yaml"):  # a later stage: as if those before had been run
            model = options.model
            while model.endswith(".yaml"):
                before = FOLDER / f"{Path(model).parent.relative_to('runs/train')}.yaml"
                model = yaml.safe_load(before.read_text())["model"]
            first = Path(options.model)
            first.parent.mkdir(parents=True, exist_ok=True)
            first.write_text(f"model: {model}\n")
        return options, strategy, options.checked()[2]

    return read


def test_every_paper_has_its_recipes():
    for data in ("mnist", "cifar10"):
        maini = {f"maini2020/{data}-union-{s}" for s in ("msd", "max", "avg")}
        maini |= {f"maini2020/{data}-{norm}-single" for norm in ("linf", "l2", "l1")}
        tramer = {f"tramer2019/{data}-{s}" for s in ("standard", "linf-single", "l1-single")}
        tramer |= {f"tramer2019/{data}-{s}" for s in ("union-avg", "union-max", "rt-single")}
        tramer |= {f"tramer2019/{data}-{s}" for s in ("linf-rt-avg", "linf-rt-max")}
        ding = {f"ding2020/{data}-{p}-{s}" for p in ("linf", "l2") for s in ("single", "mma")}
        ding |= {f"ding2020/{data}-standard", "ding2020/mnist-l2-ddn"}
        assert maini | tramer | ding | {f"wang2021/{data}-union-ampgd"} <= set(RECIPES)
    budget = ("avg", "max", "msd", "ampgd", "random-norm", "eat")
    assert {f"budget/mnist-union-{s}" for s in budget} <= set(RECIPES)


def test_recipes_are_called_after_data_threats_and_strategy():
    for name in RECIPES:
        recipe = yaml.safe_load((FOLDER / f"{name}.yaml").read_text(encoding="utf-8"))
        stem = name.partition("/")[2]
        assert stem.startswith(recipe["data"].partition(":")[0])
        assert stem.endswith(recipe["strategy"]["name"])


SIZES = {
    "mnist-linf-single": ["linf:0.1", "linf:0.2", "linf:0.3", "linf:0.4", "linf:0.45"],
    "mnist-l2-single": ["l2:1", "l2:2", "l2:3", "l2:4"],
    "cifar10-linf-single": [f"linf:{4 * k}/255" for k in range(1, 9)],
    "cifar10-l2-single": ["l2:0.5", "l2:1", "l2:1.5", "l2:2", "l2:2.5"],
    "mnist-linf-mma": ["linf:0.45"],
    "mnist-l2-mma": ["l2:2", "l2:4", "l2:6"],
    "cifar10-linf-mma": ["linf:12/255", "linf:20/255", "linf:32/255"],
    "cifar10-l2-mma": ["l2:1", "l2:2", "l2:3"],
}
"""What Ding et al. 2020 train, for each of PGD and PGDLS, or of MMA and OMMA: 64 in all."""


@pytest.mark.parametrize("name", SIZES)
def test_sizes_of_ding_2020_are_options_of_one_recipe(read, name):
    mma, mnist = name.endswith("mma"), name.startswith("mnist")
    epochs, steps = (91, 40) if mnist else (142, 10)
    other = "clean=0" if mma else f"grow=50/{epochs}"
    eps_init = {"linf": 0.1 if mnist else 0.05, "l2": 0.5}[name.split("-")[1]]
    for size in SIZES[name]:
        _, one, settings = read(f"ding2020/{name}", "--threat", size)
        _, two, same = read(f"ding2020/{name}", "--threat", size, "--set", other, "--out", "b")
        ball = threat(size)
        if mma:
            numbers = {"steps": steps, "bisections": 10, "eps_init": eps_init}
            assert (one, two) == (MMA(ball, **numbers), MMA(ball, clean=0.0, **numbers))
        else:
            attack = PGD(loss="soft_margin", steps=steps)
            grown = replace(PGDLS(ball, attack=attack), grow=50 / epochs)
            assert one == Single(ball, attack=attack)
            assert two == Single(ball, attack=attack, grow=grown.grow)
        assert settings.epochs == epochs
        assert replace(settings, out="b") == same


@cache
def require_made(model, shape):
    """A model gives 10 logits for images of a shape."""
    with torch.device("meta"):  # no memory: what is asked for is the shape
        built = load_model(model).eval()
        assert built(torch.rand(2, *shape)).shape == (2, 10)


@pytest.mark.parametrize("name", RECIPES)
def test_recipe_names_what_there_is(read, name):
    options, strategy, _ = read(name)
    assert options.given["out"] == f"runs/train/{name}"
    x = torch.rand(2, *((1, 28, 28) if "mnist" in name else CIFAR))
    if "perceptual" in name:
        strategy = with_model(strategy, load_model(options.model))
    strategy.check(x, torch.tensor([0, 9]), Box())
    require_made(options.model, tuple(x.shape[1:]))


def rates(settings, examples):
    """The rate of a step, given the examples that are trained on."""
    return lambda step: settings.rates.at(step, -(-examples // settings.minibatch))


MNIST_PGD = {"linf": (0.3, 0.01, 50), "l2": (2, 0.1, 100), "l1": (10, 0.8, 50)}
CIFAR_PGD = {"linf": (0.03, 0.003, 40), "l2": (0.5, 0.05, 50), "l1": (12, 1.0, 50)}
"""Maini et al. 2020, appendix C.1: radius, step and iterations of the attacks in training."""

MAINI = {
    # By recipe: threat -> (radius, step, iterations); epochs; restarts in l1.
    "mnist-linf-single": ({"linf": MNIST_PGD["linf"]}, 20, 1),
    "mnist-l2-single": ({"l2": MNIST_PGD["l2"]}, 20, 1),
    "mnist-l1-single": ({"l1": (10, 1.0, 50)}, 20, 2),
    "mnist-union-msd": (
        {"linf": (0.3, 0.01, 100), "l2": (2, 0.1, 100), "l1": (10, 0.8, 100)}, 15, 1,
    ),
    "mnist-l2-l1-msd": ({"l2": (2, 0.1, 100), "l1": (10, 0.8, 100)}, 15, 1),
    "mnist-linf-l1-msd": ({"linf": (0.3, 0.01, 100), "l1": (10, 0.8, 100)}, 15, 1),
    "mnist-linf-l2-msd": ({"linf": (0.3, 0.01, 100), "l2": (2, 0.1, 100)}, 15, 1),
    "mnist-union-max": ({"linf": (0.3, 0.01, 50), "l2": (2, 0.1, 100), "l1": (12, 1.0, 100)}, 4, 4),
    "mnist-union-avg": ({"linf": (0.3, 0.01, 50), "l2": (2, 0.2, 100), "l1": (12, 1.0, 50)}, 15, 2),
    "cifar10-linf-single": ({"linf": CIFAR_PGD["linf"]}, 50, 1),
    "cifar10-l2-single": ({"l2": CIFAR_PGD["l2"]}, 50, 1),
    "cifar10-l1-single": ({"l1": CIFAR_PGD["l1"]}, 50, 1),
    "cifar10-union-msd": (
        {"linf": (0.03, 0.003, 50), "l2": (0.5, 0.02, 50), "l1": (12, 1.0, 50)}, 50, 1,
    ),
    "cifar10-linf-l1-msd": (  # table 6: steps in units of the radius as before
        {"linf": (4 / 255, 4 / 2550, 50), "l1": (2000 / 255, 2000 / 255 / 12, 50)}, 50, 1,
    ),
    "cifar10-union-max": (
        {"linf": (0.03, 0.005, 40), "l2": (0.3, 0.05, 50), "l1": (12, 1.0, 50)}, 45, 1,
    ),
    "cifar10-union-avg": (
        {"linf": (0.03, 0.003, 40), "l2": (0.3, 0.05, 50), "l1": (12, 1.0, 50)}, 50, 1,
    ),
}  # fmt: skip
"""Appendix C.2 and, of what it does not say, C.1."""


def test_every_recipe_of_maini_2020_is_listed():
    assert {f"maini2020/{name}" for name in MAINI} == {r for r in RECIPES if "maini2020" in r}


@pytest.mark.parametrize("name", MAINI)
def test_attacks_of_recipes_are_those_of_maini_2020(read, name):
    rows, epochs, restarts = MAINI[name]
    _, strategy, settings = read(f"maini2020/{name}")
    assert settings.epochs == epochs
    assert [part.kind for part in strategy.threats] == list(rows)
    for part in strategy.threats:
        eps, alpha, steps = rows[part.kind]
        attack = strategy.attack_on(strategy.threat if name.endswith("msd") else part)
        assert part.eps == pytest.approx(eps)
        assert (attack.steps, attack.loss, attack.soften) == (steps, "ce", 0)
        if part.kind == "l1" or name.endswith("msd"):
            assert isinstance(attack, MultiSteepestDescent)
            step = getattr(attack, f"step_{part.kind}") * eps
            assert (attack.k, attack.ranking, attack.zero_start) == ((5, 20), "loss", True)
        else:
            assert type(attack) is PGD
            step = attack.step_size
            assert (attack.random_start, attack.momentum, attack.rule) == (False, 0, "steepest")
        assert step == pytest.approx(alpha)
        assert attack.restarts == (restarts if part.kind == "l1" else 1)
    assert (strategy.clean, strategy.grow) == (0, 0)
    if name.endswith("avg"):
        assert strategy.reduce == "sum"


@pytest.mark.parametrize("name", MAINI)
def test_trainings_of_recipes_are_those_of_maini_2020(read, name):
    options, _, settings = read(f"maini2020/{name}")
    assert settings.select == "last"
    assert not settings.validation
    assert (options.limit, options.offset, settings.ema, settings.clip) == (None, 0, None, None)
    if name.startswith("mnist"):
        assert (options.model, options.data) == ("hauberk.models:MadryCNN", "mnist:train")
        assert (settings.optimiser, settings.minibatch) == ("adam", 100)
        assert (settings.weight_decay, list(settings.augment or [])) == (0, [])
        # To 1e-3 in 6 epochs and to 0 in 9; for one threat stretched from 15 epochs to 20.
        top, end = (8, 20) if name.endswith("single") else (6, 15)
        corners = [(top / 2, 5e-4), (top, 1e-3), ((top + end) / 2, 5e-4), (end, 0)]
    else:
        network = "madry_wrn" if name == "cifar10-linf-l1-msd" else "PreActResNet18"
        assert (options.model, options.data) == (f"hauberk.models:{network}", "cifar10:train")
        assert (settings.optimiser, settings.minibatch, settings.nesterov) == ("sgd", 128, False)
        assert (settings.momentum, settings.weight_decay) == (0.9, 5e-4)
        assert settings.augment == ["pad-crop:4", "flip"]
        corners = [(10, 0.05), (20, 0.1), (30, 0.0525), (40, 0.005), (45, 0.0025), (50, 0)]
    rate = rates(settings, 100 * settings.minibatch)
    for epoch, value in corners:
        assert rate(round(100 * epoch) - 1) == pytest.approx(value, abs=1e-12)


def test_mma_on_mnist_is_that_of_ding_2020(read):
    options, strategy, settings = read("ding2020/mnist-l2-mma")
    assert strategy.threats == (L2(6),)
    assert strategy.clean == pytest.approx(1 / 3)
    assert (strategy.steps, strategy.bisections, strategy.eps_init) == (40, 10, 0.5)
    assert (settings.minibatch, settings.learning_rate) == (50, 1e-4)
    examples = 60_000 - options.given["validation"]
    assert settings.epochs * examples / 50 == pytest.approx(1e5, rel=0.01)


def test_ddn_training_is_that_of_ding_2020(read):
    options, strategy, settings = read("ding2020/mnist-l2-ddn")
    assert strategy == DDNTraining(L2(2.4), solver=DDN(steps=100, eps=1))
    assert options.model == "hauberk.models:SmallCNN"
    assert (settings.optimiser, settings.momentum, settings.weight_decay) == ("sgd", 0.9, 1e-6)
    rate = rates(settings, 55_000)
    each = -(-55_000 // settings.minibatch)
    assert [rate(each * epoch) for epoch in (0, 29, 30, 49)] == pytest.approx(
        [0.01] * 2 + [1e-3] * 2
    )


@pytest.mark.parametrize(
    ("data", "steps", "examples"), [("mnist", 1e5, 55_000), ("cifar10", 5e4, 45_000)]
)
def test_standard_models_of_ding_2020_are_trained_as_the_others(read, data, steps, examples):
    options, strategy, settings = read(f"ding2020/{data}-standard")
    other, _, same = read(f"ding2020/{data}-l2-single")
    assert type(strategy) is Standard
    assert options.model == other.model
    for name in ("epochs", "minibatch", "optimiser", "learning_rate", "schedule", "momentum"):
        assert getattr(settings, name) == getattr(same, name)
    assert (settings.weight_decay, settings.augment) == (same.weight_decay, same.augment)
    assert settings.select == "clean"
    assert settings.epochs * -(-examples // settings.minibatch) == pytest.approx(steps, rel=0.01)


def test_pgdls_on_cifar_is_that_of_ding_2020(read):
    options, strategy, settings = read("ding2020/cifar10-linf-single", "--set", "grow=50/142")
    assert options.model == "hauberk.models:wrn_28_4"
    assert strategy.threats == (Linf(8 / 255),)
    assert strategy.grow * settings.epochs == pytest.approx(50)
    assert strategy.attack_on(strategy.threat).steps == 10
    rate = rates(settings, 45_000)
    found = [rate(step) for step in (0, 19_999, 20_000, 30_000, 40_000, 49_999)]
    assert found == pytest.approx([0.3, 0.3, 0.09, 0.03, 0.009, 0.009])
    assert settings.epochs * -(-45_000 // 128) == pytest.approx(5e4, rel=0.01)


def test_max_is_that_of_tramer_2019(read):
    _, strategy, settings = read("tramer2019/mnist-union-max")
    linf, l1, l2 = map(strategy.attack_on, strategy.threats)
    assert strategy.threats == (Linf(0.3), L1(10), L2(2))
    assert (linf.steps, l1.steps, l2.steps) == (40, 100, 100)
    assert l1.share == (0.005, 0.2)  # of the coordinates: percentiles 80 to 99.5
    rate = rates(settings, 60_000)
    assert [rate(step) for step in (0, 2999, 3000, 5999)] == pytest.approx([1e-3] * 2 + [1e-4] * 2)


@pytest.mark.parametrize("name", [n for n in RECIPES if n.startswith("tramer2019/mnist")])
def test_the_first_epoch_on_mnist_is_at_a_third_of_the_size(read, name):
    options, strategy, settings = read(name)
    assert (settings.epochs, settings.minibatch, options.model) == (10, 100, MADRY)
    if "standard" not in name:
        found = [strategy.share(step / 6000) for step in (0, 599, 600, 5999)]
        assert found == pytest.approx([1 / 3, 1 / 3, 1, 1])


@pytest.mark.parametrize(("name", "minibatch", "steps"), [("max", 128, 8e4), ("avg", 64, 1.6e5)])
def test_cifar_is_that_of_tramer_2019(read, name, minibatch, steps):
    options, strategy, settings = read(f"tramer2019/cifar10-union-{name}")
    assert strategy.threats == (Linf(4 / 255), L1(2000 / 255))
    assert settings.minibatch == minibatch
    assert settings.augment == ["pad-crop:4", "flip"]
    assert options.model == "hauberk.models:madry_wrn"
    assert strategy.grow == 0
    examples = 50_000 - options.given["validation"]
    assert settings.epochs * -(-examples // minibatch) == pytest.approx(steps, rel=0.01)
    rate = rates(settings, examples)
    assert [rate(int(steps * share)) for share in (0.49, 0.5, 0.75)] == pytest.approx(
        [0.1, 0.01, 0.001]
    )
    turned = read(f"tramer2019/cifar10-linf-rt-{name}")
    assert not turned[2].augment
    assert turned[1].attack_on(turned[1].threats[1]).samples == 10


@pytest.mark.parametrize("name", [name for name in RECIPES if name.startswith("budget")])
def test_budget_recipes_cost_the_same(read, name):
    options, strategy, settings = read(name)
    balls = {"linf": Linf(0.3), "l2": L2(2), "l1": L1(10)}
    one = balls.get(name.split("-")[1])
    assert strategy.threats == ((one,) if one else tuple(balls.values()))
    assert (options.model, options.limit) == ("hauberk.models:kwsmall_mnist", 10_000)
    torch.manual_seed(0)
    # One threat a batch is drawn at random: many small batches show the mean.
    data = torch.rand(80, 1, 28, 28), torch.arange(80) % 10
    full = replace(strategy, grow=0.0)
    spent = fit(models.kwsmall_mnist(), data, full, epochs=1, minibatch=2).history[0]
    passes = (spent["forwards"] + spent["backwards"]) / 80 * settings.epochs
    drawn = 0.15 if name.endswith(("random-norm", "eat")) else 0.065
    assert passes == pytest.approx(260, rel=drawn)


def test_perceptual_training_is_that_of_laidlaw_et_al(read):
    options, strategy, settings = read("liang2023/cifar10-perceptual-single")
    attack = strategy.attack
    assert (type(attack).__name__, attack.loss, attack.steps) == ("FastLPA", "ce", 10)
    assert (attack.relative, attack.price, attack.step_share) == (False, 10.0, 1.0)
    assert str(strategy.threat) == "perceptual(layer1+layer2+layer3+layer4):0.5"
    bound = strategy.threat.of_model(load_model(options.model))
    assert len(bound.features(torch.rand(1, *CIFAR))) == 4
    assert (settings.epochs, settings.minibatch, settings.learning_rate) == (100, 50, 0.1)
    assert (settings.momentum, settings.weight_decay) == (0.9, 2e-4)
