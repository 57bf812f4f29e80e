"""The training loop against a plain loop, closed forms and properties."""

import pytest
import torch
from helpers.training import Attacked, Clean, blobs, loader, net, normalised, weights
from torch import nn
from torch.nn import functional as F

from hauberk.data import load_data
from hauberk.errors import TrainingError
from hauberk.train import Standard, fit


def plain_loop(model, x, y, epochs, minibatch, rates, ema=None):
    """Momentum SGD as one would write it, in the trainer's order; weights and their average."""
    optimiser = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9, weight_decay=1e-3)
    order = loader(x, y, minibatch)
    average = weights(model)
    for step in range(epochs * order.steps):
        optimiser.param_groups[0]["lr"] = rates[step]
        rows = order.rows(*divmod(step, order.steps))
        optimiser.zero_grad()
        F.cross_entropy(model(x[rows]), y[rows]).backward()
        optimiser.step()
        average = (ema or 0) * average + (1 - (ema or 0)) * weights(model)
    return weights(model), average


def test_the_loss_falls_and_the_costs_add_up():
    digits = load_data("digits:train")
    model = net(64, 32, 10)
    found = fit(model, digits, Attacked(), epochs=3, validation=97, learning_rate=5e-3)
    losses = [record["loss"] for record in found.history]
    assert losses[0] > losses[1] > losses[2]
    assert found.model is model
    assert not model.training
    assert all(p.requires_grad for p in model.parameters())
    n = len(digits) - 97
    # PGD with three steps: four forwards and three backwards; the loss: one of each.
    assert found.summary["forwards"] == 3 * n * 5
    assert found.summary["backwards"] == 3 * n * 4
    last = found.history[-1]
    assert last["seconds_attack"] > 0 < last["seconds_training"]
    assert last["valid_union"] == last["valid_linf:0.05"] <= last["valid_clean"]
    assert found.paths == {}


@pytest.mark.parametrize("ema", [None, 0.8])
def test_the_weights_are_those_of_a_plain_loop(ema):
    x, y = blobs()
    rates = [0.1 * min(1.0, (s + 1) / 8) for s in range(16)]
    wanted, average = plain_loop(net(), x, y, 4, 13, rates, ema)
    model = net()
    found = fit(
        model, (x, y), Clean(), epochs=4, minibatch=13, optimiser="sgd", learning_rate=0.1,
        schedule=[(0, 0.0), (2, 0.1)], weight_decay=1e-3, ema=ema,
    )  # fmt: skip
    assert torch.allclose(weights(model), average if ema else wanted, atol=1e-6)
    assert found.history[-1]["learning_rate"] == pytest.approx(0.1)
    # 13, 13, 13 and 11 examples: a log is a mean over examples, not over minibatches.
    assert found.history[0]["seen"] == pytest.approx((3 * 13 * 13 + 11 * 11) / 50)


def test_a_run_is_repeatable_and_leaves_global_random_numbers():
    x, y = blobs()
    found = []
    for _ in range(2):
        torch.manual_seed(0)
        model = nn.Sequential(nn.Linear(3, 16), nn.Dropout(0.5), nn.ReLU(), nn.Linear(16, 3))
        state = torch.get_rng_state()
        fit(model, (x, y), Clean(), epochs=2, minibatch=16, seed=3)
        assert torch.equal(torch.get_rng_state(), state)
        found.append(weights(model))
        torch.rand(7)
    assert torch.equal(*found)


def test_clipping_bounds_the_gradient_of_a_step():
    x, y = blobs()
    moved = {}
    for clip in (None, 0.05, 100.0):
        model = net()
        before = weights(model)
        fit(
            model, (x, y), Clean(), epochs=1, minibatch=50, optimiser="sgd", learning_rate=1.0,
            momentum=0.0, clip=clip,
        )  # fmt: skip
        moved[clip] = (weights(model) - before).norm()
    assert moved[None] > 0.06
    assert moved[0.05].item() == pytest.approx(0.05, rel=1e-3)
    assert moved[100.0] == moved[None]


def test_one_example_is_refused_by_normalisation_in_one_line():
    x, y = blobs(1)
    with pytest.raises(TrainingError, match="given one example in train mode") as caught:
        fit(normalised(), (x, y), Standard(), epochs=1)
    assert caught.value.ids == (0,)
    fit(net(), (x, y), Standard(), epochs=1)
