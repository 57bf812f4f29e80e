"""What the tests of the trainer train: three blobs, a tiny network and two strategies."""

from dataclasses import dataclass

import torch

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
    def loss(self, batch, memory):
        return cross_entropy(batch, batch.x, seen=torch.tensor(float(len(batch.x))))


@dataclass(frozen=True, kw_only=True)
class Attacked(Strategy):
    threat: hb.Linf = hb.Linf(0.05)  # noqa: RUF009  # frozen

    @property
    def threats(self):
        return (self.threat,)

    def loss(self, batch, memory):
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
