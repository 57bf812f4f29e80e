"""Min-max: saddles, weights, and the ends of the range of gamma."""

from dataclasses import replace
from math import inf

import numpy as np
import pytest
import torch
from helpers.domains import (
    WIDE,
    Linear,
    constant,
    data,
    near,
    on_simplex,
    one,
    same,
    second,
    several,
)
from scipy.optimize import minimize
from torch import nn

from hauberk.attacks import APGD, PGD, Square
from hauberk.maths.losses import LOSSES
from hauberk.maths.rng import Draws
from hauberk.objectives.combined import Weighing
from hauberk.objectives.minmax import Average, Fixed, MinMax
from hauberk.threats import L1, L2, Linf, RotationTranslation
from hauberk.threats.shared import Shared

# Saddles


def nearest(point, threat):
    """The nearest point of a ball around 0, by bisection on the multiplier."""
    if threat.p == inf:
        return np.clip(point, -threat.eps, threat.eps)
    if threat.p == 2:
        return point * min(1, threat.eps / max(np.linalg.norm(point), 1e-300))

    def shrunk(by):
        return np.sign(point) * np.maximum(np.abs(point) - by, 0)

    low, high = 0.0, float(np.abs(point).max())
    for _ in range(100 if np.abs(point).sum() > threat.eps else 0):
        middle = (low + high) / 2
        low, high = (middle, high) if np.abs(shrunk(middle)).sum() > threat.eps else (low, middle)
    return shrunk(high) if high and low else point


def saddle(centres, threat, gamma):
    """Perturbation, weights and value of the worst mixture of -|delta - c_k|^2, by its dual.

    For given weights the best perturbation is the projection of the mean centre, so the dual is a
    convex function of the weights alone.
    """
    k = len(centres)

    def losses(delta):
        return -((delta - centres) ** 2).sum(1)

    def dual(w):
        g = losses(nearest(w @ centres, threat))
        return w @ g + gamma / 2 * ((w - 1 / k) ** 2).sum(), g + gamma * (w - 1 / k)

    found = minimize(
        dual, np.full(k, 1 / k), jac=True, method="SLSQP", bounds=[(0, 1)] * k,
        constraints={"type": "eq", "fun": lambda w: w.sum() - 1, "jac": lambda w: np.ones(k)},
        options={"ftol": 1e-15, "maxiter": 1000},
    )  # fmt: skip
    assert found.success or found.status == 8  # the line search is at the end of its precision
    return nearest(found.x @ centres, threat), found.x, found.fun


BALLS = [Linf(0.3), Linf(2.5), L2(0.4), L2(2.5), L1(0.6), L1(2.5)]
balls = pytest.mark.parametrize("threat", BALLS, ids=str)


def centres(seed=5, k=3, features=4):
    rng = torch.Generator().manual_seed(seed)
    return torch.randn(k, features, generator=rng, dtype=torch.float64) * 0.6


@balls
@pytest.mark.parametrize(("gamma", "beta"), [(3.0, 0.05), (3.0, inf), (0.5, 0.1), (0.0, 0.05)])
def test_the_saddle_of_quadratic_losses(threat, gamma, beta):
    """At gamma = 0, unconstrained, that is the smallest ball around the centres."""
    c = centres()
    domains = [near(row) for row in c]
    x = torch.tensor([[0.0] * 4, [0.4, -0.3, 0.2, 0.1]], dtype=torch.float64)
    step, steps = (0.2, 120) if gamma else (0.1, 250)  # without the pull, in narrowing circles
    attack = PGD(
        loss=MinMax(domains, gamma, beta, loss=second), rule="gradient", step_size=step,
        steps=steps, random_start=False,
    )  # fmt: skip
    found = attack(domains[0], x, torch.zeros(2, dtype=torch.int64), threat, box=WIDE, stop=False)
    for row in range(2):
        delta, w, value = saddle((c - x[row]).numpy(), threat, gamma)
        assert np.abs((found.points - x)[row].numpy() - delta).max() < 1e-3
        assert np.abs(found.weights[row].numpy() - w).max() < 1e-3
        assert abs(float(found.loss[row]) - value) < 1e-4


def test_two_centres_by_hand():
    """Centres at 0 and 1 on a line: with weights (1 - w, w) the best point is w.

    There -w^2 + gamma (1/2 - w) = -(1 - w)^2 - gamma (1/2 - w), so w = 1/2. Held below 0.3 by the
    ball, the far one is the harder by 0.4, and w = 1/2 + 0.4 / (2 gamma).
    """
    domains = [near(torch.tensor([c, 0.0], dtype=torch.float64)) for c in (0.0, 1.0)]
    loss = MinMax(domains, gamma=2.0, beta=0.1, loss=second)
    attack = PGD(loss=loss, rule="gradient", step_size=0.2, steps=150, random_start=False)
    x, y = torch.zeros(1, 2, dtype=torch.float64), torch.zeros(1, dtype=torch.int64)
    free = attack(domains[0], x, y, L2(2.0), box=WIDE, stop=False)
    assert np.allclose(free.points, [[0.5, 0]], atol=1e-6)
    assert np.allclose(free.weights, [[0.5, 0.5]], atol=1e-6)
    held = attack(domains[0], x, y, L2(0.3), box=WIDE, stop=False)
    assert np.allclose(held.points, [[0.3, 0]], atol=1e-6)
    assert np.allclose(held.weights, [[0.4, 0.6]], atol=1e-6)
    value = 0.4 * -0.09 + 0.6 * -0.49 + 2 * 0.01
    assert abs(float(held.loss) - value) < 1e-6


@pytest.mark.parametrize("threat", BALLS[::2], ids=str)
@pytest.mark.parametrize("gamma", [0.5, 3.0])
def test_apgd_comes_near_the_value_of_the_saddle(threat, gamma):
    c = centres()
    domains = [near(row) for row in c]
    x, y = torch.zeros(1, 4, dtype=torch.float64), torch.zeros(1, dtype=torch.int64)
    attack = APGD(loss=MinMax(domains, gamma, inf, loss=second), steps=200)
    found = attack(domains[0], x, y, threat, box=WIDE, stop=False)
    value = saddle(c.numpy(), threat, gamma)[2]
    assert value - 1e-2 < float(found.loss) <= value + 1e-9


@pytest.mark.parametrize("threat", [Linf(0.1), L2(0.2), L1(0.4)], ids=str)
@pytest.mark.parametrize("beta", [0.02, inf])
def test_the_saddle_of_linear_losses(threat, beta):
    """Margins of two-class linear models; the dual is convex in the one free weight."""
    domains, gamma = [Linear(seed, features=5) for seed in (3, 4)], 2.0
    x, y = data(3, 5, model=domains[0])
    attack = PGD(
        loss=MinMax(domains, gamma, beta, loss="margin"), rule="gradient", step_size=0.05,
        steps=250, random_start=False,
    )  # fmt: skip
    found = attack(domains[0], x, y, threat, box=WIDE, stop=False)
    q = {inf: 1, 2: 2, 1: inf}[threat.p]
    slopes = np.stack([(d.w[:, 1] - d.w[:, 0]).detach().numpy() for d in domains])
    w = np.linspace(0, 1, 200001)
    for row in range(3):
        own = slopes * (1 if y[row] == 0 else -1)
        at0 = own @ x[row].numpy()
        mixed = np.outer(1 - w, own[0]) + np.outer(w, own[1])
        dual = (1 - w) * at0[0] + w * at0[1] + threat.eps * np.linalg.norm(mixed, q, axis=1)
        dual += gamma * (w - 0.5) ** 2
        assert abs(float(found.loss[row]) - dual.min()) < 1e-5
        assert float(found.loss[row]) <= dual.min() + 1e-9  # no point is better than the saddle
        best = w[dual.argmin()]
        assert abs(float(found.weights[row, 1]) - best) < 1e-3
        if threat.p == 2:  # elsewhere it is not the gradient's direction
            delta = (1 - best) * own[0] + best * own[1]
            delta *= threat.eps / np.linalg.norm(delta)
            assert np.abs((found.points - x)[row].numpy() - delta).max() < 1e-3


# Ends of the range of gamma, and one domain


@pytest.mark.parametrize("gamma", [1e6, 1e9, inf])
@pytest.mark.parametrize(
    "attack", [PGD(steps=12), PGD(steps=12, rule="gradient", step_size=0.01), APGD(steps=12)],
    ids=["steepest", "gradient", "apgd"],
)  # fmt: skip
def test_a_large_gamma_is_the_average(attack, gamma):
    domains = [Linear(seed, classes=4) for seed in range(3)]
    x, y = data(6, classes=4)
    worst = replace(attack, loss=MinMax(domains, gamma, loss="ce"))
    mean = replace(attack, loss=Average(domains, loss="ce"))
    a = worst(domains[0], x, y, L2(0.3), stop=False)
    b = mean(domains[0], x, y, L2(0.3), stop=False)
    assert (a.points - b.points).abs().max() < 1e-4 * (1e6 / gamma) + 1e-6
    assert (a.loss - b.loss).abs().max() < 10 / gamma + 1e-6
    assert (a.weights - 1 / 3).abs().max() < 10 / gamma + 1e-12
    assert bool((b.path == 1 / 3).all())
    even = Fixed(domains, weights=(2.0, 2.0, 2.0), loss="ce")
    c = replace(attack, loss=even)(domains[0], x, y, L2(0.3), stop=False)
    torch.testing.assert_close(c.points, b.points, rtol=0, atol=1e-9)
    torch.testing.assert_close(c.loss, b.loss, rtol=0, atol=1e-9)


@one
@pytest.mark.parametrize("stop", [True, False])
def test_one_domain_is_the_plain_attack_bit_for_bit(attack, threat, stop):
    model = Linear(classes=4)
    x, y = data(5, classes=4, model=model)
    for loss in LOSSES:
        plain = replace(attack, loss=loss)(model, x, y, threat, stop=stop)
        for objective in (
            MinMax([model], loss=loss),
            MinMax([model], gamma=0.0, beta=inf, loss=loss),
            MinMax([model], loss=loss, toward="strong"),
            MinMax(loss=loss),
            Average([model], loss=loss),
            Fixed([model], weights=(3.0,), loss=loss),
        ):
            found = replace(attack, loss=objective)(model, x, y, threat, stop=stop)
            same(found, plain)
            assert bool((found.weights == 1).all())


def test_one_domain_of_a_search_without_gradients_softened_or_warped():
    x, y = data(4, features=36, classes=4)
    images = x.view(4, 1, 6, 6)
    model = nn.Sequential(Linear(features=36, classes=4), nn.ReLU())
    for attack, threat in (
        (Square(steps=12), Linf(0.1)),
        (PGD(steps=4, soften=0.3), Linf(0.1)),
        (PGD(steps=4), RotationTranslation(20, 1)),
    ):
        plain = replace(attack, loss="margin")(model, images, y, threat, stop=False)
        found = replace(attack, loss=MinMax([model], loss="margin"))
        same(found(model, images, y, threat, stop=False), plain)


def test_one_domain_with_targets():
    model = Linear(classes=4)
    x, y = data(10, classes=4, model=model)
    for loss in ("ce", "margin", "dlr"):
        attack = APGD(steps=6, targets=2, loss=loss)
        plain = attack(model, x, y, Linf(0.1))
        same(replace(attack, loss=MinMax([model], loss=loss))(model, x, y, Linf(0.1)), plain)


@one
def test_weights_on_the_first_alone_attack_the_first_alone(attack, threat):
    domains = [Linear(seed, classes=4) for seed in range(3)]
    x, y = data(6, classes=4)
    for loss in ("ce", "margin", "cw"):
        objective = Fixed(domains, weights=(2, 0, 0), loss=loss)
        found = replace(attack, loss=objective)(domains[0], x, y, threat, stop=False)
        plain = replace(attack, loss=loss)(domains[0], x, y, threat, stop=False)
        # Three times the rows: the last bit of a softmax hangs on how many there are.
        torch.testing.assert_close(found.points, plain.points, rtol=0, atol=1e-12)
        torch.testing.assert_close(found.loss, plain.loss, rtol=0, atol=1e-12)
        assert torch.equal(found.forwards, 3 * plain.forwards)


# Weights


def onto_simplex(b):
    low, high = b.min() - 1, b.max()
    for _ in range(200):
        middle = (low + high) / 2
        low, high = (middle, high) if np.maximum(b - middle, 0).sum() > 1 else (low, middle)
    return np.maximum(b - high, 0)


@pytest.mark.parametrize("toward", ["hard", "strong"])
@pytest.mark.parametrize(("gamma", "beta"), [(3.0, 0.02), (0.0, 0.1), (5.0, 0.15), (2.0, 0.0)])
def test_weights_follow_their_formula(gamma, beta, toward):
    models = [Linear(seed, classes=4) for seed in range(3)]
    x, y = data(5, classes=4)
    loss = MinMax(models, gamma, beta, loss="margin", toward=toward)
    step = 0.002
    attack = PGD(loss=loss, steps=12, rule="gradient", step_size=step)
    for model in models:
        model.asked.clear()
    found = attack(models[0], x, y, Linf(0.3), box=WIDE, stop=False)
    points = models[0].asked
    assert len(points) == 13
    assert all(torch.equal(a, b) for a, b in zip(points, models[2].asked, strict=True))
    w = np.full((5, 3), 1 / 3)
    sign = 1 if toward == "hard" else -1
    moved = 0.0
    for t, u in enumerate(points):
        runners, g = np.zeros((5, 3), int), np.zeros((5, 3))
        for k, model in enumerate(models):
            z = (u @ model.w).detach().numpy()
            for i in range(5):
                others = [c for c in range(4) if c != y[i]]
                runners[i, k] = max(others, key=lambda c: z[i, c])
                g[i, k] = z[i, runners[i, k]] - z[i, y[i]]
        if t:
            w = np.stack([onto_simplex(r) for r in w - beta * (sign * g + gamma * (w - 1 / 3))])
        assert np.abs(found.path[:, t].numpy() - w).max() < 1e-9
        moved = max(moved, np.abs(w - 1 / 3).max())
        if t < 12:  # the gradient is that at the new weights
            slope = np.zeros((5, 6))
            for k, model in enumerate(models):
                matrix = model.w.detach().numpy()
                slope += w[:, k : k + 1] * (matrix[:, runners[:, k]] - matrix[:, y.numpy()]).T
            ahead = np.clip(u.numpy() + step * slope, x.numpy() - 0.3, x.numpy() + 0.3)
            assert np.abs(points[t + 1].numpy() - ahead).max() < 1e-9
    assert (moved > 0.01) == (beta > 0)
    on_simplex(found.path, 1e-12)
    assert torch.equal(found.weights, found.path[:, -1])


def test_they_go_to_the_domain_that_is_hardest_to_fool():
    """Losses that never change: -0.5, -0.1 and -0.2; the weights end where the gradient is even."""
    models = [constant(0.5, 0.0), constant(0.1, 0.0), constant(0.2, 0.0)]
    x, y = data(2)
    y = torch.zeros_like(y)
    g = np.array([-0.5, -0.1, -0.2])
    for toward, sign in (("hard", 1), ("strong", -1)):
        for gamma, beta in ((2.0, 0.1), (2.0, inf), (2.0, 0.5), (0.3, 1.0), (0.0, 0.5), (0.0, inf)):
            loss = MinMax(models, gamma, beta, loss="margin", toward=toward)
            found = PGD(loss=loss, steps=70)(models[0], x, y, Linf(0.1), stop=False)
            ends = onto_simplex(1 / 3 - sign * g / max(gamma, 1e-9))
            assert np.abs(found.weights.numpy() - ends).max() < 1e-6
            value = ends @ g + sign * gamma / 2 * ((ends - 1 / 3) ** 2).sum()
            assert np.abs(found.loss.numpy() - value).max() < 1e-9
            if beta * gamma >= 1 or beta == inf:
                assert np.abs(found.path.numpy() - ends).max() < 1e-9
        assert int(np.argmax(ends)) == (0 if toward == "hard" else 1)


def test_strong_stops_at_one_domain_that_is_fooled_and_hard_at_all():
    wrong, right = constant(0.0, 1.0), constant(1.0, 0.0)
    x, y = data(2)[0], torch.zeros(2, dtype=torch.int64)
    for toward, fooled in (("strong", True), ("hard", False)):
        loss = MinMax([wrong, right], toward=toward)
        found = PGD(loss=loss, steps=3)(right, x, y, Linf(0.1))
        assert found.fooled.tolist() == [fooled] * 2
        assert found.forwards.tolist() == [2 if fooled else 8] * 2


def test_strong_stops_at_one_image_of_a_group_and_hard_at_all():
    model = constant(1.0, 0.0)
    x, y = data(4)[0].view(2, 2, 6), torch.tensor([[0, 1], [0, 0]])
    for toward, fooled, cost in (("strong", [True, False], [2, 8]), ("hard", [False] * 2, [8, 8])):
        loss = MinMax([model], toward=toward)
        found = PGD(loss=loss, steps=3)(model, x, y, Shared(Linf(0.1)))
        assert found.fooled.tolist() == fooled
        assert found.forwards.tolist() == cost


def test_the_step_of_a_group_weighs_its_images_in_their_order():
    """Of linear margins: the images of the first domain come first, then those of the second."""
    models, w = [Linear(0), Linear(1)], torch.tensor([1.0, 2, 3, 4, 5, 6]) / 21
    x, y = data(6)
    x, y = x.view(2, 3, 6), torch.tensor([[0, 1, 0], [1, 1, 0]])
    attack = PGD(
        loss=Fixed(models, weights=w.tolist(), loss="margin"), steps=1, rule="gradient",
        step_size=0.01, random_start=False,
    )  # fmt: skip
    for model in models:
        model.asked.clear()
    found = attack(models[0], x, y, Shared(Linf(0.3)), box=WIDE, stop=False)
    last = models[1].asked[-1].view(2, 3, 6)
    slopes = torch.stack([(m.w[:, 1] - m.w[:, 0]).detach() for m in models])
    signs = 1 - 2 * y.double()
    step = 0.01 * torch.einsum("dm,gm,df->gf", w.view(2, 3).double(), signs, slopes)
    torch.testing.assert_close(last, x + step.unsqueeze(1), rtol=0, atol=1e-9)
    assert found.weights.shape == (2, 6)
    each = [LOSSES["margin"](m(found.points.flatten(0, 1)), y.flatten()) for m in models]
    value = (torch.stack([g.view(2, 3) for g in each], 1).flatten(1) * w).sum(1)
    torch.testing.assert_close(found.loss, value, rtol=0, atol=1e-6, check_dtype=False)


@pytest.mark.parametrize("stop", [True, False])
@pytest.mark.parametrize("toward", ["hard", "strong"])
def test_neither_batch_nor_order_matters(stop, toward):
    loss = several(toward)
    attack, model = PGD(loss=loss, steps=9), loss.parts[0].model
    x, y = data(14, classes=4, model=model)
    whole = attack(model, x, y, L2(0.2), stop=stop, batch_size=64)
    assert 0 < int(whole.fooled.sum()) < 14
    assert bool(whole.path.isnan().any()) == stop
    for size in (1, 4, 12):
        parts = attack(model, x, y, L2(0.2), stop=stop, batch_size=size)
        torch.testing.assert_close(parts.points, whole.points, rtol=0, atol=1e-12)
        torch.testing.assert_close(parts.path, whole.path, rtol=0, atol=1e-12, equal_nan=True)
        torch.testing.assert_close(parts.weights, whole.weights, rtol=0, atol=1e-12)
        assert torch.equal(parts.forwards, whole.forwards)
    order = torch.randperm(14, generator=torch.Generator().manual_seed(2))
    mixed = attack(model, x[order], y[order], L2(0.2), stop=stop, ids=order)
    torch.testing.assert_close(mixed.points, whole.points[order], rtol=0, atol=1e-12)
    path = whole.path[order]
    torch.testing.assert_close(mixed.path, path, rtol=0, atol=1e-12, equal_nan=True)
    assert torch.equal(mixed.forwards, whole.forwards[order])


@pytest.mark.parametrize("gamma", [0.5, 2.0])
def test_several_domains_and_threats_at_once_by_hand(gamma):
    """Two domains, a perturbation for each of two threats: a least value inside a largest one."""
    g = torch.tensor([[1.0, 0.2, 0.7, 0.6], [0.1, 0.9, 0.15, 0.3]], dtype=torch.float64)
    loss = MinMax([constant(0.0), constant(1.0)], gamma=gamma, beta=inf, toward="strong")
    state = Weighing(
        w=torch.full((2, 4), 0.25, dtype=torch.float64), seen=torch.ones(2, dtype=torch.int64),
        draws=Draws.of(0, torch.arange(2)),
    )  # fmt: skip
    value, w = loss.weigh(state, g)

    def least(a, b):
        """Of w a + (1 - w) b + gamma ((w - 1/2)^2): the weight of the first, and the value."""
        first = min(1.0, max(0.0, 0.5 - (a - b) / (2 * gamma)))
        return first, first * a + (1 - first) * b + gamma * (first - 0.5) ** 2

    for row in range(2):
        # Columns are (domain, threat): the domains of a threat lie two apart.
        inner = [least(float(g[row, t]), float(g[row, t + 2])) for t in (0, 1)]
        first, lower = least(-inner[0][1], -inner[1][1])
        assert float(value[row]) == pytest.approx(-lower)
        expected = [
            first * inner[0][0], (1 - first) * inner[1][0], first * (1 - inner[0][0]),
            (1 - first) * (1 - inner[1][0]),
        ]  # fmt: skip
        assert w[row].tolist() == pytest.approx(expected)
        assert (inner[0][1] > inner[1][1]) == (first > 0.5)
