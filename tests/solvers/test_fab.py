"""FAB step by step, against the formulas of Croce & Hein 2020 in numpy."""

from math import inf

import numpy as np
import pytest
from helpers.steps import Walk, size

from hauberk.solvers.fab import FAB


def onto(u, grad, gap, p):
    """The nearest point to u with grad . (v - u) = gap, by hand for three norms."""
    if p == 2:
        return u + gap * grad / (grad @ grad)
    if p == inf:
        return u + gap * np.sign(grad) / np.abs(grad).sum()
    j = np.abs(grad).argmax()
    v = u.copy()
    v[j] += gap / grad[j]
    return v


@pytest.mark.parametrize("p", [1, 2, inf])
@pytest.mark.parametrize("settings", [{}, {"alpha": 0.4, "eta": 1.3, "beta": 0.7}], ids=str)
def test_each_step_is_a_mean_of_two_projections(p, settings):
    solver = FAB(steps=8, targets=0, **settings)
    alpha = settings.get("alpha", 0.1)  # the published settings are the defaults
    eta, beta = settings.get("eta", 1.05), settings.get("beta", 0.9)
    walk = Walk(solver, p)
    capped = backwards = 0
    for i, x0 in enumerate(walk.x0):
        u = x0
        for asked in walk.asked[:, i]:
            np.testing.assert_allclose(asked, u, rtol=1e-6, atol=1e-6)
            u = asked  # roundings do not add up
            loss, grad, fooled = walk.look(u, i)
            if fooled:  # a step back along the perturbation; the linearisation stays
                back = x0 + beta * (u - x0)
                loss += grad @ (back - u)
                u, backwards = back, backwards + 1
            ours = onto(u, grad, -loss, p)
            theirs = onto(x0, grad, -loss + grad @ (u - x0), p)
            assert grad @ (theirs - u) == pytest.approx(-loss)  # the same hyperplane
            here, there = size(ours - u, p), size(theirs - x0, p)
            weight = min(here / (here + there), alpha)
            capped += weight == alpha
            u = (1 - weight) * (u + eta * (ours - u)) + weight * (x0 + eta * (theirs - x0))
    assert 0 < capped < len(walk.x0) * len(walk.asked)
    assert backwards > 3
