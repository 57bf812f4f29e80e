"""Swap search: its exchanges in numpy, against all points with changes to the ends of the box."""

from itertools import product
from math import inf

import numpy as np
import pytest
import torch
from helpers.models import Constant, Linear, network
from helpers.oracles import queries
from helpers.solving import inputs, labels, linear
from helpers.steps import Walk, cosine

from hauberk import InputError
from hauberk.solvers.swap_search import FAR, SwapSearch
from hauberk.threats import Metric

BOX = (-0.5, 1.5)


@pytest.mark.parametrize("settings", [{}, {"share": 0.9, "tabu": 2}, {"share": 0.0, "tabu": 0}])
def test_the_worst_features_are_exchanged_for_the_best_of_those_that_may_be(settings):
    steps = 25
    walk = Walk(SwapSearch(steps=steps, **settings), 0, box=BOX, classes=3, n=6)
    first, tabu = settings.get("share", 0.5), settings.get("tabu", 15)
    seen = set()
    for i, x0 in enumerate(walk.x0):
        u, nearest, free = x0, inf, np.zeros(8)  # free: from which step on a feature may change
        for k, asked in enumerate(walk.asked[:, i]):
            np.testing.assert_allclose(asked, u, atol=1e-12)
            _, grad, fooled = walk.look(u, i)
            changed = np.flatnonzero(u != x0)
            if fooled:
                nearest = min(nearest, len(changed))
            gains = np.stack((grad * (BOX[0] - x0), grad * (BOX[1] - x0)))
            worth, end = gains.max(0), np.array(BOX)[gains.argmax(0)]
            size = int(nearest - 1 if nearest < inf else 1.2 * len(changed) + 1)
            size = 1 if size > 8 else max(size, 1)
            swaps = max(1, int(size * cosine(k, steps, first, 0.0)))
            by_worth = sorted(range(8), key=lambda j: -worth[j])
            stay = [j for j in by_worth if j in changed][: max(0, size - swaps)]
            others = [j for j in by_worth if j not in stay and (j in changed or free[j] <= k)]
            barred = [j for j in by_worth if j not in stay and j not in others]
            chosen = (stay + others + barred)[:size]
            free[[j for j in changed if j not in chosen]] = k + 1 + tabu
            seen |= {("barred", bool(barred)), ("fooled", fooled), ("more", nearest == inf)}
            u = x0.copy()
            u[chosen] = end[chosen]
    assert {("fooled", True), ("fooled", False), ("more", True)} <= seen
    assert (("barred", True) in seen) == (tabu > 0)


def test_fewest_changes_to_the_ends_of_the_box_by_trying_all():
    model = network(8, 16, 3, dtype=torch.float64)
    x = inputs(20, (8,), box=(0.1, 0.9))
    y = labels(model, x)
    ways = torch.tensor(list(product((0, 1, 2), repeat=8)))
    least = []
    for row, label in zip(x, y, strict=True):
        points = torch.stack((row, torch.zeros(8), torch.ones(8))).gather(0, ways)
        wrong = model(points).argmax(1) != label
        least.append(int((ways[wrong] > 0).sum(1).min()))
    assert set(least) == {1, 2, 3}
    found = SwapSearch(steps=60, targets=2)(model, x, y, "l0")
    assert found.fooled.all()
    assert found.distance.tolist() == least


def test_a_warm_start_is_thinned_out():
    model, x = linear(classes=2), inputs(6)
    y = labels(model, x)
    far = x + torch.sign(model.slope(y))
    far = far.clamp(-1, 2)
    found = SwapSearch(steps=40)(model, x, y, "l0", box=(-1, 2), warm=far[:, None])
    torch.testing.assert_close(found.distance, model.radius(x, y, 0, (-1, 2)))


def test_more_features_until_it_is_fooled_and_one_again_after_all_of_them():
    x, y = inputs(1, (6,), torch.float32, (0.1, 0.9)), torch.zeros(1, dtype=torch.int64)
    asked = queries(SwapSearch(steps=12), Metric(0), Constant(1.0, 0.0), x, y)
    assert [int((u != x).sum()) for u in asked] == [0, 1, 2, 3, 4, 5, 1, 2, 3, 4, 5, 1, 2]


def test_an_infinite_side_counts_as_ten_widths_away():
    model = Linear(4, 2, seed=1, dtype=torch.float64)
    x = inputs(3, (4,))
    y = labels(model, x)
    found = SwapSearch(steps=10)(model, x, y, "l0", box=(-inf, inf))
    assert found.fooled.all()
    assert torch.equal((found.points - x).abs().amax(1), torch.full((3,), FAR).double())


@pytest.mark.parametrize("wrong", [{"share": 1.1}, {"share": -0.1}, {"tabu": -1}], ids=str)
def test_settings_out_of_range_are_refused(wrong):
    with pytest.raises(InputError, match="share must lie in"):
        SwapSearch(**wrong)
