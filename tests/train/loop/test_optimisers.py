"""Optimisers of the user."""

import torch
from helpers.training import Clean, blobs, net

from hauberk.train.fit import fit


def test_an_own_optimiser_keeps_its_rate_without_a_schedule():
    x, y = blobs()
    made = []

    def rmsprop(parameters):
        made.append(torch.optim.RMSprop(parameters, lr=0.25))
        return made[0]

    found = fit(net(), (x, y), Clean(), epochs=1, optimiser=rmsprop)
    assert found.history[0]["learning_rate"] == 0.25
    assert made[0].state
