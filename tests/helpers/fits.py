"""Threats of which some features may not change or have sizes of their own: shapes, and oracles."""

from dataclasses import dataclass
from math import inf

import torch
from tests.helpers.models import Linear
from torch import Tensor

import hauberk as hb


@dataclass(frozen=True)
class Case:
    """Inputs of a kind, the options of a threat to them, and what they mean, said once more."""

    shape: tuple[int, ...]
    options: dict
    free: Tensor
    scale: Tensor

    def threat(self, p, eps):
        return hb.Lp(p, eps).fitted(hb.threats.features.Features.of(self.options))

    def inputs(self, n=5, seed=0):
        rng = torch.Generator().manual_seed(seed)
        return torch.rand(n, *self.shape, generator=rng) * 0.4 + 0.3

    @property
    def features(self):
        return int(torch.tensor(self.shape).prod())

    def model(self, seed=0, dtype=torch.float32):
        return Linear(self.features, seed=seed, dtype=dtype)


def cases():
    rng = torch.Generator().manual_seed(7)
    scale = torch.rand(6, generator=rng, dtype=torch.float64) + 0.5
    table = torch.tensor([True, False, True, True, False, True])
    audio = torch.zeros(1, 12, dtype=torch.bool)
    audio[:, 3:9] = True
    patch = torch.zeros(2, 4, 5, dtype=torch.bool)
    patch[:, 1:3, 2:5] = True
    channels = torch.tensor([0.5, 2.0, 1.0], dtype=torch.float64)
    loose = torch.rand(3, 3, 3, generator=rng) > 0.5
    return {
        "table": Case((6,), {"mask": table, "eps": scale}, table, scale),
        "fixed": Case((6,), {"fixed": "1;4"}, table, torch.ones(6, dtype=torch.float64)),
        "audio": Case((1, 12), {"mask": audio}, audio, torch.ones(1, 12, dtype=torch.float64)),
        "patch": Case((2, 4, 5), {"patch": "2x3+1+2"}, patch, torch.ones_like(patch).double()),
        "channels": Case(
            (3, 3, 3), {"mask": loose, "eps": channels}, loose,
            channels.view(3, 1, 1).expand(3, 3, 3),
        ),
    }  # fmt: skip


def sizes(case, x0, x, p):
    """The length of changes in units of the features' sizes, and whether others stay: by hand."""
    delta = (x.double() - x0.double()).flatten(1)
    free = case.free.flatten()
    stays = (delta[:, ~free] == 0).all(1)
    inside = delta[:, free] / case.scale.flatten()[free]
    if p == 0:
        return (inside != 0).sum(1).double(), stays
    return torch.linalg.vector_norm(inside, ord=p, dim=1), stays


def most_gain(case, model, x, y, p, eps):
    """By how much a linear model's margin can rise in the ball, far from the box, ``(B,)``."""
    slope = model.slope(y).double() * (case.scale * case.free).flatten()
    if p == 0:
        raise ValueError("l0 is bounded by the box alone")
    dual = {1: inf, inf: 1}.get(p, p / (p - 1) if p > 1 else 1)
    return eps * torch.linalg.vector_norm(slope, ord=dual, dim=1)
