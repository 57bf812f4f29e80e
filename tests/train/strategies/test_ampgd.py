"""AMPGD: weights per example, kept, restored, moved towards the strongest threat."""

from dataclasses import replace
from math import inf

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

import hauberk as hb
from hauberk.attacks import PGD
from hauberk.maths.simplex import project_simplex
from hauberk.threats import Box, Each, Shared, Union
from hauberk.train.strategies.ampgd import AMPGD
from hauberk.train.strategies.base import Batch
from hauberk.victims.victim import Victim

BOX = Box(-3.0, 3.0)
CPU = torch.device("cpu")


class Constant(nn.Module):
    def __init__(self):
        super().__init__()
        self.bias = nn.Parameter(torch.tensor([0.3, -0.2], dtype=torch.float64))

    def forward(self, x):
        return self.bias + 0 * x.flatten(1).sum(1, keepdim=True)


def linear(features=5, seed=0):
    torch.manual_seed(seed)
    return nn.Sequential(nn.Flatten(), nn.Linear(features, 2)).double()


def data(n=7, features=5, seed=1):
    rng = torch.Generator().manual_seed(seed)
    x = 2 * torch.rand(n, features, generator=rng, dtype=torch.float64) - 1
    return x, torch.randint(2, (n,), generator=rng)


def batch(model, x, y, *, ids=None, box=BOX, size=None, step=0):
    ids = torch.arange(len(x)) if ids is None else ids
    victim = Victim(model, size)
    return Batch(
        model=model, victim=victim, x=x, y=y, ids=ids, step=step, epoch=0, progress=0.0, seed=0,
        box=box,
    )  # fmt: skip


def by_hand(model, x, y, threats, w, steps, shares, beta, gamma):
    """The alternating steps from the clean inputs, written out; weights and last losses."""
    regions = [threat.at(x, BOX) for threat in threats]
    points = [x.clone() for _ in threats]
    for t in range(steps + 1):
        points = [p.detach().requires_grad_(True) for p in points]
        each = torch.stack([F.cross_entropy(model(p), y, reduction="none") for p in points], 1)
        if t > 0:
            even = 1 / len(threats)
            w = project_simplex(w + beta * (each.detach() - gamma * (w - even)))
        if t < steps:
            grads = torch.autograd.grad(each.sum(), points)
            moved = [
                region.ascent(p.detach(), g, region.eps * share, x.new_ones(len(x)))
                for region, p, g, share in zip(regions, points, grads, shares, strict=True)
            ]
            points = [r.project_(p) for r, p in zip(regions, moved, strict=True)]
    return w, each.detach()


@pytest.mark.parametrize(("beta", "gamma"), [(0.3, 1.0), (0.3, 0.0), (0.02, 3.0)])
def test_weights_and_loss_are_those_of_the_alternating_steps(beta, gamma):
    model, (x, y) = linear(), data()
    threats = [hb.Linf(0.2), hb.L2(0.3), hb.L1(0.9)]
    shares = [0.4, 0.3, 0.5]
    strategy = AMPGD(
        Union(*threats),
        steps=5,
        beta=beta,
        gamma=gamma,
        order="alternate",
        step_shares=shares,
        share_moved=1.0,
        random_start=False,
    )
    ids = torch.tensor([3, 9, 0, 5, 8, 2, 6])
    tables = strategy.begin(11, CPU)
    first = project_simplex(torch.rand(11, 3, generator=torch.Generator().manual_seed(4)))
    tables["w"] = first.clone()
    # Slots for fewer examples than the batch has: rows come in parts, and later than others.
    found = strategy.loss(batch(model, x, y, ids=ids, size=2), tables)
    w0 = first[ids].double()
    w, each = by_hand(model, x, y, threats, w0, 5, shares, beta, gamma)
    torch.testing.assert_close(tables["w"][ids].double(), w, rtol=0, atol=1e-6)
    torch.testing.assert_close(found.value, (w * each).sum(1).mean(), rtol=1e-6, atol=0)
    others = torch.tensor([1, 4, 7, 10])
    assert torch.equal(tables["w"][others], first[others])
    for k, threat in enumerate(threats):
        assert float(found.logs[f"weight {threat}"]) == pytest.approx(float(w[:, k].mean()))


class Printed:
    """Wang et al. 2021, supplement C, written out in numpy: a network of tanh units, three balls.

    The balls are linf, l2 and l1 around ``x``, cut by a box; projections are found by bisection.
    """

    def __init__(self, net, x, y, sizes, box):
        hidden, out = net[1], net[3]
        self.w1, self.b1 = (t.detach().numpy() for t in (hidden.weight, hidden.bias))
        self.w2, self.b2 = (t.detach().numpy() for t in (out.weight, out.bias))
        self.x, self.y, self.sizes, self.box = x.numpy(), y.numpy(), sizes, box

    def loss(self, points):
        """Cross-entropy ``(n,)`` and its gradient ``(n, d)``."""
        units = np.tanh(points @ self.w1.T + self.b1)
        logits = units @ self.w2.T + self.b2
        p = np.exp(logits - logits.max(1, keepdims=True))
        p /= p.sum(1, keepdims=True)
        own = np.arange(len(points)), self.y
        loss, slope = -np.log(p[own]), p.copy()
        slope[own] -= 1
        return loss, ((slope @ self.w2) * (1 - units**2)) @ self.w1

    def inside(self, k, points):
        """The nearest points of the k-th ball and the box, row by row."""
        low, high = self.box[0] - self.x, self.box[1] - self.x
        delta = points - self.x
        if k == 0:
            return self.x + np.clip(np.clip(delta, low, high), -self.sizes[0], self.sizes[0])

        def at(price):
            if k == 1:
                return np.clip(delta / (1 + price), low, high)
            return np.clip(np.sign(delta) * np.maximum(np.abs(delta) - price, 0), low, high)

        def size(d):
            return np.abs(d).sum(1) if k == 2 else np.sqrt((d**2).sum(1))

        small, large = np.zeros((len(delta), 1)), np.full((len(delta), 1), 1e4)
        for _ in range(200):
            middle = (small + large) / 2
            out = (size(at(middle)) > self.sizes[k])[:, None]
            small, large = np.where(out, middle, small), np.where(out, large, middle)
        over = (size(at(0.0)) > self.sizes[k])[:, None]
        return self.x + np.where(over, at(large), at(0.0))

    @staticmethod
    def simplex(w):
        low, high = w.min(1, keepdims=True) - 1, w.max(1, keepdims=True)
        for _ in range(200):
            middle = (low + high) / 2
            more = np.maximum(w - middle, 0).sum(1, keepdims=True) > 1
            low, high = np.where(more, middle, low), np.where(more, high, middle)
        return np.maximum(w - high, 0)

    def run(self, w, order, rule, steps, beta, gamma, shares):
        """The last weights (n, K), points (K, n, d) and the loss that is trained on."""
        n, kinds = len(self.x), range(len(self.sizes))
        points = [self.x.copy() for _ in kinds]

        def ascended(w, losses):
            return self.simplex(w + beta * (losses - gamma * (w - 1 / len(self.sizes))))

        for _ in range(steps):
            found = [self.loss(p) for p in points]
            losses = np.stack([loss for loss, _ in found], 1)
            moved = []
            for k, (_, grad) in enumerate(found):
                if rule == "gradient":
                    step = beta * w[:, k : k + 1] * grad
                elif k == 0:
                    step = shares[k] * self.sizes[k] * np.sign(grad)
                else:
                    length = np.sqrt((grad**2).sum(1, keepdims=True))
                    step = shares[k] * self.sizes[k] * grad / length
                moved.append(self.inside(k, points[k] + step))
            if order == "together":
                w = ascended(w, losses)
            points = moved
            if order == "alternate":
                w = ascended(w, np.stack([self.loss(p)[0] for p in points], 1))
        losses = np.stack([self.loss(p)[0] for p in points], 1)
        return w, np.stack(points), (w * losses).sum(1).sum() / n


@pytest.mark.parametrize(("beta", "gamma"), [(0.3, 1.0), (0.5, 0.0), (0.1, 4.0)])
@pytest.mark.parametrize("rule", ["steepest", "gradient"])
@pytest.mark.parametrize("order", ["together", "alternate"])
def test_both_orders_are_the_printed_steps(order, rule, beta, gamma):
    torch.manual_seed(3)
    model = nn.Sequential(nn.Flatten(), nn.Linear(6, 5), nn.Tanh(), nn.Linear(5, 3)).double()
    with torch.no_grad():
        for p in model.parameters():
            p.mul_(2.5)
    rng = torch.Generator().manual_seed(5)
    x = torch.rand(9, 6, generator=rng, dtype=torch.float64)
    y = torch.randint(3, (9,), generator=rng)
    # Raw steps of beta are short: small balls, so that projections take part.
    sizes = (0.06, 0.3, 0.5) if rule == "gradient" else (0.2, 0.4)
    threats = [hb.Linf(sizes[0]), hb.L2(sizes[1]), *map(hb.L1, sizes[2:])]
    shares = None if rule == "gradient" else (0.4, 0.3)
    strategy = AMPGD(
        Union(*threats), steps=7, beta=beta, gamma=gamma, order=order, rule=rule,
        step_shares=shares, random_start=False,
    )  # fmt: skip
    w0 = project_simplex(torch.rand(9, len(sizes), generator=rng, dtype=torch.float64))
    printed = Printed(model, x, y, sizes, (0.0, 1.0))
    w, points, loss = printed.run(w0.numpy(), order, rule, 7, beta, gamma, shares)
    # Fewer slots than examples: rows come in parts, and later than others.
    run = batch(model, x, y, box=Box(), size=4)
    found = run.attack(strategy.attack(w0), Each(strategy.threat))
    np.testing.assert_allclose(found.weights, w, rtol=0, atol=1e-8)
    np.testing.assert_allclose(found.points.transpose(0, 1), points, rtol=0, atol=1e-8)
    tables = {"w": w0.clone()}
    assert strategy.loss(run, tables).value.item() == pytest.approx(loss, abs=1e-8)
    np.testing.assert_allclose(tables["w"], w, rtol=0, atol=1e-8)
    # The orders differ by far more than that, or the comparison would say nothing.
    other = {"together": "alternate", "alternate": "together"}[order]
    assert np.abs(printed.run(w0.numpy(), other, rule, 7, beta, gamma, shares)[0] - w).max() > 1e-4


class Bowl(nn.Module):
    """Loss that is largest at 0.5: steps that overshoot end below their best."""

    def forward(self, x):
        z = 4 - 40 * (x.flatten(1) - 0.5).square().sum(1, keepdim=True)
        return torch.cat([-z, z], 1)


@pytest.mark.parametrize("order", ["together", "alternate"])
def test_weights_and_perturbations_that_are_trained_on_are_one_iterate(order):
    x, y = torch.full((1, 1), 0.42, dtype=torch.float64), torch.zeros(1, dtype=torch.int64)
    threats = [hb.Linf(0.3), hb.L2(0.2)]
    strategy = AMPGD(
        Union(*threats), steps=3, beta=0.4, gamma=0.5, order=order, step_shares=(0.5, 0.3),
        random_start=False,
    )  # fmt: skip
    run = batch(Bowl(), x, y, box=Box())
    found = run.attack(strategy.attack(x.new_full((1, 2), 0.5)), Each(strategy.threat))
    # linf by 0.15: 0.42 0.57 0.42 0.57; l2 by 0.06: 0.42 0.48 0.54 0.48. Largest mean: step 1 or 3.
    np.testing.assert_allclose(found.points.flatten(), [0.57, 0.48], atol=1e-9)
    assert found.path.shape[1] == 4
    assert torch.equal(found.path[:, -1], found.weights)
    last = F.cross_entropy(Bowl()(found.points.view(2, 1)), y.repeat(2), reduction="none")
    tables = {"w": x.new_full((1, 2), 0.5)}
    value = strategy.loss(run, tables).value
    assert torch.equal(tables["w"], found.weights)
    torch.testing.assert_close(value, (found.weights * last).sum())


def test_an_order_or_a_rule_that_is_none_is_refused():
    with pytest.raises(hb.InputError, match="together or alternate"):
        AMPGD(hb.Linf(0.1), order="first")
    with pytest.raises(hb.InputError, match="steepest or gradient"):
        AMPGD(hb.Linf(0.1), rule="newton")
    for wrong in ({"beta": 0.0}, {"beta": inf}, {"step_shares": (0.1,)}):
        with pytest.raises(hb.InputError, match="finite beta above 0"):
            AMPGD(hb.Linf(0.1), rule="gradient", **wrong)


def test_weights_go_to_the_strongest_threat():
    model, (x, y) = linear(), data()
    strategy = AMPGD(
        Union(hb.Linf(0.02), hb.Linf(0.3), hb.L2(0.05)),
        steps=4,
        beta=0.2,
        gamma=0.0,
        random_start=False,
    )
    tables = strategy.begin(len(x), CPU)
    assert torch.equal(tables["w"], torch.full((7, 3), 1 / 3))
    before = tables["w"][:, 1].clone()
    for step in range(40):
        strategy.loss(batch(model, x, y, step=step), tables)
        w = tables["w"]
        assert bool((w >= 0).all())
        torch.testing.assert_close(w.sum(1), torch.ones(7))
        assert bool((w[:, 1] >= before - 1e-6).all())
        before = w[:, 1].clone()
    torch.testing.assert_close(tables["w"][:, 1], torch.ones(7))


def test_weights_begin_where_the_last_visit_left_them():
    # Equal losses everywhere: each step takes the weights nearer to equal ones by beta gamma.
    model, (x, y) = Constant(), data()
    strategy = AMPGD(Union(hb.Linf(0.1), hb.L2(0.2)), steps=3, beta=0.25, gamma=0.8)
    tables = {"w": torch.tensor([[0.9, 0.1]]).repeat(7, 1)}
    for visit in (1, 2):
        strategy.loss(batch(model, x, y, step=visit), tables)
        away = 0.4 * (1 - 0.25 * 0.8) ** (3 * visit)
        torch.testing.assert_close(tables["w"][:, 0], torch.full((7,), 0.5 + away))


def test_a_threat_without_weight_still_moves():
    model, (x, y) = linear(), data()
    threats = [hb.Linf(0.2), hb.L2(0.4)]
    strategy = AMPGD(Union(*threats), steps=3, beta=0.0, gamma=0.0, step_shares=(1.0, 1.0))
    w = torch.tensor([[1.0, 0.0]]).repeat(7, 1).double()
    found = strategy.attack(w)(model, x, y, Each(strategy.threat), box=BOX, stop=False)
    assert torch.equal(found.weights, w)
    for k, threat in enumerate(threats):
        # A linear model: one full step is the worst point, on the threat's edge.
        torch.testing.assert_close(
            threat.distance(x, found.points[:, k]), x.new_full((7,), threat.eps)
        )


def test_one_threat_is_plain_adversarial_training():
    model, (x, y) = linear(), data()
    threat = hb.L2(0.4)
    strategy = AMPGD(threat, steps=6, step_shares=(0.1,), random_start=False)
    found = strategy.loss(batch(model, x, y), strategy.begin(7, CPU))
    pgd = PGD(steps=6, step_share=0.1, random_start=False)
    points = pgd(model, x, y, threat, box=BOX, stop=False).points
    assert bool(threat.contains(x, points, box=BOX).all())
    torch.testing.assert_close(found.value, F.cross_entropy(model(points), y))


def test_an_infinite_gamma_is_the_average_over_the_threats():
    model, (x, y) = linear(), data()
    threats = [hb.Linf(0.2), hb.L2(0.4), hb.L1(0.5)]
    strategy = AMPGD(Union(*threats), steps=6, gamma=inf, random_start=False)
    tables = strategy.begin(7, CPU)
    found = strategy.loss(batch(model, x, y), tables)
    losses = []
    for part, share in zip(threats, strategy.shares, strict=True):
        pgd = PGD(steps=6, step_share=share, random_start=False, share=strategy.share_moved)
        points = pgd(model, x, y, part, box=BOX, stop=False).points
        losses.append(F.cross_entropy(model(points), y))
    torch.testing.assert_close(found.value, torch.stack(losses).mean())
    torch.testing.assert_close(tables["w"], torch.full((7, 3), 1 / 3))


def test_the_gradient_is_that_of_the_weighted_loss():
    model, (x, y) = linear(), data()
    strategy = AMPGD(Union(hb.Linf(0.1), hb.L2(0.4)), steps=3, beta=0.5)
    tables = strategy.begin(7, CPU)
    run = batch(model, x, y)
    found = run.attack(strategy.attack(tables["w"]), Each(strategy.threat))
    loss = strategy.loss(run, tables)
    got = torch.autograd.grad(loss.value, list(model.parameters()))
    by_threat = [F.cross_entropy(model(found.points[:, k]), y, reduction="none") for k in range(2)]
    want = (found.weights * torch.stack(by_threat, 1)).sum(1).mean()
    torch.testing.assert_close(got, torch.autograd.grad(want, list(model.parameters())))


def test_passes_are_those_that_are_told():
    model, (x, y) = linear(), data()
    strategy = AMPGD(Union(hb.Linf(0.1), hb.L2(0.4), hb.L1(1.0)), steps=4)
    run = batch(model, x, y)
    tables = strategy.begin(7, CPU)
    loss = strategy.loss(run, tables)
    assert (run.victim.forwards, run.victim.backwards) == (7 * 3 * 5, 7 * 3 * 4)
    assert (loss.forwards, loss.backwards) == (7 * 3, 7 * 3)


def test_an_empty_batch_has_no_loss():
    model, (x, y) = linear(), data()
    strategy = AMPGD(Union(hb.Linf(0.1), hb.L2(0.4)), steps=2)
    loss = strategy.loss(batch(model, x[:0], y[:0]), strategy.begin(3, CPU))
    loss.value.backward()
    assert loss.value.item() == 0


def test_threats_grow_and_a_clean_share_is_mixed_in():
    model, (x, y) = linear(), data()
    threats = Union(hb.Linf(0.2), hb.L2(0.4))
    options = {"steps": 3, "beta": 0.3, "random_start": False}
    clean = F.cross_entropy(model(x), y)
    run = replace(batch(model, x, y), progress=0.25)

    def loss(threat, now=run, **more):
        strategy = AMPGD(threat, **options, **more)
        return strategy.loss(now, strategy.begin(7, CPU)).value

    half = loss(threats.scaled(0.5))
    torch.testing.assert_close(loss(threats, grow=0.5), half)
    torch.testing.assert_close(loss(threats, grow=0.5, clean=0.25), 0.75 * half + 0.25 * clean)
    torch.testing.assert_close(loss(threats, replace(run, progress=0.0), grow=0.5), clean)


def test_default_steps_are_the_papers_and_long_enough():
    threats = [hb.Linf(0.3), hb.L2(2.0), hb.L1(10.0)]
    assert AMPGD(Union(*threats)).shares == pytest.approx([1 / 30, 1 / 20, 0.08])
    assert AMPGD(Union(*threats), steps=10).shares == pytest.approx([0.125] * 3)
    assert AMPGD(Union(*threats), steps=1).shares == [1.0] * 3


def test_training_lowers_the_loss_that_it_minimises():
    rng = torch.Generator().manual_seed(0)
    y = torch.arange(90) % 3
    centres = torch.tensor([[0.2, 0.2, 0.8], [0.8, 0.2, 0.2], [0.2, 0.8, 0.2]])
    x = (centres[y] + 0.08 * torch.randn(90, 3, generator=rng)).clamp(0, 1)
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 16), nn.ReLU(), nn.Linear(16, 3))
    strategy = AMPGD(Union(hb.Linf(0.1), hb.L2(0.15)), steps=3)
    tables = strategy.begin(90, CPU)
    optimiser = torch.optim.Adam(model.parameters(), lr=0.02)
    losses = []
    for step in range(40):
        ids = torch.randperm(90, generator=rng)[:30]
        loss = strategy.loss(
            batch(model, x[ids], y[ids], ids=ids, box=Box(), step=step), tables
        ).value
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    assert losses[-1] < 0.5 * losses[0]


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: AMPGD(Union()), "at least one"),
        (lambda: AMPGD(Union(hb.Linf(0.1), hb.Linf(0.1))), "named twice"),
        (lambda: AMPGD(Union(hb.Linf(0.1), Shared(hb.L2(0.1)))), "groups"),
        (lambda: AMPGD(Union(hb.Linf(0.1)), step_shares=(0.1, 0.2)), "one each"),
        (lambda: AMPGD(Union(hb.Linf(0.1)), step_shares=(0.0,)), "more than 0"),
        (lambda: AMPGD(Union(hb.Linf(0.1)), gamma=-1), "gamma"),
        (lambda: AMPGD(Union(hb.Linf(0.1)), beta=-1), "beta"),
        (lambda: AMPGD(Union(hb.Linf(0.1)), steps=0), "steps"),
        (lambda: AMPGD(Union(hb.Linf(0.1)), share_moved=0.0), "share"),
    ],
)
def test_what_cannot_be_trained_on_is_refused(make, says):
    with pytest.raises(hb.InputError, match=says):
        make()


def test_the_configuration_tells_all_of_it():
    described = AMPGD(Union(hb.Linf(0.1), hb.L2(1.0)), steps=3).describe()
    assert described["strategy"] == "AMPGD"
    assert described["threat"] == "linf:0.1 | l2:1"
    assert (described["steps"], described["beta"], described["gamma"]) == (3, 1 / 50, 1.0)
    assert (described["order"], described["rule"]) == ("together", "steepest")


class Peak(nn.Module):
    """Label 0 loses most at 0.62, beside the steps."""

    def __init__(self):
        super().__init__()
        self.height = nn.Parameter(torch.tensor(30.0, dtype=torch.float64))

    def forward(self, x):
        away = (x.flatten(1)[:, 0] - 0.62).square()
        return torch.stack([self.height * away, 0 * away], 1)


@pytest.mark.parametrize("order", ["together", "alternate"])
def test_the_last_iterate_counts_not_the_best(order):
    """From 0.5 in steps of 0.1 to 0.6, where the loss is largest, and on to 0.7."""
    threat = hb.Linf(0.2) | hb.L2(0.2)
    strategy = AMPGD(threat, steps=2, step_shares=(0.5, 0.5), random_start=False, order=order)
    x, y = torch.full((1, 1), 0.5, dtype=torch.float64), torch.tensor([0])
    attack = strategy.attack(torch.full((1, 2), 0.5))
    found = attack(Peak(), x, y, Each(hb.Linf(0.2), hb.L2(0.2)), stop=False)
    torch.testing.assert_close(found.points, torch.full((1, 2, 1), 0.7, dtype=torch.float64))
