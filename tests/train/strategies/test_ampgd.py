"""AMPGD: weights per example, kept, restored, moved towards the strongest threat."""

from dataclasses import replace
from math import inf

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
