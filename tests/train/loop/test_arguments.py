"""Arguments of the wrong kind are refused in one line."""

import numpy as np
import pytest
import torch
from helpers.training import blobs, net

import hauberk as hb
from hauberk.errors import InputError
from hauberk.train import Standard, fit


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"data": (np.zeros((4, 3)), np.zeros(4))}, "not ndarray, ndarray: use torch.as_tensor"),
        ({"data": torch.zeros(4, 3)}, "not Tensor"),
        ({"data": "digits:train"}, "not str"),
        ({"data": (torch.zeros(4, 3), torch.tensor(1))}, r"\(\) labels"),
        ({"strategy": Standard}, r"the class Standard: make one, Standard\(\.\.\.\)"),
        ({"strategy": "standard"}, "the strategy is 'standard'"),
        ({"strategy": hb.Linf(0.1)}, "the threat linf:0.1: say how"),
        ({"learning_rate": "fast"}, "learning_rate is 'fast'"),
        ({"learning_rate": None}, "learning_rate is None"),
        ({"momentum": "0.9"}, "momentum is '0.9'"),
        ({"weight_decay": [1]}, "weight_decay is"),
        ({"clip": "1"}, "clip is '1'"),
        ({"ema": "0.9"}, "ema is '0.9'"),
        ({"ema": torch.zeros(3, 40)}, "ema is a Tensor"),
        ({"seed": 0.5}, "seed is 0.5: give a whole number"),
        ({"epochs": True}, "epochs is True"),
        ({"validation": 0.1}, "validation is 0.1"),
        ({"validation": True}, "validation is True"),
        ({"validation": np.zeros((40, 40))}, "validation is a ndarray"),
        ({"validation": (1, 2, 3)}, "validation must be"),
        ({"devices": "2"}, "devices is '2'"),
        ({"nodes": None}, "nodes is None"),
        ({"device": ["cpu"]}, "unknown device"),
        ({"schedule": 0.1}, "the schedule is 0.1"),
        ({"schedule": "cosine"}, "the schedule is 'cosine'"),
        ({"augment": 3}, "augment is 3"),
        ({"augment": (3,)}, "augment is"),
        ({"every_minutes": "5"}, "every_minutes is '5'"),
        ({"out": 3}, "out is a int"),
        ({"progress": 3}, "progress is a int"),
        ({"on_epoch": "print"}, "on_epoch is a str"),
    ],
)
def test_arguments_of_the_wrong_kind_are_refused(change, says):
    words = {"data": blobs(), "strategy": Standard(), "epochs": 1, **change}
    with pytest.raises(InputError, match=says) as caught:
        fit(net(), words.pop("data"), words.pop("strategy"), **words)
    assert "\n" not in str(caught.value)
