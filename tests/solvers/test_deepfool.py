"""DeepFool: where it stops."""

import torch
from helpers import data
from helpers.models import Linear

from hauberk.solvers.deepfool import DeepFool

BOX = (-1.0, 2.0)


def linear(features=12, classes=3, dtype=torch.float64):
    return Linear(features, classes, seed=1, dtype=dtype, drawn=torch.float64)


def inputs(n=5, shape=(12,), dtype=torch.float64, box=BOX):
    return data.inputs(n, shape, seed=2, box=box, dtype=dtype)


def labels(model, x):
    return model(x).argmax(1)


def test_deepfool_stops_once_fooled_and_oversteps_by_its_share():
    model, x = linear(classes=2), inputs(4)
    y = labels(model, x)
    found = DeepFool(targets=1, overshoot=0.02)(model, x, y, "l2", box=(-50, 50))
    torch.testing.assert_close(found.distance, 1.02 * model.radius(x, y, 2, (-50, 50)))
    assert (found.forwards == 1 + 2).all()  # ranking, clean input, the boundary
