"""Clocks, the best point so far, and answers that hold only what was asked for."""

import numpy as np
import pytest
import torch

from hauberk.engine.state import Answer, BestSoFar, Clock, Response, keep_, pick


def test_a_clock_knows_its_ends():
    clock = Clock(np.array([3, 5, 4]))
    assert (clock.least, clock.most) == (3, 5)
    clock.tick()
    assert clock.count.tolist() == [4, 6, 5]
    assert (clock.least, clock.most) == (4, 6)
    assert clock.on(torch.zeros(()), later=1).tolist() == [5, 7, 6]
    assert (Clock.zero(0).least, Clock.zero(0).most) == (0, 0)


def test_a_table_of_zeros_only_is_none():
    table = np.array([0, 0, 7, 0])
    assert Clock(np.array([1, 1])).look_up(table) is None
    assert Clock(np.array([0, 3])).look_up(table) is None
    assert Clock(np.array([1, 2])).look_up(table).tolist() == [0, 7]


def test_the_best_point_is_replaced_by_larger_values_only():
    best = BestSoFar.none(torch.zeros(3, 2))
    ones = torch.ones(3, 2)
    none = torch.zeros(3, dtype=torch.bool)
    assert best.update_(ones, torch.tensor([1.0, 2.0, 3.0]), none, False).tolist() == [1, 1, 1]
    fooled = torch.tensor([True, False, True])
    better = best.update_(2 * ones, torch.tensor([2.0, 2.0, 1.0]), fooled)
    assert better.tolist() == [1, 0, 0]
    assert best.u[:, 0].tolist() == [2, 1, 1]
    assert best.loss.tolist() == [2, 2, 3]
    assert best.fooled.tolist() == [True, False, False]


def test_a_value_of_nan_beats_every_number_where_the_model_is_fooled():
    best = BestSoFar.none(torch.zeros(1, 2))
    best.update_(torch.ones(1, 2), torch.tensor([torch.nan]), torch.tensor([True]))
    assert best.loss.item() == torch.inf
    better = best.update_(2 * torch.ones(1, 2), torch.tensor([9.0]), torch.tensor([True]))
    assert not better.any()


def test_rows_are_kept_to_the_bit():
    kept, new = torch.tensor([[1e-30], [1e30]]), torch.tensor([[1e30], [1e-30]])
    assert torch.equal(keep_(kept.clone(), new, torch.tensor([1.0, 0.0])), new[:1].expand(2, 1))
    candidates = torch.arange(12).view(2, 3, 2)
    assert pick(candidates, torch.tensor([2, 0])).tolist() == [[4, 5], [6, 7]]


@pytest.mark.parametrize(
    ("what", "says"),
    [("grad", "no gradient"), ("improved", "candidates"), ("distance", "measured")],
)
def test_what_was_not_asked_for_is_an_error(what, says):
    u = torch.zeros(1, 2)
    answer = Answer(loss=torch.zeros(1), fooled=torch.zeros(1, dtype=torch.bool))
    response = Response(
        loss=answer.loss, fooled=answer.fooled, clock=Clock.zero(1), best=BestSoFar.none(u)
    )
    with pytest.raises(RuntimeError, match=says):
        getattr(response, what)
