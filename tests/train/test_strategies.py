"""A strategy is one file and one export: its name follows from its class."""

from dataclasses import dataclass

import pytest
import torch

import hauberk as hb
from hauberk import train
from hauberk.cli.main import main
from hauberk.cli.strategy import strategy_of
from hauberk.solvers.ddn import DDN
from hauberk.train import Loss, Strategy, named_strategies


@dataclass(frozen=True, kw_only=True)
class LabelNoise(Strategy):
    """A toy: cross-entropy with labels turned by one in a share of the examples."""

    share: float = 0.1

    def loss(self, batch, tables):
        y = torch.where(batch.ids % 10 < 10 * self.share, (batch.y + 1) % 10, batch.y)
        return Loss(torch.nn.functional.cross_entropy(batch.model(batch.x), y))


def test_names_are_those_of_the_classes():
    named = named_strategies()
    assert set(named) == {
        "standard", "single", "pgdls", "trades", "avg", "max", "msd", "ampgd", "mma", "omma",
        "random-norm", "eat", "ramp", "ddn",
    }  # fmt: skip
    assert named["random-norm"] is train.RandomNorm
    assert named["ddn"] is train.DDNTraining  # it says what it is called


def test_a_new_strategy_is_one_export(monkeypatch, tmp_path):
    monkeypatch.setattr(train, "LabelNoise", LabelNoise, raising=False)
    monkeypatch.setattr(train, "__all__", [*train.__all__, "LabelNoise"])
    assert named_strategies()["label-noise"] is LabelNoise
    words = ["--model", "hauberk.demo:digits_net", "--data", "digits:train", "--limit", "40"]
    words += ["--strategy", "label-noise", "--set", "share=0.2", "--epochs", "1"]
    assert main(["train", *words, "--out", str(tmp_path / "run")]) == 0
    config = (tmp_path / "run" / "config.json").read_text()
    assert '"LabelNoise"' in config


def test_a_solver_is_read_from_words():
    words = "solver={solver: ddn, steps: 5, eps: 1/4}"
    strategy = strategy_of("mma", ["l2:1"], [words])
    assert strategy == train.MMA(hb.L2(1), solver=DDN(steps=5, eps=0.25))
    assert strategy.describe()["solver"]["steps"] == 5
    for wrong in ("solver=ddn", "solver={steps: 5}", "solver={solver: dnn}"):
        with pytest.raises(hb.InputError, match="solver"):
            strategy_of("mma", ["l2:1"], [wrong])
