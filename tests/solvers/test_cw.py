"""Carlini and Wagner's l2 attack step by step, against the paper's formulas in numpy."""

from math import inf

import numpy as np
import pytest
from helpers.solving import BOX, inputs, labels, linear
from helpers.steps import Walk

from hauberk.solvers.cw import CW
from hauberk.solvers.ead import EAD


@pytest.mark.parametrize("box", [(0.0, 1.0), (-1.0, 3.0)], ids=str)
@pytest.mark.parametrize(("confidence", "constant"), [(0.0, 0.1), (0.02, 0.1), (0.0, 0.0)])
def test_adam_on_tanh_variables_for_a_constant_found_by_bisection(box, confidence, constant):
    steps, searches = 15, 5
    solver = CW(steps=steps, searches=searches, constant=constant, rate=0.2, confidence=confidence)
    walk = Walk(solver, 2, box=box, classes=3)
    half, mid, width = (box[1] - box[0]) / 2, sum(box) / 2, box[1] - box[0]
    assert len(walk.asked) == steps * searches
    seen = set()
    for i, x0 in enumerate(walk.x0):
        c, low, high = constant, 0.0, inf
        if not constant:  # twice 2 d / |g|, the slopes' ratio at the linearised boundary
            loss, grad, _ = walk.look(x0, i)
            c = 2 * 2 * (abs(loss) / np.linalg.norm(grad) / width) / (np.linalg.norm(grad) * width)
        for turn in range(searches):
            u, w = x0, np.arctanh((x0 - mid) / half)
            m, v, won = 0 * w, 0 * w, False
            for k in range(steps):
                np.testing.assert_allclose(walk.asked[turn * steps + k, i], u, atol=1e-4)
                loss, grad, fooled = walk.look(u, i)
                won |= fooled and loss >= confidence
                # d/dw of |u - x|^2 + c max(confidence - margin, 0), in units of the box's width.
                slope = 2 * (u - x0) / width**2 - c * grad * (loss < confidence)
                slope = slope * half * (1 - np.tanh(w) ** 2)
                m, v = 0.9 * m + 0.1 * slope, 0.999 * v + 0.001 * slope**2
                mean, square = m / (1 - 0.9 ** (k + 1)), v / (1 - 0.999 ** (k + 1))
                w = w - 0.2 * mean / (np.sqrt(square) + 1e-8)
                u = mid + half * np.tanh(w)
            high, low = (min(high, c), low) if won else (high, max(low, c))
            c = (low + high) / 2 if high < inf else c * 10
            seen.add(won)
    assert seen == {False, True}


def test_the_published_settings_are_the_defaults():
    """9 rounds from 1e-3, rates of Adam as in the authors' code."""
    solver = CW()
    assert (solver.searches, solver.constant, solver.confidence) == (9, 1e-3, 0.0)
    assert (solver.steps, solver.rate) == (1000, 1e-2)


@pytest.mark.parametrize(
    ("budget", "rounds", "constant"), [(300, 1, 0), (1000, 2, 0), (3000, 7, 0), (20000, 9, 1e-3)]
)
@pytest.mark.parametrize("kind", [CW, EAD], ids=lambda kind: kind.__name__)
def test_a_small_budget_leaves_out_rounds_and_begins_at_the_linearised_boundary(
    kind, budget, rounds, constant
):
    solver = kind().within(budget, 10)
    assert (solver.searches, solver.constant) == (rounds, pytest.approx(constant))
    assert budget - 2 * rounds <= solver.passes <= budget
    left = solver.describe().get("left")
    if budget > 17_991:
        assert left is None
    else:
        assert f"{rounds} of 9 rounds of {solver.steps} of 1000 steps" in left
        assert "its own settings cost 17991 passes" in left


@pytest.mark.parametrize(("kind", "metric"), [(CW, "l2"), (EAD, "l1")], ids=["cw", "ead"])
def test_a_small_budget_still_finds_points(kind, metric):
    model, x = linear(), inputs(8)
    y = labels(model, x)
    found = kind().within(1000, 3)(model, x, y, metric, box=BOX)
    assert found.fooled.all()
    true = model.radius(x, y, 2 if metric == "l2" else 1, BOX)
    assert (found.distance / true).median() <= 2.5
