"""Every recipe as a reader tries it first, by ``--dry-run``; stand-ins for data and network."""

from pathlib import Path

import pytest
import torch
import yaml
from torch import nn

import hauberk.cli.train as command
from hauberk.cli.main import main
from hauberk.data import Dataset

FOLDER = Path(__file__).parents[2] / "recipes"
TRAIN = sorted(
    str(path.relative_to(FOLDER / "train").with_suffix(""))
    for path in (FOLDER / "train").glob("*/*.yaml")
    if path.name != "model.yaml"
)
LEFT = 2
"""Examples that are trained on."""


class Small(nn.Module):
    """One layer on coarse images, in place of the recipe's network."""

    def __init__(self):
        super().__init__()
        self.pool, self.last = nn.AdaptiveAvgPool2d(4), nn.Linear(16, 10)
        # As perceptual distances of the recipes name them.
        self.layer1, self.layer2, self.layer3, self.layer4 = (nn.Identity() for _ in range(4))

    def forward(self, x):
        x = self.layer4(self.layer3(self.layer2(self.layer1(self.pool(x)))))
        return self.last(x.mean(1).flatten(1))


def stand_in(monkeypatch, held):
    """Data and networks of the right shape; so many examples to validate on."""

    def load_data(spec, folder, limit=None, offset=0, box=(0.0, 1.0), **how):
        shape = (3, 32, 32) if spec.startswith("cifar10") else (1, 28, 28)
        n = held + LEFT
        images = torch.rand(1, *shape).expand(n, *shape)
        return Dataset(images, torch.arange(n) % 10, torch.arange(n), spec, 10)

    monkeypatch.setattr(command, "load_data", load_data)
    monkeypatch.setattr(command.NamedModel, "load", lambda named: Small())


@pytest.mark.parametrize("name", TRAIN)
def test_training_recipe(name, monkeypatch, tmp_path, capsys):
    file = FOLDER / "train" / f"{name}.yaml"
    recipe = yaml.safe_load(file.read_text(encoding="utf-8"))
    monkeypatch.chdir(tmp_path)
    stand_in(monkeypatch, recipe.get("validation", 0))
    if recipe["model"].endswith(".yaml"):  # a later stage: as if those before had been run
        Path(recipe["model"]).parent.mkdir(parents=True, exist_ok=True)
        Path(recipe["model"]).write_text("model: hauberk.models:MadryCNN\n")
    assert main(["train", "--config", str(file), "--dry-run"]) == 0
    shown = capsys.readouterr().out
    assert f"{recipe['epochs']} epochs: about" in shown
    assert f"{recipe.get('validation', 0)} to validate on" in shown
    assert not Path(recipe["out"]).exists()


@pytest.mark.parametrize(
    "words",
    [
        ["--config", "ding2020/mnist-l2-mma.yaml", "--threat", "l2:4"],
        ["--config", "budget/mnist-linf-single.yaml", "--select", "margin", "--validation", "40"],
    ],
)
def test_selection_by_margin_is_tried_with_the_examples_that_are_held_out(
    words, monkeypatch, tmp_path, capsys
):
    monkeypatch.chdir(FOLDER / "train")
    held = 5000 if "--threat" in words else 40
    stand_in(monkeypatch, held)
    assert main(["train", *words, "--out", str(tmp_path / "out"), "--dry-run"]) == 0
    assert f"{held} to validate on" in capsys.readouterr().out
