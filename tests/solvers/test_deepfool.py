"""DeepFool: where it stops."""

import torch
from helpers.solving import inputs, labels, linear

from hauberk.solvers.deepfool import DeepFool


def test_deepfool_stops_once_fooled_and_oversteps_by_its_share():
    model, x = linear(classes=2), inputs(4)
    y = labels(model, x)
    found = DeepFool(targets=1, overshoot=0.02)(model, x, y, "l2", box=(-50, 50))
    torch.testing.assert_close(found.distance, 1.02 * model.radius(x, y, 2, (-50, 50)))
    assert (found.forwards == 1 + 2).all()  # ranking, clean input, the boundary
