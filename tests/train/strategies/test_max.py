"""MAX training: the worst of several threats, per example."""

import pytest
import torch
from torch import nn

import hauberk as hb
from hauberk.attacks import PGD
from hauberk.engine.outcome import Outcome
from hauberk.train import MAX, Standard, fit
from hauberk.train.strategies.max import worst


def blobs(n=120):
    generator = torch.Generator().manual_seed(0)
    y = torch.arange(n) % 3
    centres = torch.tensor([[0.2, 0.2, 0.8], [0.8, 0.2, 0.2], [0.2, 0.8, 0.2]])
    return (centres[y] + 0.08 * torch.randn(n, 3, generator=generator)).clamp(0, 1), y


def net():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 16), nn.ReLU(), nn.Linear(16, 3))


def test_worst_takes_each_example_from_the_threat_of_largest_loss():
    def outcome(loss, value):
        n = len(loss)
        ints = torch.zeros(n, dtype=torch.int64)
        return Outcome(
            points=torch.full((n, 2), value), loss=torch.tensor(loss), fooled=ints.bool(),
            distance=ints.double(), attempt=ints, forwards=ints, backwards=ints,
        )  # fmt: skip

    points, which = worst([outcome([1.0, 5.0, 0.0], 0.1), outcome([2.0, 4.0, -1.0], 0.9)])
    assert points[:, 0].tolist() == pytest.approx([0.9, 0.1, 0.1])
    assert which.tolist() == [1, 0, 0]


def test_training_lowers_the_loss_and_is_repeatable():
    strategy = MAX(hb.Union(hb.Linf(0.05), hb.L2(0.1)), attacks=PGD(steps=3), grow=0.5)
    runs = []
    for _ in range(2):
        found = fit(net(), blobs(), strategy, epochs=8, minibatch=40, learning_rate=0.02)
        assert found.history[-1]["loss"] < found.history[0]["loss"]
        assert not found.model.training
        runs.append([p.detach().clone() for p in found.model.parameters()])
    assert all(torch.equal(a, b) for a, b in zip(*runs, strict=True))


def test_without_threats_it_is_standard_training():
    x, y = blobs()
    model = net()
    fit(model, (x, y), Standard(), epochs=15, minibatch=40, learning_rate=0.02)
    assert (model(x).argmax(1) == y).float().mean() > 0.95
