"""The attacks of Ding et al. 2020, as printed in section 3.2 and appendix D."""

import pytest

from hauberk.attacks import APGD, PGD
from hauberk.errors import InputError
from hauberk.evaluation.transfers.presets import ding2020, halves, on_votes
from hauberk.objectives.votes import VoteState, VoteSum
from hauberk.threats import L1, L2, Linf, RotationTranslation

PRINTED = [  # data, threat, its step, runs
    ("mnist", Linf(0.3), 0.0075, 50),
    ("cifar10", Linf(8 / 255), 2 / 255, 10),
    ("mnist", L2(1.0), 0.25, 50),
    ("cifar10", L2(1.0), 0.25, 10),
]


@pytest.mark.parametrize(("data", "threat", "step", "runs"), PRINTED)
def test_the_printed_settings(data, threat, step, runs):
    made = ding2020(data, [threat])
    assert len(made.attacks) == runs
    assert [one.loss for one in made.attacks] == ["ce"] * (runs // 2) + ["cw"] * (runs // 2)
    for one in made.attacks:
        assert type(one) is PGD
        assert one.step_share * threat.eps == pytest.approx(step, rel=1e-12)
        assert (one.steps, one.random_start, one.restarts) == (100, True, 1)
        assert (one.momentum, one.rule, one.step_size) == (0.0, "steepest", None)


@pytest.mark.parametrize(("data", "threat", "step", "runs"), PRINTED)
def test_votes_have_as_many_runs_of_each_kind(data, threat, step, runs):
    votes = ding2020(data, [threat]).vote_attacks
    assert len(votes) == 2 * runs
    losses = [one.loss for one in votes]
    assert losses[: runs // 2] == [VoteSum("ce")] * (runs // 2)
    assert losses[runs // 2 : runs] == [VoteSum("cw")] * (runs // 2)
    assert losses[runs:] == [VoteState("cw", sign="printed")] * runs
    for one in votes:
        assert one.step_share * threat.eps == pytest.approx(step, rel=1e-12)
        assert (one.steps, one.random_start) == (100, True)


def test_runs_and_steps_may_be_fewer():
    made = ding2020("mnist", [Linf(0.1), Linf(0.2)], runs=4, steps=7)
    assert [one.loss for one in made.attacks] == ["ce", "ce", "cw", "cw"]
    assert {one.steps for one in (*made.attacks, *made.vote_attacks)} == {7}
    assert len(made.vote_attacks) == 8


@pytest.mark.parametrize(
    ("data", "threats", "says"),
    [
        ("fashion", [Linf(0.1)], "mnist and cifar10, not for fashion"),
        ("mnist", [Linf(0.1), L2(1)], "one norm, linf or l2, not for linf:0.1, l2:1"),
        ("mnist", [Linf(0.1) | L2(1)], "one norm"),
        ("mnist", [L1(10)], "one norm"),
        ("cifar10", [RotationTranslation(30, 3)], "one norm"),
    ],
)
def test_what_the_paper_does_not_have_is_refused(data, threats, says):
    with pytest.raises(InputError, match=says):
        ding2020(data, threats)


def test_halves():
    base = APGD(steps=3)
    assert [one.loss for one in halves(base, 3)] == ["ce", "ce", "cw"]
    assert [one.loss for one in halves(base, 4, ["cw"])] == ["cw"] * 4
    assert all(type(one) is APGD and one.steps == 3 for one in halves(base, 2))
    for runs, losses in ((1, ["ce", "cw"]), (0, ["ce"]), (2, [])):
        with pytest.raises(InputError, match="at least one for each loss"):
            halves(base, runs, losses)


def test_attacks_on_votes():
    made = on_votes(halves(PGD(steps=5, step_share=0.1), 2))
    assert [one.loss for one in made] == [
        VoteSum("ce"), VoteSum("cw"), VoteState("cw"), VoteState("cw"),
    ]  # fmt: skip
    assert {(one.steps, one.step_share) for one in made} == {(5, 0.1)}
    assert made[-1].loss.sign == "unite"
