"""Several models as one: means and majority votes."""

from itertools import product

import pytest
import torch
from helpers.data import inputs
from helpers.models import Constant, Linear, Wrapped
from torch import nn

from hauberk import InputError, evaluate
from hauberk.attacks import APGD, PGD
from hauberk.maths.losses import wrong
from hauberk.objectives.votes import VoteState, VoteSum
from hauberk.store.files import plain
from hauberk.threats import L2, Linf
from hauberk.victims.ensembles import (
    Ensemble,
    MeanLogits,
    MeanProbabilities,
    Vote,
    ballots,
    tally,
)
from hauberk.victims.victim import Victim

INF, NAN = float("inf"), float("nan")


def linear(seed=0, classes=3, dtype=torch.float64):
    return Linear(6, classes, seed=seed, dtype=dtype)


def data(n=8, dtype=torch.float64):
    return inputs(n, (6,), dtype=dtype)


def vote(*rows):
    """Decision of constant members for each label: true where it is wrong."""
    victim = Vote([Constant(*row) for row in rows])
    classes = len(rows[0])
    logits = victim.predict(torch.zeros(classes, 2))
    return victim.wrong(logits, torch.arange(classes)).tolist()


def test_equal_members_are_the_one_model():
    one, x = linear(), data()
    for size in (1, 2, 3, 7):
        assert torch.equal(MeanLogits([one] * size)(x), one(x))
        assert torch.equal(MeanProbabilities([one] * size)(x), one(x).log_softmax(1))
        attack = APGD(steps=6, loss="margin")
        y = one(x).argmax(1)
        mine = attack(MeanLogits([one] * size), x, y, L2(0.3), stop=False)
        alone = attack(one, x, y, L2(0.3), stop=False)
        torch.testing.assert_close(mine.points, alone.points)
        victim = Vote([one] * size)
        for label in range(3):
            y = torch.full((8,), label)
            assert torch.equal(victim.wrong(victim.predict(x), y), wrong(one(x), y))


def test_means():
    models, x = [linear(seed) for seed in range(3)], data()
    stack = torch.stack([m(x) for m in models])
    torch.testing.assert_close(MeanLogits(models)(x), stack.mean(0))
    torch.testing.assert_close(MeanProbabilities(models)(x), stack.softmax(2).mean(0).log())
    assert torch.equal(MeanLogits(models).members(x), stack.transpose(0, 1))


@pytest.mark.parametrize("kind", [MeanLogits, MeanProbabilities])
def test_means_of_infinite_and_nan_logits(kind):
    y, x = torch.tensor([0]), torch.zeros(1, 2)

    def decide(*rows):
        return Victim(kind([Constant(*row) for row in rows])).predict(x)

    assert not wrong(decide([INF, 0.0], [INF, 1.0]), y)
    assert not wrong(decide([0.0, -INF], [0.0, -INF]), y)
    assert wrong(decide([INF, INF], [0.0, 0.0]), y)
    assert wrong(decide([NAN, 0.0], [9.0, 0.0]), y)


def test_the_majority_decides_whatever_its_confidence():
    assert vote([1.0, 0.0, 0.0], [1.0, 0.0, 0.0], [0.0, 99.0, 0.0]) == [False, True, True]
    assert vote([1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 99.0, 0.0]) == [True, False, True]
    # One vote each: the mean softmax decides; if that ties too, everybody is wrong.
    assert vote([2.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]) == [False, True, True]
    assert vote([1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]) == [True, True, True]
    assert vote([1.0, 0.0], [0.0, 1.0]) == [True, True]
    # A plurality is enough.
    assert vote([1.0, 0, 0, 0], [1.0, 0, 0, 0], [0, 9.0, 0, 0], [0, 0, 9.0, 0]) == [
        False, True, True, True,
    ]  # fmt: skip


def test_members_that_cannot_decide_vote_against():
    right = [5.0, 0.0, 0.0]
    for torn in ([1.0, 1.0, 0.0], [NAN, 0.0, 0.0], [0.0, 0.0, NAN], [INF, INF, 0.0]):
        assert vote(torn) == [True] * 3
        assert vote(torn, right) == [True] * 3
        assert vote(torn, right, right) == [False, True, True]
        assert vote(torn, torn, right, right, [0.0, 1.0, 0.0]) == [True] * 3
    assert vote([INF, 0.0, 0.0], [-INF, 1.0, 0.0], [1.0, -INF, -INF]) == [False, True, True]
    # A tie without a NaN leaves numbers, so that a clean input of that kind is no error.
    assert not tally(torch.ones(1, 1, 3)).isnan().any()
    assert tally(torch.full((1, 2, 3), NAN)).isnan().all()


def test_every_way_three_members_can_vote():
    """Against a count by hand."""
    rows = torch.eye(3).double()
    for choice in product(range(3), repeat=3):
        counts = [choice.count(c) for c in range(3)]
        most = max(counts)
        told = tally(rows[list(choice)].unsqueeze(0))
        for label in range(3):
            expected = counts[label] < most or counts.count(most) > 1
            assert bool(wrong(told, torch.tensor([label]))) == expected
        assert told.argmax(1) == torch.tensor(counts).argmax()


def test_the_votes_and_the_mean_softmax_can_be_read_off():
    models, x = [linear(seed) for seed in range(5)], data(30)
    victim = Vote(models)
    told = victim.predict(x)
    stack = torch.stack([m(x) for m in models], 1)
    votes, undecided = ballots(stack)
    assert not undecided.any()
    assert torch.equal(told.floor(), votes.sum(1).double())
    torch.testing.assert_close((told - told.floor()) * 2, stack.softmax(2).mean(1))
    assert (victim.forwards, victim.backwards) == (30, 0)
    assert torch.equal(victim.members(x), stack)


def test_members_of_other_dtypes_and_manners():
    x = data(dtype=torch.float32)
    models = [
        linear(0),
        linear(1, dtype=torch.float32),
        Wrapped(linear(2, dtype=torch.float32), lambda x: x.mul_(2)),
    ]
    before = x.clone()
    told = Ensemble(models).members(x)
    assert torch.equal(x, before)
    torch.testing.assert_close(told[:, 2], linear(2, dtype=torch.float32)(2 * x).double())
    assert told.dtype == torch.float64
    assert MeanLogits([linear(0, dtype=torch.bfloat16)])(x).dtype == torch.float32
    mode = nn.Dropout().train()
    with Vote([mode, nn.Identity()]).held():
        assert not mode.training
    assert mode.training


def test_errors():
    x = data()
    for make, says in (
        (lambda: MeanLogits([]), "needs at least one"),
        (lambda: Vote([3]), "needs at least one torch.nn.Module"),
        (lambda: MeanLogits([linear(), linear(classes=4)])(x), "3 and 4 classes"),
        (lambda: MeanLogits([nn.Flatten(0)])(x), "must return logits"),
        (lambda: PGD()(Vote([linear()] * 4), x, torch.full((8,), 3), Linf(0.1)), "labels reach 3"),
        (lambda: PGD(loss=VoteSum())(linear(), x, torch.zeros(8).long(), Linf(0.1)), "give hau"),
        (lambda: PGD(loss=VoteState(), targets=2), "VoteState chooses its own target"),
        (lambda: VoteState(sign="both"), "unknown sign 'both'"),
        (lambda: VoteSum("hinge"), "unknown loss 'hinge'"),
    ):
        with pytest.raises(InputError, match=says):
            make()


def test_evaluate_takes_a_vote():
    models, x = [linear(seed) for seed in range(3)], data(20)
    victim = Vote(models)
    y = victim.predict(x).argmax(1)
    attacks = {"sum": PGD(loss=VoteSum(), steps=5), "state": APGD(loss=VoteState(), steps=5)}
    summary = evaluate(victim, x, y, Linf(0.2), suite=attacks).summary
    assert summary["clean_accuracy"] == 1.0
    assert summary["union_accuracy"] < 1.0
    told = plain(attacks["state"].describe())
    assert told["loss"].startswith("VoteState(loss='cw'")
    assert plain(evaluate(victim, x, y, Linf(0.2), suite="fast").summary)["n"] == 20
