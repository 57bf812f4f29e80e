"""What ``fit`` takes and refuses."""

import pytest
import torch
from helpers.training import Attacked, Clean, blobs, net

from hauberk.errors import InputError
from hauberk.train.fit import fit


def test_inputs_of_other_kinds():
    x, y = blobs(dtype=torch.float64)
    model = net(3, 8, 2).double()
    found = fit(
        model, (4 * x - 2, y % 2), Attacked(), epochs=1, minibatch=200,
        validation=(x[:5], y[:5] % 2), box=(-2, 2),
    )  # fmt: skip
    assert {p.dtype for p in model.parameters()} == {torch.float64}
    assert set(found.history[0]) >= {"valid_clean", "valid_linf:0.05", "valid_union"}
    fit(net(), (x[:1].float(), y[:1]), Clean(), epochs=2)
    fit(net().double(), (x.float(), y), Attacked(), epochs=1)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"optimiser": "adamax"}, "unknown optimiser"),
        ({"optimiser": lambda p: 3}, "returned a int"),
        ({"schedule": [(0, 0.1), (3, 0.2), (3, 0.1)]}, "not increasing"),
        ({"schedule": [(0, -0.1)]}, "0 or more"),
        ({"schedule": ("rounds", [(0, 0.1)])}, "unknown schedule"),
        ({"schedule": [1, 2, 3]}, "no pairs"),
        ({"epochs": 0}, "epochs is 0"),
        ({"minibatch": 0}, "minibatch is 0"),
        ({"ema": 1.0}, "ema is 1.0"),
        ({"clip": 0.0}, "clip is 0.0"),
        ({"learning_rate": float("nan")}, "learning_rate"),
        ({"augment": ("flop",)}, "unknown augmentation"),
        ({"augment": ("flip",)}, "augment needs images"),
        ({"validation": 50}, "validation is 50"),
        ({"patience": 2}, "patience needs validation"),
        ({"select": "best"}, "unknown select"),
        ({"precision": "16"}, "unknown precision"),
        ({"box": (0, 0.5)}, "the box"),
        ({"resume": True}, "resume needs"),
        ({"devices": 2}, "torchrun"),
        ({"device": "tpu:0"}, "unknown device"),
        ({"device": "cuda:99"}, "no device"),
    ],
)  # fmt: skip
def test_settings_that_cannot_work_are_refused(change, says):
    x, y = blobs()
    with pytest.raises(InputError, match=says):
        fit(net(), (x, y), Clean(), **{"epochs": 1, **change})
