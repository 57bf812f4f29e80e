"""DDN step by step, against Algorithm 1 of Rony et al. 2019 in numpy."""

import numpy as np
import pytest
from helpers.steps import Walk, cosine, size

from hauberk.solvers.ddn import DDN


@pytest.mark.parametrize("box", [(-50.0, 50.0), (0.0, 1.0)], ids=str)
@pytest.mark.parametrize("settings", [{}, {"eps": 0.3, "gamma": 0.2, "alpha": 0.5}], ids=str)
def test_direction_and_norm_are_apart(box, settings):
    eps, gamma = settings.get("eps", 1.0), settings.get("gamma", 0.05)
    alpha = settings.get("alpha", 1.0)
    walk = Walk(DDN(steps=12, **settings), 2, box=box, classes=3)
    turns, clipped = 0, 0
    for i, x0 in enumerate(walk.x0):
        u, length = x0, eps
        for k, asked in enumerate(walk.asked[:, i]):
            np.testing.assert_allclose(asked, u, rtol=1e-6, atol=1e-6)
            u = asked  # roundings do not add up
            _, grad, fooled = walk.look(u, i, "ce")
            turns += fooled
            length *= 1 - gamma if fooled else 1 + gamma
            step = cosine(k, 12, alpha, alpha / 100)
            delta = u + step * grad / size(grad, 2) - x0
            u = x0 + length * delta / size(delta, 2)
            clipped += bool((u != u.clip(*box)).any())
            u = u.clip(*box)
    assert 0 < turns < 12 * len(walk.x0)
    assert (clipped > 0) == (box == (0.0, 1.0))
