from math import inf

import pytest
import torch
from helpers.data import inputs
from helpers.models import Linear

from hauberk.analysis.margins import margins

P = {"l2": 2, "linf": inf}


@pytest.mark.parametrize("metric", P)
def test_margins_of_a_linear_model_are_its_radii(metric):
    model = Linear(4, dtype=torch.float64)
    x = inputs(9, (4,), box=(-1.0, 1.0), dtype=torch.float64)
    y = torch.arange(9) % 2
    found = margins(model, x, y, metric, steps=200, box=(-50, 50))
    right = model(x).argmax(1) == y
    assert 0 < int(right.sum()) < 9
    assert (found[~right] == 0).all()
    true = model.radius(x, y, P[metric], (-50, 50))
    torch.testing.assert_close(found[right], true[right], rtol=1e-2, atol=1e-3)
