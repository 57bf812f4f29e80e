"""Stages that carry points on, with methods that have no restarts of their own."""

from dataclasses import dataclass

import pytest
import torch
from helpers.models import Linear
from helpers.suites import LAZY, Jump

import hauberk as hb
from hauberk.attacks import PGD
from hauberk.attacks.unbounded import Unbounded
from hauberk.evaluation.accuracy.suites import Stage
from hauberk.solvers import DDN, EpsSearch, Portfolio
from hauberk.solvers.as_attack import AsAttack


class Corner(torch.nn.Module):
    """Class 1 from 0.85 on in the first feature, or from 0.6 on in the second."""

    def forward(self, x):
        z = torch.minimum(0.85 - x[:, 0], 0.6 - x[:, 1])
        return torch.stack([z, torch.zeros_like(z)], 1)


def carried(attack):
    """linf's point lies far out of the l2 ball, l1's in it."""
    suite = {"far": Stage(attack=Jump(way=(0.4, 0.0)), threats=("linf",)),
             "near": Stage(attack=Jump(way=(0.0, 0.2)), threats=("l1",)),
             "lazy": Stage(attack=LAZY, threats=("l2",)),
             "carried": Stage(attack=attack, carry=True, threats=("l2",))}  # fmt: skip
    x = torch.full((2, 2), 0.5)
    union = [hb.Linf(0.4), hb.L1(0.2), hb.L2(0.25)]
    run = hb.evaluate(Corner(), x, torch.zeros(2, dtype=torch.long), union, suite=suite)
    found = run.store.rows("attack-")
    mine = (found["task"] == "carried") & (found["threat"] == "l2:0.25")
    assert mine.sum() == 2
    return found["broken"][mine]


def test_a_radius_solver_begins_at_every_point_that_is_carried():
    assert carried(AsAttack(solver=DDN(steps=1))).all()
    assert not carried(OnlyFirst(solver=DDN(steps=1))).any()


@dataclass(frozen=True, kw_only=True)
class OnlyFirst(AsAttack):
    """For comparison: with a restart at the first point alone."""

    def beginning_at(self, many):
        return self


@pytest.mark.parametrize(
    "attack", [AsAttack(solver=Portfolio(budget=100)), AsAttack(solver=EpsSearch()), Unbounded()]
)
def test_methods_without_restarts_may_follow_too(attack):
    assert attack.beginning_at(3) == attack
    carried(attack)


def test_restarts_are_enough_for_every_start():
    assert PGD(restarts=2).beginning_at(3) == PGD(restarts=3)
    assert PGD(restarts=4).beginning_at(3) == PGD(restarts=4)
    assert AsAttack(solver=DDN()).beginning_at(3) == AsAttack(solver=DDN(restarts=3))


def test_a_suite_file_may_carry_points_to_a_radius_solver(tmp_path):
    file = tmp_path / "mine.yaml"
    file.write_text(
        "name: mine\nversion: 1\nattacks:\n  apgd: {attack: APGD, steps: 5, threats: [linf]}\n"
        "  lazy: {attack: PGD, steps: 1, step_size: 1.0e-12, random_start: false, threats: [l2]}\n"
        "  nearer: {solver: ddn, steps: 20, carry: true, threats: [l2]}\n"
    )
    model = Linear(8, 3)
    x = torch.rand(12, 8, generator=torch.Generator().manual_seed(0))
    y = model(x).argmax(1)
    run = hb.evaluate(model, x, y, [hb.Linf(0.1), hb.L2(0.3)], suite=str(file))
    assert run.summary["finished"]
    attacks = run.summary["threats"]["l2:0.3"]["attacks"]
    assert attacks["nearer"]["attacked"] > 0
