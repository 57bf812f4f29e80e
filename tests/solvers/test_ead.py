"""The elastic-net attack step by step, against Algorithm 1 of Chen et al. 2018 in numpy."""

from math import inf

import numpy as np
import pytest
from helpers.steps import Walk

from hauberk.solvers.ead import EAD


def shrunk(z, x0, beta, box):
    """S_beta of equation 5: towards the clean input by beta, within the box."""
    delta = z - x0
    kept = np.sign(delta) * np.maximum(np.abs(delta) - beta, 0)
    return (x0 + kept).clip(*box)


@pytest.mark.parametrize("box", [(0.0, 1.0), (-1.0, 3.0)], ids=str)
def test_shrinkage_and_momentum_for_a_constant_found_by_bisection(box):
    steps, searches, beta, rate = 15, 5, 0.02, 0.05
    solver = EAD(steps=steps, searches=searches, constant=1.0, beta=beta, rate=rate)
    walk = Walk(solver, 1, box=box, classes=3)
    width, seen, still = box[1] - box[0], set(), 0
    for i, x0 in enumerate(walk.x0):
        c, low, high = 1.0, 0.0, inf
        for turn in range(searches):
            y, x, won = x0, x0, False
            for k in range(steps):
                np.testing.assert_allclose(walk.asked[turn * steps + k, i], y, atol=1e-9)
                loss, grad, fooled = walk.look(y, i)
                won |= fooled
                # In units of the width: slopes are larger by it, and steps shorter.
                slope = 2 * (y - x0) - c * grad * width**2 * (loss < 0)
                a = rate * np.sqrt(1 - k / steps)
                new = shrunk(y - a * slope, x0, beta * width, box)
                still += int((new == x0).sum())
                y, x = (new + k / (k + 3) * (new - x)).clip(*box), new
            high, low = (min(high, c), low) if won else (high, max(low, c))
            c = (low + high) / 2 if high < inf else c * 10
            seen.add(won)
    assert seen == {False, True}
    assert still > 0


def test_the_published_settings_are_the_defaults():
    solver = EAD()
    assert (solver.beta, solver.rate, solver.searches, solver.constant) == (1e-3, 1e-2, 9, 1e-3)
    assert solver.steps == 1000
