"""Losses of a majority vote: the sum over its members, and the one that depends on the votes."""

import pytest
import torch
from helpers.data import inputs
from helpers.models import Constant, Linear, Of
from helpers.oracles import ask

from hauberk.attacks import APGD, PGD
from hauberk.evaluation.core.judge import judge
from hauberk.maths.losses import LOSSES
from hauberk.objectives.base import Objective
from hauberk.objectives.votes import VoteState, VoteSum
from hauberk.threats import L2, Box, Linf
from hauberk.victims.ensembles import (
    Ensemble,
    Vote,
    tally,
)
from hauberk.victims.victim import Victim

INF, NAN = float("inf"), float("nan")


def linear(seed=0, classes=3, dtype=torch.float64):
    return Linear(6, classes, seed=seed, dtype=dtype)


def data(n=8, dtype=torch.float64):
    return inputs(n, (6,), dtype=dtype)


@pytest.mark.parametrize("loss", ["ce", "cw", "margin"])
def test_the_sum_of_the_losses(loss):
    models, x = [linear(seed) for seed in range(3)], data()
    y = torch.arange(8) % 3
    found, gradient = ask(VoteSum(loss), Vote(models), x, y)
    torch.testing.assert_close(found.loss, sum(LOSSES[loss](m(x), y) for m in models).detach())
    each = [ask(Objective(loss), Victim(m), x, y)[1] for m in models]
    torch.testing.assert_close(gradient, sum(each))
    assert torch.equal(found.fooled, Vote(models).wrong(tally(Ensemble(models).members(x)), y))
    if loss != "cw":
        target = (y + 1) % 3
        found, _ = ask(VoteSum(loss, targeted=True), Vote(models), x, y, target)
        alone = [ask(Objective(loss, targeted=True), Victim(m), x, y, target)[0] for m in models]
        torch.testing.assert_close(found.loss, sum(f.loss for f in alone))


def state(sign, *rows):
    models = [Constant(*row) for row in rows]
    x, y = torch.zeros(1, 2, dtype=torch.float64), torch.tensor([0])
    found, _ = ask(VoteState(sign=sign), Vote(models), x, y)
    return float(found.loss)


@pytest.mark.parametrize("sign", ["unite", "printed"])
def test_the_state_dependent_loss(sign):
    right, far = [2.0, 0.0, 0.0, 0.0], [9.0, 1.0, 0.0, 0.0]
    one, two = [0.0, 3.0, 1.0, 0.0], [0.0, 1.0, 4.0, 0.0]
    # Half or fewer are wrong: those still right are summed, whichever the sign.
    assert state(sign, right, far, far) == -2 - 8 - 8
    assert state(sign, right, far, one) == -2 - 8
    assert state(sign, right, one) == -2
    assert state(sign, right, far, one, two) == -2 - 8
    # More than half are wrong: class 1 leads the wrong votes.
    signed = 1.0 if sign == "unite" else -1.0
    assert state(sign, one, one, two) == signed * (2 + 2 - 3)
    assert state(sign, right, one, one) == signed * (-2 + 2 + 2)
    # One wrong vote each: the mean softmax says that class 2 leads.
    assert state(sign, right, one, two) == signed * (-2 - 2 + 3)
    # A member that cannot decide is a wrong one; its NaN is not counted while it is not asked.
    assert state(sign, right, far, far, [NAN, 0.0, 0.0, 0.0]) == -2 - 8 - 8


def test_uniting_the_wrong_votes_gains_the_majority_that_scattering_them_does_not():
    """Two vote for the label, two for class 3, one for class 2: it must move, to class 3."""

    def member(row, slope):
        row, slope = torch.tensor(row).double(), torch.tensor(slope).double()
        return Of(lambda x: row + (x[:, :1] - 0.5) * slope)

    models = [
        member([2.0, 0.0, 0.0, 0.0, 0.0], [0.0, 0.0, 0.0, 0.0, 0.0]),
        member([2.0, 0.0, 0.0, 0.0, 0.0], [0.0, 0.0, 0.0, 0.0, 0.0]),
        member([0.0, 0.0, 0.0, 1.2, 0.0], [0.0, 0.0, 0.0, 0.0, 0.0]),
        member([0.0, 0.0, 0.0, 1.2, 0.0], [0.0, 0.0, 0.0, 0.0, 0.0]),
        member([0.0, 0.0, 1.0, 0.5, 0.0], [0.0, 0.0, -1.0, 1.0, 0.0]),
    ]
    x, y = torch.full((1, 2), 0.5).double(), torch.tensor([0])
    settings = {"steps": 5, "step_size": 0.2, "random_start": False}
    fooled = [
        PGD(loss=VoteState(sign=sign), **settings)(Vote(models), x, y, Linf(0.4)).fooled.item()
        for sign in ("unite", "printed")
    ]
    assert fooled == [True, False]


@pytest.mark.parametrize(
    "objective", [VoteSum("ce"), VoteSum(), VoteState(), VoteState(sign="printed")], ids=str
)
@pytest.mark.parametrize("attack", [PGD, APGD])
def test_attacks_on_a_vote(attack, objective):
    models = [linear(seed) for seed in range(3)]
    for box, threat in (((0.0, 1.0), Linf(0.2)), ((-1.0, 3.0), L2(0.5))):
        x = data() * (box[1] - box[0]) + box[0]
        victim = Vote(models)
        y = victim.predict(x).argmax(1)
        out = attack(loss=objective, steps=8)(victim, x, y, threat, box=box)
        verdict = judge(victim, threat, x, out.points, y, Box(*box))
        assert verdict.allowed.all()
        assert torch.equal(verdict.wrong, out.fooled)
        assert out.fooled.any()
        still = attack(loss=objective, steps=2)(victim, x, y, Linf(0.0), box=box)
        assert not still.fooled.any()
        assert len(attack(loss=objective)(victim, x[:0], y[:0], threat, box=box)) == 0
    two = Vote([linear(seed, classes=2) for seed in range(3)])
    y = two.predict(x).argmax(1)
    assert attack(loss=objective, steps=8)(two, x, y, L2(3.0), box=box).fooled.any()
    flat = Vote([Constant(NAN, 0.0, 0.0), Constant(INF, 0.0, 0.0), Constant(1.0, 0.0, 0.0)])
    out = attack(loss=objective, steps=3)(flat, x, torch.arange(8) % 3, L2(0.5), box=box)
    assert out.points.isfinite().all()
    assert out.fooled.tolist() == [i % 3 != 0 for i in range(8)]
