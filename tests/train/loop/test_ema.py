"""The moving average of the weights."""

import torch
from torch import nn

from hauberk.train.loop.ema import EMA


def test_the_average_follows_the_weights():
    model = nn.BatchNorm1d(2)
    ema = EMA(model, 0.5)
    with torch.no_grad():
        model.weight.fill_(3.0)
        model.num_batches_tracked.fill_(7)
    ema.update()
    assert ema.weights()["weight"].tolist() == [2.0, 2.0]
    assert ema.weights()["num_batches_tracked"] == 7
    with ema.applied():
        assert model.weight.tolist() == [2.0, 2.0]
    assert model.weight.tolist() == [3.0, 3.0]
    again = EMA(nn.BatchNorm1d(2), 0.5)
    again.restore(ema.state())
    assert again.weights()["weight"].tolist() == [2.0, 2.0]


def test_without_a_decay_the_weights_are_the_models_own():
    model = nn.Linear(2, 1)
    ema = EMA(model, None)
    ema.update()
    with ema.applied():
        assert ema.weights()["weight"].data_ptr() == model.weight.data_ptr()
    assert ema.state() is None
    ema.restore(None)
