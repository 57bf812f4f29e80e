"""Models, data and checks of tests with several domains."""

import pytest
import torch
from torch import nn

from hauberk.attacks import APGD, PGD, MomentumIterative, MultiSteepestDescent
from hauberk.objectives.minmax import MinMax
from hauberk.threats import L1, L2, Linf, Union
from helpers.models import Constant, above

WIDE = (-3.0, 3.0)


def constant(*logits):
    return Constant(*logits, dtype=torch.float64)


def near(c):
    """The logits (0, -|x - c|^2): their second, as a loss, is concave with its top at c."""
    return above(0.0, lambda x: -(x - c).square().sum(1), torch.float64)


class Linear(nn.Module):
    """Logits that are linear in the input; row by row, so that no bit depends on the batch."""

    def __init__(self, seed=0, classes=2, features=6, dtype=torch.float64, scale=1.0):
        super().__init__()
        rng = torch.Generator().manual_seed(seed)
        w = torch.randn(features, classes, generator=rng, dtype=torch.float64) * scale
        self.w = nn.Parameter(w.to(dtype))
        self.asked = []

    def forward(self, x):
        self.asked.append(x.detach().clone())
        return torch.cat([row.flatten(1) @ self.w for row in x.split(1)]) if len(x) else x @ self.w


def second(logits, y):
    return logits[:, 1]


def data(n=8, features=6, classes=2, model=None, seed=1):
    rng = torch.Generator().manual_seed(seed)
    x = 0.2 + 0.6 * torch.rand(n, features, generator=rng, dtype=torch.float64)
    y = torch.randint(classes, (n,), generator=rng)
    return (x, y) if model is None else (x, model(x).argmax(1))


def same(a, b):
    """Two outcomes of the same numbers, passes and all."""
    for name in ("points", "loss", "fooled", "distance", "attempt", "forwards", "backwards"):
        torch.testing.assert_close(getattr(a, name), getattr(b, name), rtol=0, atol=0)


def on_simplex(w, tolerance=1e-6):
    assert bool((w >= 0).all())
    torch.testing.assert_close(w.sum(-1), torch.ones_like(w[..., 0]), rtol=0, atol=tolerance)


def several(toward="hard"):
    """Three models that have much in common, so that some examples are right in all."""
    models = [Linear(s, classes=4) for s in range(3)]
    for model in models[1:]:
        model.w.data = models[0].w.data + 0.2 * model.w.data
    return MinMax(models, beta=0.05, loss="ce", toward=toward)


ONE = [
    (PGD(steps=6, restarts=2), Linf(0.1)),
    (PGD(steps=6, rule="gradient", step_size=0.01), L1(0.5)),
    (APGD(steps=8), L2(0.3)),
    (APGD(steps=10), L1(0.5)),
    (MomentumIterative(steps=6), Linf(0.1)),
    (MultiSteepestDescent(steps=6), Union(Linf(0.05), L2(0.2))),
]
one = pytest.mark.parametrize(
    ("attack", "threat"), ONE, ids=[f"{type(a).__name__}-{t}" for a, t in ONE]
)
