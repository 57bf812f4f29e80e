"""FMN step by step, against Algorithm 1 of Pintor et al. 2021 in numpy."""

from math import inf

import numpy as np
import pytest
from helpers.steps import Walk, cosine, size

from hauberk.solvers.fmn import FMN

DUAL = {1: inf, 2: 2, inf: 1}


def within(delta, eps, p):
    """The nearest point of the ball; in l1 by bisecting the threshold."""
    if size(delta, p) <= eps:
        return delta
    if p == 2:
        return delta * eps / size(delta, 2)
    if p == inf:
        return delta.clip(-eps, eps)
    low, high = 0.0, np.abs(delta).max()
    for _ in range(100):
        middle = (low + high) / 2
        kept = np.maximum(np.abs(delta) - middle, 0).sum()
        low, high = (middle, high) if kept > eps else (low, middle)
    return np.sign(delta) * np.maximum(np.abs(delta) - high, 0)


@pytest.mark.parametrize("p", [1, 2, inf])
@pytest.mark.parametrize(
    "settings",
    [{}, {"alpha": 0.5, "gamma": 0.3, "gamma_last": 0.1}, {"alpha": 0.5, "steepest": True}],
    ids=str,
)
def test_the_ball_shrinks_where_it_is_fooled_and_grows_elsewhere(p, settings):
    steps = 24
    walk = Walk(FMN(steps=steps, **settings), p, classes=3)
    first, last = settings.get("gamma", 0.05), settings.get("gamma_last", 0.001)
    reached = regained = 0
    for i, x0 in enumerate(walk.x0):
        u, eps, nearest = x0, inf, inf
        for k, asked in enumerate(walk.asked[:, i]):
            np.testing.assert_allclose(asked, u, atol=1e-8)
            u = asked  # roundings do not add up
            loss, grad, fooled = walk.look(u, i)
            gamma = cosine(k, steps, first, last)
            far = size(u - x0, p)
            if fooled:
                nearest = min(nearest, far)
                eps = min(eps, nearest) * (1 - gamma)
            elif nearest < inf:
                eps, regained = eps * (1 + gamma), regained + 1
            else:  # to the linearised boundary, and a little beyond
                eps, reached = (far - loss / size(grad, DUAL[p])) * (1 + gamma), reached + 1
            step = cosine(k, steps, settings.get("alpha", 1.0), 0.01)
            way = grad / size(grad, 2)
            if "steepest" in settings:  # in units of the nearest distance
                way = np.sign(grad) if p == inf else way
                if p == 1:
                    way = np.sign(grad) * (np.abs(grad) == np.abs(grad).max())
                way = way * (nearest if nearest < inf else eps)
            u = x0 + within(u + step * way - x0, eps, p)
    assert min(reached, regained) > 3


def test_in_l0_the_ball_changes_by_whole_features():
    """Where it is fooled one feature fewer at least, and fewer than the nearest point has."""
    steps = 30
    walk = Walk(FMN(steps=steps, gamma=0.3), 0, classes=3, n=6)
    below = 0
    for i, x0 in enumerate(walk.x0):
        u, eps, nearest = x0, 1, inf
        for k, asked in enumerate(walk.asked[:, i]):
            np.testing.assert_allclose(asked, u, atol=1e-8)
            u = asked
            _, grad, fooled = walk.look(u, i)
            gamma = cosine(k, steps, 0.3, 0.001)
            if fooled:
                nearest = min(nearest, np.count_nonzero(u != x0))
                smaller = min(eps - 1, np.floor(eps * (1 - gamma)))
                below += nearest - 1 < smaller
                eps = max(min(smaller, nearest - 1), 0)
            else:
                eps = max(eps + 1, np.floor(eps * (1 + gamma)))
            delta = u + cosine(k, steps, 1.0, 0.01) * grad / size(grad, 2) - x0
            kept = np.argsort(-np.abs(delta), kind="stable")[: int(eps)]
            u = x0.copy()
            u[kept] += delta[kept]
    assert below > 0
