"""The momentum iterative method: as published, and its special cases."""

import pytest
import torch
from helpers.data import inputs
from helpers.models import Linear, network
from helpers.oracles import queries
from torch import nn

from hauberk import InputError
from hauberk.attacks import PGD
from hauberk.attacks.momentum import MomentumIterative
from hauberk.threats import L0, L1, L2, Linf, Lp


def curved(dtype=torch.float32):
    return network(20, 30, 3, dtype=dtype)


def data(n=8, shape=(20,), box=(0.0, 1.0), dtype=torch.float32):
    return inputs(n, shape, seed=2, box=box, dtype=dtype, corners=n // 3)


@pytest.mark.parametrize("threat", [Linf(0.1), L2(0.5), Lp(1.5, 0.7), L1(1.5), L0(3)], ids=str)
@pytest.mark.parametrize("momentum", [0.0, 0.5, 1.0])
def test_momentum_iterates_as_published(threat, momentum):
    """Algorithm 1: g <- mu g + grad / |grad|_1, then a step of eps / T along its direction."""
    model, x = curved(torch.float64), data(6, dtype=torch.float64)
    y = model(x).argmax(1)
    asked = queries(MomentumIterative(steps=6, momentum=momentum), threat, model, x, y)
    region, u, g = threat.at(x), x.clone(), torch.zeros_like(x)
    for points in asked:
        torch.testing.assert_close(points, u, rtol=0, atol=1e-9)
        v = u.clone().requires_grad_(True)
        (grad,) = torch.autograd.grad(nn.functional.cross_entropy(model(v), y, reduction="sum"), v)
        g = momentum * g + grad / grad.abs().sum(1, keepdim=True)
        u = region.project_(region.ascent(u, g, threat.eps / 6))
    assert len(asked) == 7


def test_momentum_without_momentum_is_pgd():
    model, x = curved(), data()
    y = model(x).argmax(1)
    ours = MomentumIterative(momentum=0.0, step_size=0.02)(model, x, y, Linf(0.1), stop=False)
    its = PGD(steps=10, step_size=0.02, random_start=False)(model, x, y, Linf(0.1), stop=False)
    assert torch.equal(ours.points, its.points)


@pytest.mark.parametrize("box", [(0.0, 1.0), (-1.0, 3.0)], ids=str)
def test_momentum_finds_the_corner_of_an_linf_ball(box):
    model, x = Linear(), data(box=box)
    y = model(x).argmax(1)
    out = MomentumIterative()(model, x, y, Linf(0.1), box=box, stop=False)
    g = (
        torch.where(y == 0, 1.0, -1.0).unsqueeze(1)
        * (model.weight[:, 1] - model.weight[:, 0]).detach()
    )
    torch.testing.assert_close(out.points, (x + 0.1 * g.sign()).clamp(*box))


def test_settings_are_those_of_dong_2018():
    """Ten steps of a tenth of eps, nothing forgotten, from the clean input."""
    attack, model, x = MomentumIterative(), Linear(), torch.full((2, 20), 0.5)
    settings = (attack.steps, attack.momentum, attack.random_start, attack.loss)
    assert settings == (10, 1.0, False, "ce")
    asked = torch.stack(queries(attack, Linf(0.2), model, x, model(x).argmax(1)))
    torch.testing.assert_close(asked.diff(dim=0).abs(), torch.full((10, 2, 20), 0.02))


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: MomentumIterative(steps=0), "steps is 0"),
        (lambda: MomentumIterative(momentum=-1), "momentum is -1"),
        (lambda: MomentumIterative(rule="gradient"), "use PGD"),
    ],
)
def test_bad_hyper_parameters(make, says):
    with pytest.raises(InputError, match=says):
        make()
