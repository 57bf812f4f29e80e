"""The numbers of a result against its points."""

import numpy as np
import pytest
import torch
from helpers.accuracy import SHORT, UNION

import hauberk as hb


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
