"""DeepFool: its steps, and where it stops."""

from math import inf

import numpy as np
import pytest
import torch
from helpers.solving import inputs, labels, linear
from helpers.steps import Walk

from hauberk.solvers.deepfool import DeepFool


def test_deepfool_stops_once_fooled_and_oversteps_by_its_share():
    model, x = linear(classes=2), inputs(4)
    y = labels(model, x)
    found = DeepFool(targets=1, overshoot=0.02)(model, x, y, "l2", box=(-50, 50))
    torch.testing.assert_close(found.distance, 1.02 * model.radius(x, y, 2, (-50, 50)))
    assert (found.forwards == 1 + 2).all()  # ranking, clean input, the boundary


@pytest.mark.parametrize("p", [2, inf])
def test_deepfool_adds_up_its_steps_before_the_overshoot(p):
    """Algorithm 2 on a curved model: r <- r + step to the linearised boundary, x + (1 + eta) r."""
    walk = Walk(DeepFool(targets=0, steps=6, overshoot=0.02), p, n=1)
    x0, r, u = walk.x0[0], 0.0, walk.x0[0]
    assert len(walk.asked) > 2
    for asked in walk.asked[:, 0]:
        np.testing.assert_allclose(asked, u, atol=1e-9)
        loss, grad, _ = walk.look(u, 0)
        way = grad / (grad @ grad) if p == 2 else np.sign(grad) / np.abs(grad).sum()
        r = r - loss * way
        u = x0 + 1.02 * r


def test_the_published_settings_are_the_defaults():
    assert (DeepFool().overshoot, DeepFool().steps) == (0.02, 50)
