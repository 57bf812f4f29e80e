"""Attacks and threats again from a manifest."""

from dataclasses import dataclass

import pytest
import torch
from torch import nn

import hauberk as hb
from hauberk.attacks import PGD, Square
from hauberk.attacks.unbounded import Unbounded
from hauberk.evaluation.accuracy.question import Accuracy
from hauberk.evaluation.core.recorded import (
    RecordedAttack,
    RecordedThreat,
    attack_from,
    threat_from,
)
from hauberk.solvers.as_attack import AsAttack
from hauberk.solvers.fab import FAB
from hauberk.store.files import plain
from hauberk.store.ledger import Ledger


def net():
    torch.manual_seed(0)
    return nn.Sequential(nn.Flatten(), nn.Linear(16, 3)).double()


def data(n=8):
    x = torch.rand(n, 1, 4, 4, generator=torch.Generator().manual_seed(1)).double()
    return x, net()(x).argmax(1)


@dataclass(frozen=True, kw_only=True)
class Mine(PGD):
    """An attack that no manifest can rebuild."""


def test_attacks_of_the_users_own_stand_in_as_text(tmp_path):
    x, y = data()
    hb.evaluate(net(), x, y, hb.Linf(0.2), suite={"mine": Mine(steps=3)}, out=tmp_path / "r")
    assert hb.verify(tmp_path / "r", net()).ok
    question = Accuracy.of(Ledger.open(tmp_path / "r").manifest)
    stand_in = question.suite.stages["mine"].attack
    assert isinstance(stand_in, RecordedAttack)
    with pytest.raises(hb.InputError, match="Mine"):
        hb.evaluate(net(), x, y, hb.Linf(0.2), suite=question.suite)
    assert attack_from(PGD(steps=4, loss="margin").describe()) == PGD(steps=4, loss="margin")


@pytest.mark.parametrize(
    "attack",
    [
        PGD(steps=4, share=(0.1, 0.2)), Square(steps=9, share=0.3), Unbounded(),
        AsAttack(solver=FAB(steps=7, targets=2)),
    ],
    ids=lambda a: type(a).__name__,
)  # fmt: skip
def test_attacks_of_the_package_are_rebuilt(attack):
    assert attack_from(plain(attack.describe())) == attack


@pytest.mark.parametrize(
    "told", [{}, {"attack": "Gone"}, {"attack": "PGD", "steps": 0}, {"attack": "PGD", "pace": 3}]
)
def test_others_describe_what_was_recorded(told):
    made = attack_from(told)
    assert isinstance(made, RecordedAttack)
    assert made.describe() == told


def test_threats_come_from_objects_then_text():
    assert threat_from("l2:0.5", {}) == hb.L2(0.5)
    assert threat_from("mine", {"mine": hb.L2(0.1)}) == hb.L2(0.1)
    stand_in = threat_from("mine:1", {})
    assert isinstance(stand_in, RecordedThreat)
    for use in (lambda: stand_in.at(torch.zeros(1, 2)), lambda: stand_in.scaled(2.0)):
        with pytest.raises(hb.InputError, match=r"objects=\{'mine:1'"):
            use()
