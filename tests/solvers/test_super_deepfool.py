"""SuperDeepFool: its two kinds of step in numpy, where it stops, and what the projections gain."""

from dataclasses import replace
from math import inf

import numpy as np
import pytest
import torch
from helpers.models import Of
from helpers.oracles import queries
from helpers.solving import inputs, labels, linear
from helpers.steps import WIDE, Walk

from hauberk import InputError
from hauberk.maths.norms import norm
from hauberk.solvers.deepfool import DeepFool
from hauberk.solvers.super_deepfool import SuperDeepFool
from hauberk.threats import Metric


@pytest.mark.parametrize("p", [2, inf])
def test_walks_of_deepfool_and_projections_in_turn(p):
    """Algorithm 1 on a curved model, where w is the gradient of the margin.

    Not fooled: r <- r + step to the linearised boundary, ask for begun + (1 + eta) r. Fooled: ask
    for the point nearest to x on the hyperplane through u of the normal w, and begin again there.
    """
    solver = SuperDeepFool(targets=0, steps=12, overshoot=0.3)
    walk = Walk(replace(solver, steps=1), p)
    ends = []
    for i, x0 in enumerate(walk.x0):
        x, y = torch.tensor(x0)[None], walk.labels[i : i + 1]
        begun, r, u, projected = x0, 0.0, x0, False
        for asked in queries(solver, Metric(p), walk.model, x, y, box=WIDE):
            np.testing.assert_allclose(asked[0].numpy(), u, atol=1e-9)
            loss, grad, fooled = walk.look(u, i)
            way = grad / (grad @ grad) if p == 2 else np.sign(grad) / np.abs(grad).sum()
            ends.append((projected, fooled))
            if fooled:
                u = begun = x0 + (grad @ (u - x0)) * way
                r = 0.0
            else:
                r = r - loss * way
                u = begun + 1.3 * r
            projected = fooled
    # Walks that fooled, projections that did not, and those that did.
    assert {(False, True), (True, False), (True, True)} <= set(ends)


def test_it_ends_at_the_first_projection_that_fools():
    model, x = linear(classes=2), inputs(4)
    y = labels(model, x)
    found = SuperDeepFool(targets=1)(model, x, y, "l2", box=WIDE)
    torch.testing.assert_close(found.distance, 1.02 * model.radius(x, y, 2, WIDE))
    # Ranking, clean input, the boundary, its projection: the last gradient is not needed.
    assert (found.forwards == 1 + 3).all()


def test_the_nearest_point_of_a_curve_beside_which_deepfool_ends():
    """The boundary is the parabola x2 = 1 + 0.3 x1^2."""
    curve = Of(
        lambda x: torch.stack((1 + 0.3 * x[:, 0] ** 2 - x[:, 1], 0 * x[:, 0]), 1), torch.float64
    )
    x = torch.tensor([[0.6, -0.5], [1.5, 0.0], [-0.8, -0.3]], dtype=torch.float64)
    y = torch.zeros(3, dtype=torch.int64)
    along = torch.linspace(-3, 3, 600_001, dtype=torch.float64)
    points = torch.stack((along, 1 + 0.3 * along**2), 1)
    true = torch.stack([norm(points - row, 2).min() for row in x])
    plain = DeepFool(targets=0)(curve, x, y, "l2", box=(-5, 5))
    found = SuperDeepFool(targets=0)(curve, x, y, "l2", box=(-5, 5))
    assert (found.distance >= true * (1 - 1e-9)).all()
    assert (found.distance <= true * 1.001).all(), found.distance / true
    assert (plain.distance >= true * 1.02).all()


def test_settings():
    assert (SuperDeepFool().overshoot, SuperDeepFool().targets) == (0.02, 9)
    with pytest.raises(InputError, match="overshoot is -1"):
        SuperDeepFool(overshoot=-1)
