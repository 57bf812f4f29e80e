"""The passes of a strategy are counted, and what it returns is checked."""

from types import SimpleNamespace

import pytest
import torch
from helpers.training import blobs, clean, net, own
from torch import nn
from torch.nn import functional as F

import hauberk as hb
from hauberk.attacks import PGD
from hauberk.errors import InputError
from hauberk.train import Loss, fit


@pytest.mark.parametrize("reported", [0, 1])
def test_passes_of_ones_own_strategy_are_counted_once(reported):
    def loss(batch):
        points = batch.attack(PGD(steps=3), hb.Linf(0.05)).points
        with torch.no_grad():
            batch.model(batch.x)
        value = clean(batch) + F.cross_entropy(batch.model(points), batch.y)
        n = reported * len(batch.x)
        return Loss(value, forwards=3 * n, backwards=2 * n)

    found = fit(net(), blobs(), own(loss), epochs=2, minibatch=20)
    # The attack: four forwards and three backwards. Then three forwards, two with the gradient on.
    assert found.summary["forwards"] == 2 * 50 * (4 + 3)
    assert found.summary["backwards"] == 2 * 50 * (3 + 2)


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda b: clean(b), r"Own.loss must return hauberk.train.Loss\(value\), not a Tensor"),
        (lambda b: None, "not a NoneType"),
        (lambda b: Loss(clean(b).item()), "not a float: do not call"),
        (lambda b: Loss(b.model(b.x).sum(1)), r"shape \(50,\): take the mean"),
        (lambda b: Loss(clean(b).detach()), "on the graph"),
        (lambda b: Loss(clean(b), [1]), "logs of Own.loss are a list"),
        (lambda b: Loss(clean(b), {"mean": b.x}), r"'mean' as a Tensor of shape \(50, 3\)"),
        (lambda b: Loss(clean(b), {"word": "yes"}), "'word' as a str"),
        (lambda b: Loss(clean(b), {3: clean(b)}), "logs 3"),
        *[
            (lambda b, name=name: Loss(clean(b), {name: clean(b)}), f"logs '{name}', which the")
            for name in ("epoch", "step", "loss", "learning_rate", "valid_clean", "seconds_attack")
        ],
    ],
)
def test_what_is_no_loss_is_refused_saying_what_to_return(make, says):
    with pytest.raises(InputError, match=says):
        fit(net(), blobs(), own(make), epochs=1)


def test_logs_may_be_plain_numbers():
    found = fit(net(), blobs(), own(lambda b: Loss(clean(b), {"half": 0.5})), epochs=1)
    assert found.history[0]["half"] == 0.5


class Wrapped(nn.Module):
    """Returns its logits inside something."""

    def __init__(self, form):
        super().__init__()
        self.net, self.form = net(), form

    def forward(self, x):
        return self.form(self.net(x))


@pytest.mark.parametrize("natural", [None, 0.5])
@pytest.mark.parametrize(
    "form", [lambda z: SimpleNamespace(logits=z), lambda z: (z, z * 2), lambda z: {"logits": z}]
)
def test_models_that_return_more_than_logits_are_trained_alike(form, natural):
    how = {"epochs": 2, "natural": natural, "seed": 1}
    strategy = hb.train.Single(hb.Linf(0.05), steps=2)
    plain, other = Wrapped(lambda z: z), Wrapped(form)
    other.load_state_dict(plain.state_dict())
    for model in (plain, other):
        fit(model, blobs(), strategy, **how)
    pairs = zip(plain.parameters(), other.parameters(), strict=True)
    assert all(torch.equal(a, b) for a, b in pairs)


def test_exported_graphs_are_not_trained():
    images, _ = blobs()
    graph = torch.export.export(net(), (images[:2],)).module()
    with pytest.raises(InputError, match="train the module that it was made from"):
        fit(graph, blobs(), hb.train.Single(hb.Linf(0.05), steps=2), epochs=1)
