"""What can be trained on, and what is held out."""

import pytest
import torch
from helpers.training import Attacked, Clean, blobs, net

import hauberk as hb
from hauberk.errors import InputError
from hauberk.threats.base import Box
from hauberk.train import Standard, fit
from hauberk.train.loop.examples import split


def frozen():
    return net().requires_grad_(False)


@pytest.mark.parametrize(
    ("model", "data", "strategy", "says"),
    [
        (frozen(), blobs(), Clean(), "nothing to train"),
        (net(), (blobs()[0], blobs()[1] + 1), Clean(), "labels reach 3"),
        (net(), (blobs()[0], blobs()[1] - 1), Clean(), "negative"),
        (net(), (torch.empty(0, 3), torch.empty(0, dtype=torch.int64)), Clean(), "no examples"),
        (net(), blobs(), Attacked(threat=hb.Linf(0.1) | hb.L2(1)), "is a union"),
        (net().half(), blobs(), Clean(), "float32"),
    ],
)
def test_data_that_cannot_be_trained_on_is_refused(model, data, strategy, says):
    with pytest.raises(InputError, match=says):
        fit(model, data, strategy, epochs=1)


def test_validation_has_examples_of_every_class():
    x, y = torch.rand(60, 3), torch.arange(60) % 3
    train, held = split((x, y), 10, Box(), net())
    assert torch.equal(held.ids, torch.arange(10))
    assert torch.equal(train.ids, torch.arange(10, 60))
    train, held = split((x, y.sort().values), 10, Box(), net())
    assert held.y.bincount().tolist() == [3, 4, 3]
    assert torch.equal(torch.cat([train.ids, held.ids]).sort().values, torch.arange(60))
    grouped = torch.tensor([2, 0, 1])[y.sort().values]
    assert split((x, grouped), 10, Box(), net())[1].y.bincount().tolist() == [4, 3, 3]
    assert not len(split((x, y.sort().values), 0, Box(), net())[1])


def test_a_model_that_fails_on_the_data_is_named_in_one_line():
    x, y = blobs()
    with pytest.raises(InputError, match=r"fails on a batch of inputs of shape \(3,\): Runtime"):
        fit(net(7, 4, 3), (x, y), Standard(), epochs=1)
