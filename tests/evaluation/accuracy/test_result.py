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
