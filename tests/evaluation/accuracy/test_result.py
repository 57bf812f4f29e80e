"""The numbers of a result against its points."""

import numpy as np
import pytest
import torch
from helpers.accuracy import SHORT, UNION

import hauberk as hb
from hauberk.attacks.base import Attack
from hauberk.engine.state import State


class Up(Attack):
    """Looks at the largest input that the threat allows."""

    steps = 1

    def init(self, problem):
        return State(u=problem.region.project_(problem.region.start() + 0.12))

    def step(self, problem, state, response):
        return state


def test_numbers_agree_with_the_points(case):
    model, x, y = case
    result = hb.evaluate(model, x, y, UNION, suite=SHORT)
    stands = torch.ones(len(x), dtype=torch.bool)
    for part in UNION.parts:
        ids, points = result.points(str(part))
        assert part.contains(x[ids], points).all()
        assert (model(points).argmax(1) != y[ids]).all()
        mine = model(x).argmax(1) == y
        mine[ids] = False
        assert result.accuracy[str(part)] == pytest.approx(mine.float().mean())
        assert torch.equal(result.robust(str(part)), mine)
        stands &= mine
    assert result.union_accuracy == pytest.approx(stands.float().mean())
    assert torch.equal(result.robust(), stands)
    assert result.average_accuracy == pytest.approx(np.mean(list(result.accuracy.values())))


def test_what_some_of_the_attacks_leave(case):
    model, x, y = case
    result = hb.evaluate(model, x, y, UNION, suite=SHORT)
    rows = result.store.rows("attack-")
    right = model(x).argmax(1) == y
    names = list(dict.fromkeys(rows["task"].tolist()))
    left = right.clone()
    for name in names:
        expected = right.clone()
        expected[rows["id"][rows["broken"] & (rows["task"] == name)]] = False
        assert torch.equal(result.robust(attacks=[name]), expected)
        left &= expected
    assert torch.equal(result.robust(attacks=names), left)
    assert torch.equal(left, result.robust())
    assert torch.equal(result.robust(attacks=()), right)
    one = str(UNION.parts[0])
    assert torch.equal(result.robust(one, names), result.robust(one))
    with pytest.raises(hb.InputError, match="no attack magic"):
        result.robust(attacks=["magic"])


def test_a_point_of_each_example_and_only_of_threats_of_the_run(case):
    """With all attacks several break one example: the first one's point is given."""
    model, x, y = case
    result = hb.evaluate(model, x, y, UNION, suite=SHORT, all_attacks=True)
    rows = result.store.rows("attack-")
    for part in UNION.parts:
        mine = (rows["threat"] == str(part)) & rows["broken"]
        assert len(set(rows["task"][mine])) > 1
        ids, points = result.points(str(part))
        assert sorted(ids.tolist()) == sorted(set(rows["id"][mine].tolist()))
        assert len(points) == len(ids)
        assert (model(points).argmax(1) != y[ids]).all()
        key = next(k for k in result.store.keys("attack-") if
                   set(result.store.part(k)["threat"]) == {str(part)})  # fmt: skip
        first = result.store.part(key)
        assert ids.tolist()[: int(first["broken"].sum())] == first["id"][first["broken"]].tolist()
    with pytest.raises(hb.InputError, match="no threat linf:9: it has"):
        result.points("linf:9")


def nowhere(where):
    """A linear model whose output is not a number where the mean of the input exceeds 0.6."""

    class Nowhere(torch.nn.Module):
        def forward(self, x):
            mean = x.flatten(1).mean(1)
            first = torch.where(mean > 0.6, where, 1 - 0.1 * mean)
            return torch.stack([first, torch.zeros_like(mean), mean - 0.7], 1)

    return Nowhere()


@pytest.mark.parametrize("value", [float("nan"), float("-inf")])
def test_outputs_that_are_no_numbers_near_a_clean_input_break_it_and_are_said(value):
    x = torch.tensor([[0.5], [0.52], [0.54], [0.1], [0.2]]).repeat(1, 4)
    y = torch.zeros(5, dtype=torch.int64)
    threats = [hb.Linf(0.12), hb.L2(0.24)]  # the same reach along the mean
    suite = {"up": Up(), "again": Up()}
    for every in (False, True):
        run = hb.evaluate(nowhere(value), x, y, threats, suite=suite, all_attacks=every)
        assert run.robust().tolist() == [False, False, False, True, True]
        told = [w for w in run.warnings if "not a number" in w]
        # An infinite logit is a number: the model decides by it.
        assert [w.split(" because")[0] for w in told] == ["3 examples count as broken"] * (
            value != value
        )
    assert not hb.evaluate(nowhere(value), x[3:], y[3:], threats, suite=suite).warnings
