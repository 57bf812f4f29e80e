"""Mixtures whose first threat does not move the input itself: a warp, then a ball."""

from dataclasses import dataclass, replace
from functools import partial

import pytest
import torch
from helpers import oracles
from helpers.data import inputs
from helpers.models import network

from hauberk.attacks import APGD, PGD
from hauberk.attacks.search import RandomSearch
from hauberk.maths.norms import norm
from hauberk.maths.steps import per_example
from hauberk.threats import L1, L2, Linf, Region, Threat
from hauberk.threats.affine import Affine
from hauberk.threats.warp import RotationTranslation

judged = partial(oracles.judged, most=1 + 1e-12)


def data(n=6, shape=(20,), dtype=torch.float32):
    return inputs(n, shape, dtype=torch.float64, corners=n // 3).to(dtype)


@dataclass
class DimmedRegion(Region):
    """``x0`` times ``1 - u``, u (S, 1) between 0 and the radius: the simplest of all warps."""

    def start(self):
        return self.x0.new_zeros(len(self.x0), 1)

    def decode(self, u):
        return self.x0 * (1 - per_example(u.flatten(), self.x0))

    def encode(self, x):
        return None

    def project_(self, u):
        return torch.minimum(u.clamp(min=0), self.eps.unsqueeze(1))

    def ascent(self, u, grad, step, share=None):
        return u + grad.sign() * per_example(torch.as_tensor(step), u)

    def random(self, draws, draw):
        return draws.uniform(draw, (1,), self.x0.dtype) * self.eps.unsqueeze(1)

    def distance(self, x, witness=None):
        return witness.flatten().double()

    def contains(self, x, witness=None):
        inside = (witness.flatten() >= 0) & (witness.flatten() <= self.radius)
        return inside & (x == self.decode(witness.to(self.x0))).flatten(1).all(1)

    def scaled(self, factor):
        return replace(self, radius=self.radius * factor)

    def witness(self, u):
        return u


class Dimmed(Threat):
    def __init__(self, eps):
        self.eps = eps

    def at(self, x0, box=None):
        radius = torch.full((len(x0),), self.eps, dtype=torch.float64)
        return DimmedRegion(x0=x0 if x0.dtype == torch.float64 else x0.float(), radius=radius)

    def scaled(self, factor):
        return Dimmed(self.eps * factor)

    def __str__(self):
        return f"dimmed:{self.eps:g}"


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("shape", [(20,), (5, 2, 2)], ids=str)
@pytest.mark.parametrize("ball", [Linf(0.1), L1(1.5), L2(0.5)], ids=str)
def test_a_warp_then_a_ball(ball, shape, dtype):
    """The gradient reaches the warp's parameter, and the judge recomputes both steps."""
    model, x, mixture = (
        network(20, 30, 3, dtype=dtype),
        data(shape=shape, dtype=dtype),
        Affine(Dimmed(0.5), ball),
    )
    y = model(x).argmax(1)
    for attack in (APGD(steps=20), PGD(steps=20, loss="margin", random_start=False)):
        out = attack(model, x, y, mixture, stop=False)
        judged(model, mixture, x, y, out)
        assert out.witness.shape == (6, 1 + 1 + 20)
        beta = torch.tensor(mixture.betas, dtype=torch.float64)[out.witness[:, 0].long()]
        dim, middle = out.witness[:, 1], out.witness[:, 2:].view_as(x)
        assert (dim <= beta * 0.5).all()
        seen = beta > 0
        dimmed = x * (1 - per_example(dim, x))
        assert torch.equal(middle[seen], dimmed[seen])
        assert torch.equal(middle[~seen], x[~seen])
        second = norm(out.points.double() - middle.double(), ball.p)
        assert (second <= (1 - beta) * ball.eps).all()
    # At beta 0, whatever the parameter, nothing is dimmed.
    idle = torch.cat([torch.zeros(6, 1), torch.full((6, 1), 0.3), x.flatten(1)], 1)
    assert mixture.contains(x, x, idle).all()
    assert not mixture.at(x).distance(x, idle).any()
    only = mixture.at(x).at_variant(torch.full((6,), 4))  # beta 1: no ball is left
    u = only.start().requires_grad_()
    (grad,) = torch.autograd.grad(-(only.decode(u) * x).sum(), u)
    torch.testing.assert_close(grad[:, 0], (x * x).flatten(1).sum(1))
    moved = only.project_(only.ascent(u.detach(), grad, 0.4))  # of the budget, 0.5
    torch.testing.assert_close(only.decode(moved), x * 0.8)


def test_a_rotation_then_a_ball():
    model, x = network(20, 3, seed=3), data(shape=(1, 5, 4), dtype=torch.float64).float()
    y = model(x).argmax(1)
    mixture = Affine(RotationTranslation(30, 1), Linf(0.1))
    for attack in (APGD(steps=15), RandomSearch(samples=8)):
        out = attack(model, x, y, mixture, stop=False)
        judged(model, mixture, x, y, out)
        beta = torch.tensor(mixture.betas, dtype=torch.float64)[out.witness[:, 0].long()]
        assert (out.witness[:, 1].abs() <= 30 * beta).all()
        assert (out.witness[:, 2:4].abs().amax(1) <= beta).all()
        middle = out.witness[:, 4:].view_as(x)
        gap = (out.points.double() - middle.double()).abs().flatten(1).amax(1)
        assert (gap <= 0.1 * (1 - beta)).all()
        forged = out.witness.clone()
        forged[:, 4:] = out.points.flatten(1) * 0.999  # no rotation leads there
        assert not mixture.contains(x, out.points, forged)[beta > 0].any()
