"""What the tests of training train: three blobs, tiny networks and strategies."""

from dataclasses import dataclass

import torch
from torch import nn
from torch.nn import functional as F

import hauberk as hb
from hauberk.attacks import PGD
from hauberk.models import MLP
from hauberk.threats.base import Box
from hauberk.train.loop.augment import Augmentation
from hauberk.train.loop.loader import Loader
from hauberk.train.strategies.base import Strategy, cross_entropy

CPU = torch.device("cpu")


@dataclass(frozen=True, kw_only=True)
class Clean(Strategy):
    def loss(self, batch, tables):
        return cross_entropy(batch, batch.x, seen=torch.tensor(float(len(batch.x))))


@dataclass(frozen=True, kw_only=True)
class Attacked(Strategy):
    threat: hb.Linf = hb.Linf(0.05)  # noqa: RUF009  # frozen

    @property
    def threats(self):
        return (self.threat,)

    def loss(self, batch, tables):
        return cross_entropy(batch, batch.attack(PGD(steps=3), self.threat).points)


def blobs(n=50, dtype=torch.float32):
    generator = torch.Generator().manual_seed(0)
    y = torch.arange(n) % 3
    centres = torch.tensor([[0.2, 0.2, 0.8], [0.8, 0.2, 0.2], [0.2, 0.8, 0.2]])
    x = (centres[y] + 0.08 * torch.randn(n, 3, generator=generator)).clamp(0, 1)
    return x.to(dtype), y


def net(*sizes):
    torch.manual_seed(0)
    return MLP(sizes or (3, 16, 3))


def weights(model):
    return torch.cat([p.detach().flatten() for p in model.parameters()])


def loader(x, y, minibatch, seed=0):
    return Loader(x, y, minibatch, Augmentation(), Box(), seed, CPU)


def normalised():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 3))


@dataclass(frozen=True, kw_only=True)
class Own(Strategy):
    """Returns what a function makes of the batch, and reports no passes."""

    make: object = None

    def loss(self, batch, tables):
        return self.make(batch)

    def describe(self):
        return {"strategy": "Own"}


def own(make):
    return Own(make=make)


def clean(batch):
    return F.cross_entropy(batch.model(batch.x), batch.y)
