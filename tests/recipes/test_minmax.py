"""The recipes of min-max as the command reads them, against what Wang et al. 2021 prints."""

from pathlib import Path

import pytest

from hauberk.attacks import PGD
from hauberk.cli.main import main as cli
from hauberk.cli.minmax import MinmaxCommand
from hauberk.threats import threat

FOLDER = Path(__file__).parents[2] / "recipes" / "minmax"

ENSEMBLES = {  # norm: alpha, beta, gamma; section D.2
    "mnist": {"l0": (1, 1 / 100, 7), "l1": (1 / 4, 1 / 100, 5), "l2": (1 / 10, 1 / 100, 3),
              "linf": (1 / 4, 1 / 50, 3)},
    "cifar10": {"l0": (1, 1 / 150, 1), "l1": (1 / 4, 1 / 100, 5), "l2": (1 / 8, 1 / 100, 3),
                "linf": (1 / 5, 1 / 50, 6)},
}  # fmt: skip
EPS = {
    "ensemble": {"l0": 30, "l1": 20, "l2": 3, "linf": 0.2},
    "ensemble-cifar10-ABCD": {"l0": 50, "l1": 30, "l2": 3, "linf": 0.05},
    "ensemble-cifar10-AEFH": {"l0": 70, "l1": 30, "l2": 1.5, "linf": 0.03},
}
UNIVERSAL = {
    "mnist": {"A": 0.2, "B": 0.2, "C": 0.3, "D": 0.25},
    "cifar10": {"B": 0.02, "D": 0.05, "E": 0.035, "H": 0.02},  # E: 0.35 in print
}

EXPECTED = {}
"""By recipe: threat, steps, alpha, beta, gamma, models, data, images of a group, transforms."""
for stem, sizes in EPS.items():
    data = "cifar10" if "cifar10" in stem else "mnist"
    models = stem.rpartition("-")[2] if data == "cifar10" else "ABCD"
    for norm, eps in sizes.items():
        alpha, beta, gamma = ENSEMBLES[data][norm]
        row = (f"{norm}:{eps}", 50, alpha, beta, gamma, models, data, None, [])
        EXPECTED[f"{stem}-{norm}"] = row
for data, models in UNIVERSAL.items():
    for model, eps in models.items():
        stem = "universal" if data == "mnist" else "universal-cifar10"
        row = (f"linf:{eps}", 20, 1 / 6, 1 / 50, 4, model, data, 5, [])
        EXPECTED[f"{stem}-{model}"] = row
for kind in ("deterministic", "stochastic"):
    row = ("linf:0.03", 20, 1 / 2, 1 / 100, 10, "A", "cifar10", None, [f"wang2021:{kind}"])
    EXPECTED[f"transforms-{kind}"] = row
EXPECTED["sizes"] = ("linf:0.2", 50, 1 / 4, 1 / 50, 3, "ABC", "mnist", None, [])
EXPECTED["sizes-cifar10"] = ("linf:0.05", 50, 1 / 5, 1 / 50, 6, "ABC", "cifar10", None, [])


@pytest.fixture
def read(monkeypatch):
    """What the command makes of a recipe."""

    def read(name, *words):
        called = []
        monkeypatch.setattr(MinmaxCommand, "run", lambda self: called.append(self) or 0)
        assert cli(["minmax", "--config", str(FOLDER / f"{name}.yaml"), *words]) == 0
        return called[0]

    return read


def test_every_recipe_is_expected():
    found = {path.stem for path in FOLDER.glob("*.yaml")}
    assert found == set(EXPECTED) | {"ensemble-strong"}


@pytest.mark.parametrize("name", EXPECTED)
def test_recipes_are_those_of_wang_2021(read, name):
    text, steps, alpha, beta, gamma, models, data, group, transforms = EXPECTED[name]
    command = read(name)
    question = command.question()
    assert question.threat == threat(text)
    attack = question.attack
    assert (type(attack), attack.rule, attack.loss, attack.steps) == (PGD, "gradient", "cw", steps)
    assert attack.step_size == pytest.approx(alpha, rel=1e-12)
    assert attack.random_start == (group is None)
    assert question.beta == pytest.approx(beta, rel=1e-12)
    assert (question.gamma, question.group, command.transform) == (gamma, group, transforms)
    assert command.name == list(models)
    assert command.model == [f"runs/train/wang2021/{data}-{k}-standard" for k in models]
    assert command.data == f"{data}:test"


def test_the_strong_ensemble_is_that_of_table_1_under_another_attack(read):
    command, table = read("ensemble-strong"), read("ensemble-linf")
    for name in ("model", "name", "data", "limit", "threat", "beta", "gamma", "steps"):
        assert getattr(command, name) == getattr(table, name)
    assert (command.attack, command.rule) == (None, None)


def test_the_command_line_names_other_models(read):
    command = read("ensemble-linf", "--model=a.py:f", "--name=F")
    assert (command.model, command.name) == (["a.py:f"], ["F"])


def test_models_are_trained_by_recipes():
    trained = FOLDER.parent / "train"
    for *_, models, data, _, _ in EXPECTED.values():
        for k in models:
            recipe = (trained / f"wang2021/{data}-{k}-standard.yaml").read_text()
            assert f"out: runs/train/wang2021/{data}-{k}-standard\n" in recipe
