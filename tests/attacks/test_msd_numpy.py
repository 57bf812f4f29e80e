"""Multi steepest descent and its steps, against an implementation in NumPy alone.

Algorithm 1, equations 15 to 21 and Algorithm 2 (Duchi et al. 2008) of Maini et al. 2020, with the
gradients of a small network by hand. Where the box matters, projections are onto ball and box
together, found by bisection.
"""

from math import inf

import numpy as np
import pytest
import torch
from helpers.oracles import queries
from torch import nn

from hauberk.attacks import PGD, MultiSteepestDescent
from hauberk.maths.rng import Draws
from hauberk.threats import L1, L2, Linf, Union

D, HIDDEN, CLASSES = 24, 16, 4
ALPHA = {inf: 0.01 / 0.3, 2: 0.1 / 2.0, 1: 0.8 / 10.0}
"""Steps of appendix C.2, MNIST, in units of the radius."""

BALLS = {Linf(0.065): (inf, 0.065), L2(0.14): (2, 0.14), L1(0.22): (1, 0.22)}
UNION = Union(*BALLS)


class Net:
    """Two layers with tanh between them: logits, cross-entropy and its gradient, in NumPy."""

    def __init__(self, seed=0):
        rng = np.random.default_rng(seed)
        self.one, self.two = rng.normal(size=(D, HIDDEN)), rng.normal(size=(HIDDEN, CLASSES))
        self.shift = rng.normal(size=HIDDEN)

    def loss(self, x, y):
        logits = np.tanh(x @ self.one + self.shift) @ self.two
        top = logits.max()
        return top + np.log(np.exp(logits - top).sum()) - logits[y]

    def gradient(self, x, y):
        hidden = np.tanh(x @ self.one + self.shift)
        logits = hidden @ self.two
        p = np.exp(logits - logits.max())
        p /= p.sum()
        p[y] -= 1
        return self.one @ ((self.two @ p) * (1 - hidden**2))

    def module(self):
        net = nn.Sequential(nn.Linear(D, HIDDEN), nn.Tanh(), nn.Linear(HIDDEN, CLASSES)).double()
        with torch.no_grad():
            net[0].weight.copy_(torch.from_numpy(self.one.T))
            net[0].bias.copy_(torch.from_numpy(self.shift))
            net[2].weight.copy_(torch.from_numpy(self.two.T))
            net[2].bias.zero_()
        return net


def moved(delta, g, x, p, eps, k):
    """delta + v_p (15), (17), and the enhanced step of A.1 with the rule of A.2."""
    alpha = ALPHA[p] * eps
    if p == inf:
        return delta + alpha * np.sign(g)
    if p == 2:
        return delta + alpha * g / np.sqrt((g * g).sum())
    g = g.copy()
    g[(x + delta >= 1) & (g > 0)] = 0
    g[(x + delta <= 0) & (g < 0)] = 0
    top = np.argsort(-np.abs(g))[:k]
    step = np.zeros_like(g)
    step[top] = alpha / k * np.sign(g[top])
    return delta + step


def duchi(delta, eps):
    """Algorithm 2, with |delta| where the printed last line has the sorted values."""
    size = np.abs(delta)
    if size.sum() <= eps:
        return delta
    gamma = np.sort(size)[::-1]
    j = np.arange(1, len(gamma) + 1)
    rho = j[gamma - (np.cumsum(gamma) - eps) / j > 0].max()
    eta = (gamma[:rho].sum() - eps) / rho
    return np.sign(delta) * np.maximum(size - eta, 0)


def within(delta, x, p, eps):
    """The nearest point of ball and box."""
    low, high = -x, 1 - x
    if p == inf:
        return np.clip(np.clip(delta, -eps, eps), low, high)
    if p == 2:
        free = eps * delta / max(eps, np.sqrt((delta * delta).sum()))  # (18)
        shrunk = lambda t: np.clip(delta / (1 + t), low, high)  # noqa: E731
        size = lambda z: np.sqrt((z * z).sum())  # noqa: E731
    else:
        free = duchi(delta, eps)
        shrunk = lambda t: np.clip(  # noqa: E731
            np.sign(delta) * np.maximum(np.abs(delta) - t, 0), low, high
        )
        size = lambda z: np.abs(z).sum()  # noqa: E731
    if ((free >= low) & (free <= high)).all():
        return free
    if size(shrunk(0.0)) <= eps:
        return shrunk(0.0)
    near, far = 0.0, 1e3
    for _ in range(200):
        middle = (near + far) / 2
        near, far = (middle, far) if size(shrunk(middle)) > eps else (near, middle)
    return shrunk(far)


def algorithm_1(net, x, y, balls, steps, ks):
    """The points of Algorithm 1, the clean one first, and which ball each step came from."""
    delta, path, chosen = np.zeros_like(x), [x], []
    for t in range(steps):
        g = net.gradient(x + delta, y)
        candidates = [within(moved(delta, g, x, p, eps, ks[t]), x, p, eps) for p, eps in balls]
        losses = [net.loss(x + c, y) for c in candidates]
        chosen.append(int(np.argmax(losses)))
        delta = candidates[chosen[-1]]
        path.append(x + delta)
    return np.stack(path), chosen


def images(n, inner):
    x = np.random.default_rng(3).uniform(size=(n, D))
    middle = 0.4 + 0.2 * x  # too far from the ends of the box for any of the balls
    return middle if inner else np.where(x < 0.3, 0.0, np.where(x > 0.7, 1.0, middle))


def drawn(seed, n, steps, low, high):
    """k of every step and example, from the random numbers that the attack has."""
    draws = Draws.of(seed, torch.arange(n), 0, torch.zeros(n, dtype=torch.int64)).split(1)
    each = [draws.integers(t, (), high - low + 1) + low for t in range(steps)]
    return torch.stack(each).numpy()


@pytest.mark.parametrize("k", [(1, 1), (3, 3), (2, 6)], ids=str)
def test_msd_is_algorithm_1(k):
    net, steps, used = Net(2), 40, set()
    module, ks = net.module(), drawn(7, 5, steps, *k)
    for inner in (True, False):
        x = images(5, inner)
        y = module(torch.from_numpy(x)).argmax(1)
        attack = MultiSteepestDescent(steps=steps, k=k)
        asked = queries(attack, UNION, module, torch.from_numpy(x), y, seed=7)
        found = torch.stack([points for points in asked if len(points) == 5]).numpy()
        for i in range(5):
            path, chosen = algorithm_1(net, x[i], int(y[i]), BALLS.values(), steps, ks[:, i])
            np.testing.assert_allclose(found[:, i], path, rtol=0, atol=1e-7)
            used |= set(chosen)
    assert len(used) >= (2 if k == (1, 1) else 3)  # no ball leads everywhere


@pytest.mark.parametrize("inner", [True, False], ids=["far from the box", "at its edge"])
@pytest.mark.parametrize("ball", BALLS, ids=str)
def test_one_ball_is_its_own_steps_and_projection(ball, inner):
    net, x, steps = Net(1), images(4, inner), 30
    module, (p, eps) = net.module(), BALLS[ball]
    y = module(torch.from_numpy(x)).argmax(1)
    # In l1 both move one coordinate: equation 19.
    plain = PGD(steps=steps, step_share=ALPHA[p], random_start=False)
    for attack in (MultiSteepestDescent(steps=steps, k=(1, 1)), plain):
        asked = queries(attack, ball, module, torch.from_numpy(x), y)
        found = torch.stack([points for points in asked if len(points) == 4]).numpy()
        for i in range(4):
            path, _ = algorithm_1(net, x[i], int(y[i]), [(p, eps)], steps, [1] * steps)
            np.testing.assert_allclose(found[:, i], path, rtol=0, atol=1e-7)


def test_k_is_drawn_evenly_and_anew_from_its_range_ends_included():
    ks = drawn(0, 400, 30, 5, 20)
    assert (ks.min(), ks.max()) == (5, 20)
    counts = np.bincount(ks.ravel(), minlength=21)[5:]
    even = 400 * 30 / 16
    assert np.abs(counts - even).max() < 5 * np.sqrt(even)
    assert (ks[1:] != ks[:-1]).any(0).all()


def test_duchi_is_the_nearest_point_of_the_ball():
    """Algorithm 2, checked before it is used: no feasible point is nearer."""
    rng = np.random.default_rng(0)
    for _ in range(20):
        delta = rng.normal(size=6)
        found = duchi(delta, 1.0)
        assert np.abs(found).sum() <= 1 + 1e-12
        others = rng.laplace(size=(4000, 6))
        others /= np.maximum(1, np.abs(others).sum(1, keepdims=True))
        near = found + 0.05 * (others - found)  # the ball is convex
        assert (((near - delta) ** 2).sum(1) >= ((found - delta) ** 2).sum() - 1e-12).all()
