"""Logs are means over examples."""

import pytest
import torch
from helpers.training import Clean, blobs, net
from torch.nn import functional as F

from hauberk.train.fit import fit
from hauberk.train.loop.logs import Tally, means


def test_the_recorded_loss_is_the_mean_over_the_examples():
    x, y = blobs()
    model = net()
    with torch.no_grad():
        wanted = F.cross_entropy(model(x), y).item()
    found = fit(model, (x, y), Clean(), epochs=1, minibatch=16, learning_rate=0.0)
    assert found.history[0]["loss"] == pytest.approx(wanted, abs=1e-6)


def test_a_tally_continues_where_it_was_saved():
    tally = Tally(torch.device("cpu"))
    tally.add("loss", torch.tensor(1.0), 3)
    again = Tally(torch.device("cpu"))
    again.restore(tally.state())
    again.add("loss", 2.0, 1)
    other = Tally(torch.device("cpu"))
    other.add("loss", 4.0, 4)
    assert means([again.state()])["loss"] == pytest.approx(1.25)
    assert means([again.state(), other.state()])["loss"] == pytest.approx((5 + 16) / 8)
