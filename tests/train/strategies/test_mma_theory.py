"""What max-margin training rests on (Ding et al. 2020), checked on models small enough to solve.

The losses here are the logit margin or its soft version: 0 or more means that the model is wrong.
"""

import copy
from math import inf, log

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import fsolve
from torch import nn

from hauberk.exact import solve as exact
from hauberk.maths.losses import cross_entropy, margin, soft_margin
from hauberk.models import MLP
from hauberk.solvers.anpgd import ANPGD

BOX = (-50.0, 50.0)
WHOLE = {"rtol": 1e-6, "atol": 1e-9}


def smooth(seed, features=2, classes=3):
    """A tanh network steep enough to have boundaries near its inputs."""
    torch.manual_seed(seed)
    model = nn.Sequential(nn.Linear(features, 8), nn.Tanh(), nn.Linear(8, classes)).double()
    with torch.no_grad():
        for p in model.parameters():
            p.mul_(3)
    return model


def loss_at(model, x, y, delta):
    return soft_margin(model((x + delta).unsqueeze(0)), y.view(1)).squeeze(0)


def gradient(model, x, y, delta):
    """Of the loss in delta."""
    delta = delta.detach().requires_grad_(True)
    return torch.autograd.grad(loss_at(model, x, y, delta), delta)[0]


def nearest(model, x, y, start):
    """The point near ``start`` where |delta|_2 is stationary on the boundary, to rounding."""

    def conditions(v):
        delta = torch.from_numpy(v[:-1])
        slope = gradient(model, x, y, delta)
        loss = loss_at(model, x, y, delta).detach()
        return np.append((delta + v[-1] * slope).numpy(), loss)

    slope = gradient(model, x, y, start)
    multiplier = -(start @ slope) / (slope @ slope)
    found = fsolve(conditions, np.append(start.numpy(), multiplier), xtol=1e-13)
    assert np.abs(conditions(found)).max() < 1e-10
    return torch.from_numpy(found[:-1])


def solved(seed):
    """A smooth model, an input of two numbers that it gets right, its nearest adversarial point.

    Every direction is tried, in degrees, and every length, in steps of 0.01.
    """
    model = smooth(seed)
    angle = torch.arange(360).double().deg2rad()
    ways = torch.stack([angle.cos(), angle.sin()], 1)
    lengths = torch.arange(1, 600).double() / 100
    rng = torch.Generator().manual_seed(seed)
    for x in torch.randn(20, 2, generator=rng, dtype=torch.float64):
        y = model(x[None]).argmax(1)[0]
        near = (x + lengths[:, None, None] * ways).flatten(0, 1)
        fooled = soft_margin(model(near), y.expand(len(near))).detach() >= 0
        first = fooled.view(len(lengths), len(ways)).nonzero()
        if len(first) and lengths[first[0, 0]] > 0.05 and loss_at(model, x, y, 0 * x) < 0:
            length = lengths[first[0, 0]]
            delta = nearest(model, x, y, length * ways[first[0, 1]])
            assert float(length) - 0.011 < float(delta.norm()) < float(length) + 1e-9
            return model, x, y, delta
    raise AssertionError("no input has a boundary in reach")


# Proposition 2.1


@pytest.mark.parametrize("seed", range(4))
def test_gradient_of_the_margin_is_minus_that_of_the_loss(seed):
    model, x, y, delta = solved(seed)
    parameters = list(model.parameters())
    size = delta.norm()
    slope = gradient(model, x, y, delta)
    c = (delta / size) @ slope / slope.square().sum()
    assert float(c) > 0
    at_point = torch.autograd.grad(loss_at(model, x, y, delta), parameters)
    rng = torch.Generator().manual_seed(seed)
    for _ in range(3):
        direction = [torch.randn(p.shape, generator=rng, dtype=p.dtype) for p in parameters]
        sides = []
        for h in (1e-5, -1e-5):
            with torch.no_grad():
                for p, v in zip(parameters, direction, strict=True):
                    p.add_(h * v)
            sides.append(nearest(model, x, y, delta).norm())
            with torch.no_grad():
                for p, v in zip(parameters, direction, strict=True):
                    p.sub_(h * v)
        numeric = (sides[0] - sides[1]) / 2e-5
        along = sum((g * v).sum() for g, v in zip(at_point, direction, strict=True))
        torch.testing.assert_close(numeric, -c * along, rtol=1e-5, atol=1e-8)


@pytest.mark.parametrize("p", [1, 2, inf])
def test_margins_of_a_linear_score_have_closed_forms(p):
    torch.manual_seed(0)
    model = nn.Linear(4, 2).double()
    x = torch.randn(6, 4, dtype=torch.float64)
    y = model(x).argmax(1)
    z = model(x)
    loss = margin(z, y)
    sign = torch.where(y == 0, 1.0, -1.0).double()
    w = sign[:, None] * (model.weight[1] - model.weight[0])
    q = {1: inf, 2: 2, inf: 1}[p]
    d = -loss / torch.linalg.vector_norm(w, q, dim=1)
    solver = ANPGD(steps=200, eps=None, bisections=50, share=0.25)
    found = solver(model, x, y, f"l{p:g}", box=BOX)
    torch.testing.assert_close(found.distance, d.detach(), rtol=1e-5, atol=0)
    if p != 2:
        return
    # c = 1 / |w|: what the margin gains, the loss at delta* loses times that; in the offsets too.
    delta = d[:, None] * w / w.norm(dim=1, keepdim=True)
    at_point = margin(model(x + delta.detach()), y)
    for i in range(len(x)):
        grad = torch.autograd.grad(d[i], list(model.parameters()), retain_graph=True)
        there = torch.autograd.grad(at_point[i], list(model.parameters()), retain_graph=True)
        c = 1 / w[i].detach().norm()
        torch.testing.assert_close(grad, tuple(-c * g for g in there), **WHOLE)


# Proposition 2.2


@pytest.mark.parametrize("metric", ["linf", "l1", "l2"])
@pytest.mark.parametrize("seed", range(4))
def test_of_a_relu_network_less_loss_at_the_point_is_more_margin(metric, seed):
    torch.manual_seed(seed)
    model = MLP((3, 8, 3)).double()
    x = torch.rand(4, 3, dtype=torch.float64)
    y = model(x).argmax(1)
    before = exact.radius(model, x, y, metric, box=BOX)
    for i in range(len(x)):
        other = copy.deepcopy(model)
        at_point = margin(other(before.points[i : i + 1]), y[i : i + 1]).sum()
        slopes = torch.autograd.grad(at_point, list(other.parameters()))
        with torch.no_grad():
            for p, slope in zip(other.parameters(), slopes, strict=True):
                p.sub_(1e-4 * slope)
            assert float(margin(other(before.points[i : i + 1]), y[i : i + 1])) < float(at_point)
        after = exact.radius(other, x[i : i + 1], y[i : i + 1], metric, box=BOX)
        assert bool(before.proven[i] & after.proven[0])
        assert float(after.distance[0]) > float(before.distance[i]) + 1e-7


# Propositions 2.3 and 2.4


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 10**6), classes=st.integers(2, 9), scale=st.sampled_from([0.1, 1, 30]))
def test_the_soft_margin_bounds_the_margin(seed, classes, scale):
    rng = torch.Generator().manual_seed(seed)
    z = scale * torch.randn(5, classes, generator=rng, dtype=torch.float64)
    y = torch.randint(classes, (5,), generator=rng)
    hard, soft = margin(z, y), soft_margin(z, y)
    slack = 1e-12 * scale
    assert bool((hard <= soft + slack).all())
    assert bool((soft - log(classes - 1) <= hard + slack).all())
    if classes == 2:
        torch.testing.assert_close(hard, soft, **WHOLE)


@pytest.mark.parametrize("classes", [2, 5])
def test_cross_entropy_and_soft_margin_share_a_direction(classes):
    model = smooth(1, classes=classes)
    x = torch.randn(4, 2, dtype=torch.float64, requires_grad=True)
    y = torch.randint(classes, (4,))
    into = [x, *model.parameters()]
    for i in range(4):
        z = model(x[i : i + 1])
        share = 1 - z.detach().softmax(1)[0, y[i]]
        one = torch.autograd.grad(
            cross_entropy(z, y[i : i + 1]).sum(), into, retain_graph=True
        )  # fmt: skip
        two = torch.autograd.grad(soft_margin(z, y[i : i + 1]).sum(), into)
        torch.testing.assert_close(one, tuple(share * g for g in two), **WHOLE)


# Theorem 3.1 for the logit margin, Corollary 3.1 for the soft one and more classes: an input of one
# number, so that every perturbation can be tried

GRID = torch.arange(-2000, 2001).double() / 500
LOSSES = pytest.mark.parametrize(
    ("loss", "classes"), [(margin, 2), (margin, 4), (soft_margin, 2), (soft_margin, 4)]
)


def losses(model, loss=margin):
    """The loss of label 0 at every perturbation of the input 0."""
    return loss(model(GRID[:, None]), torch.zeros(len(GRID), dtype=torch.int64))


def least(values, level):
    """The shortest perturbation at which the loss reaches a level; inf if none does."""
    there = GRID.abs()[values >= level]
    return float(there.min()) if len(there) else inf


def largest(values, eps):
    return float(values[GRID.abs() <= eps].max())


def updates(eps_of, loss, classes, seeds=range(60)):
    """Before and after a gradient step that lowers the largest loss within eps: losses, and eps."""
    for seed in seeds:
        torch.manual_seed(seed)
        model = nn.Sequential(nn.Linear(1, 6), nn.Tanh(), nn.Linear(6, classes)).double()
        with torch.no_grad():
            model[0].weight.mul_(3)
            model[2].weight.mul_(3)
        before = losses(model, loss)
        d = least(before.detach(), 0.0)
        if before[len(GRID) // 2] >= 0 or d == inf:
            continue  # wrong already, or never fooled
        eps = eps_of(d)
        old = largest(before.detach(), eps)
        worst = before[GRID.abs() <= eps].max()
        grads = torch.autograd.grad(worst, list(model.parameters()))
        for rate in (0.3, 0.03, 0.003, 0.0003):
            with torch.no_grad():
                for p, g in zip(model.parameters(), grads, strict=True):
                    p.sub_(rate * g)
            after = losses(model, loss).detach()
            if largest(after, eps) < old:
                yield before.detach(), after, eps, old
                break
            with torch.no_grad():
                for p, g in zip(model.parameters(), grads, strict=True):
                    p.add_(rate * g)


@LOSSES
def test_training_at_the_margin_itself_never_lowers_the_margin(loss, classes):
    cases = list(updates(lambda d: d, loss, classes))
    assert len(cases) >= 5
    for before, after, eps, _ in cases:
        assert least(before, 0.0) == pytest.approx(eps)
        assert least(after, 0.0) > eps


@LOSSES
def test_training_below_the_margin_raises_a_lower_bound_of_it(loss, classes):
    cases = list(updates(lambda d: d / 2, loss, classes))
    assert len(cases) >= 5
    for before, after, eps, old in cases:
        assert old <= 0
        assert least(before, old) <= eps < least(after, old)
        for values in (before, after):
            assert least(values, old) <= least(values, 0.0)
        # Whatever happens to the margin, it stays beyond the size that is trained at.
        assert least(after, 0.0) > eps


@LOSSES
def test_training_above_the_margin_raises_an_upper_bound_of_it(loss, classes):
    cases = list(updates(lambda d: 2 * d, loss, classes))
    assert len(cases) >= 5
    for before, after, eps, old in cases:
        assert old >= 0
        assert least(before, old) <= eps < least(after, old)
        for values in (before, after):
            assert least(values, 0.0) <= least(values, old)


@pytest.mark.parametrize("classes", [2, 4, 9])
def test_the_margin_by_the_soft_loss_is_the_smaller_one(classes):
    """Remark 2.2, at every perturbation of the input, and equal for two classes."""
    nearer, both = 0, 0
    for seed in range(60):
        torch.manual_seed(seed)
        model = nn.Sequential(nn.Linear(1, 6), nn.Tanh(), nn.Linear(6, classes)).double()
        with torch.no_grad():
            model[2].weight.mul_(4)
            model[2].bias[0] += 2 * log(classes)
            hard, soft = (least(losses(model, loss), 0.0) for loss in (margin, soft_margin))
        assert soft <= hard
        both += 0 < soft < inf
        nearer += soft < hard
    assert both >= 5
    assert (nearer > 5) == (classes > 2)


def test_training_above_the_margin_may_lower_the_margin():
    # Steep beyond 1.2 on the left, where the largest loss is; flat on the right, and nearer there.
    def values(t):
        right = -1 + (1 + t) * GRID
        left = -1 + (5 - t) * (-GRID - 1.2).clamp_min(0)
        return torch.where(GRID > 0, right, left)

    t = torch.zeros((), dtype=torch.float64, requires_grad=True)
    before = values(t)
    (grad,) = torch.autograd.grad(before[GRID.abs() <= 2].max(), t)
    assert float(grad) == pytest.approx(-0.8)
    before, after = before.detach(), values(t - 0.125 * grad).detach()
    assert largest(before, 2.0) == pytest.approx(3)
    assert largest(after, 2.0) == pytest.approx(2.92)
    assert least(before, 3.0 - 1e-9) == 2 < least(after, 3.0 - 1e-9)
    assert least(before, 0.0) == 1
    assert least(after, 0.0) == pytest.approx(1 / 1.1, abs=0.002)


# Lemma A.1: on integers, a loss that moves by at most one per step takes every value between


@settings(max_examples=200, deadline=None)
@given(
    left=st.lists(st.integers(-1, 1), min_size=1, max_size=25),
    right=st.lists(st.integers(-1, 1), min_size=1, max_size=25),
    rise=st.integers(0, 6),
)
def test_least_size_and_largest_loss_are_one_curve(left, right, rise):
    up, down = np.append(0, np.cumsum(right)), np.append(0, np.cumsum(left))

    def most(size):
        return max(up[: size + 1].max(), down[: size + 1].max())

    def shortest(level):
        sides = [np.flatnonzero(side >= level) for side in (up, down)]
        return min((int(side[0]) for side in sides if len(side)), default=None)

    size = shortest(rise)
    if size is not None:
        assert most(size) == rise
    for size in range(max(len(up), len(down))):
        found = shortest(most(size))
        assert found is not None
        assert found <= size
