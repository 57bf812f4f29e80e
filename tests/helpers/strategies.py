"""What the tests of training strategies share: threats, a minibatch, a model that is watched."""

from dataclasses import replace

import torch
from torch import nn

import hauberk as hb
from hauberk.attacks import PGD
from hauberk.data import load_data
from hauberk.threats.base import Box
from hauberk.train.strategies.base import Batch
from hauberk.victims.victim import Victim

LINF, L2, L1 = hb.Linf(0.1), hb.L2(0.5), hb.L1(1.5)
BALLS = LINF | L2 | L1
FEW = PGD(steps=3, random_start=False)


CPU = torch.device("cpu")


def named(strategy):
    return type(strategy).__name__


class Watched(nn.Module):
    """A model that keeps what it was given."""

    def __init__(self, model):
        super().__init__()
        self.model, self.seen = model, []

    def forward(self, x):
        self.seen.append(x.detach())
        return self.model(x)


def net(features=64, classes=10, hidden=24):
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Flatten(), nn.Linear(features, hidden), nn.ReLU(), nn.Linear(hidden, classes)
    )


def digits(n=24):
    data = load_data("digits:train")
    return data.images[:n], data.labels[:n]


def batch(model, x, y, **changes):
    whole = Batch(
        model=model, victim=Victim(getattr(model, "model", model)), x=x, y=y,
        ids=torch.arange(len(x)), step=4, epoch=0, progress=0.5, seed=0, box=Box(),
    )  # fmt: skip
    return replace(whole, **changes)


def loss_of(strategy, given):
    return strategy.loss(given, strategy.begin(len(given.x), CPU))


def far(one, two):
    return (one - two).flatten(1).norm(dim=1)
