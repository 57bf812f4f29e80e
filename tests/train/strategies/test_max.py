"""MAX training: the worst of several threats, per example."""

import pytest
import torch
from helpers.strategies import BALLS, FEW, L1, LINF, Watched, batch, digits, loss_of, net
from torch import nn
from torch.nn import functional as F

import hauberk as hb
from hauberk.attacks import PGD
from hauberk.engine.outcome import Outcome
from hauberk.threats import Affine
from hauberk.threats.base import Box
from hauberk.train import AVG, MAX, Standard, fit
from hauberk.train.strategies.max import worst


def blobs(n=120):
    generator = torch.Generator().manual_seed(0)
    y = torch.arange(n) % 3
    centres = torch.tensor([[0.2, 0.2, 0.8], [0.8, 0.2, 0.2], [0.2, 0.8, 0.2]])
    return (centres[y] + 0.08 * torch.randn(n, 3, generator=generator)).clamp(0, 1), y


def small_net():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 16), nn.ReLU(), nn.Linear(16, 3))


def test_worst_takes_the_threat_of_largest_loss():
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
        found = fit(small_net(), blobs(), strategy, epochs=8, minibatch=40, learning_rate=0.02)
        assert found.history[-1]["loss"] < found.history[0]["loss"]
        assert not found.model.training
        runs.append([p.detach().clone() for p in found.model.parameters()])
    assert all(torch.equal(a, b) for a, b in zip(*runs, strict=True))


def test_without_threats_it_is_standard_training():
    x, y = blobs()
    model = small_net()
    fit(model, (x, y), Standard(), epochs=15, minibatch=40, learning_rate=0.02)
    assert (model(x).argmax(1) == y).float().mean() > 0.95


def test_max_is_at_least_avg_is_at_least_clean():
    x, y = digits()
    given = batch(net(), x, y)
    clean = loss_of(Standard(), given).value
    # From the clean input the largest loss found is at least its own.
    average = loss_of(AVG(BALLS, attacks=FEW), given).value
    largest = loss_of(MAX(BALLS, attacks=FEW), given).value
    assert largest > average > clean


def test_max_takes_each_example_from_the_attack_of_largest_loss():
    x, y = digits()
    model = Watched(net())
    # Sizes at which no threat is worst for all.
    threat = hb.Linf(0.1) | hb.L2(0.6) | hb.L1(2.5)
    strategy = MAX(threat, steps=3)
    given = batch(model, x, y)
    found = loss_of(strategy, given)
    alone = [
        given.attack(strategy.attack_on(part), part, stream=k)
        for k, part in enumerate(threat.parts)
    ]
    losses = torch.stack([F.cross_entropy(model(o.points), y, reduction="none") for o in alone])
    which = losses.argmax(0)
    assert len(which.unique()) > 1
    for row, k in enumerate(which.tolist()):
        assert torch.equal(model.seen[0][row], alone[k].points[row])
    shares = torch.stack(list(found.logs.values()))
    assert torch.equal(shares, torch.bincount(which, minlength=3) / len(x))


def test_max_takes_warps_and_mixtures():
    x, y = digits(8)
    threat = hb.RotationTranslation(30, 1) | LINF | Affine(LINF, L1)
    strategy = MAX(threat, steps=2)
    strategy.check(x, y, Box())
    given = batch(net(), x, y)
    largest = loss_of(strategy, given)
    alone = [F.cross_entropy(given.model(given.attack(strategy.attack_on(t), t, stream=k).points),
                             y) for k, t in enumerate(threat.parts)]  # fmt: skip
    assert all(largest.value >= loss for loss in alone)
    ten = given.victim.forwards
    given.attack(strategy.attack_on(threat.parts[0]), threat.parts[0])
    assert given.victim.forwards - ten == 10 * len(x)
