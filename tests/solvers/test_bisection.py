"""Bisection over the radius: levels, slots that begin at different times, and warm starts."""

from dataclasses import replace
from math import inf

import pytest
import torch
from helpers import data
from helpers.models import Constant
from torch import nn

from hauberk import InputError
from hauberk.attacks import APGD, PGD, SPSA
from hauberk.engine.state import Answer, BestSoFar, Clock
from hauberk.engine.stepper import record, respond
from hauberk.maths.norms import norm
from hauberk.maths.rng import Draws
from hauberk.objectives.problem import Problem
from hauberk.solvers.bisection import Bisection
from hauberk.threats import Box, Metric

P = {"l0": 0, "l1": 1, "l1.5": 1.5, "l2": 2, "linf": inf}
FREE = (-50.0, 50.0)


def inputs(n=6, shape=(6,), dtype=torch.float64):
    return data.inputs(n, shape, box=(-1.0, 1.0), dtype=dtype)


class Plane(nn.Module):
    """Two classes either side of a hyperplane; dual norms give the radius in closed form."""

    def __init__(self, features=6, dtype=torch.float64):
        super().__init__()
        rng = torch.Generator().manual_seed(0)
        weight = torch.randn(features, generator=rng, dtype=torch.float64)
        self.weight = nn.Parameter(weight.to(dtype))

    def forward(self, x):
        z = x.flatten(1) @ self.weight
        return torch.stack((z, -z), 1)

    def radius(self, x, p):
        q = {1: inf, inf: 1}.get(p) or p / (p - 1)
        z = (x.flatten(1) @ self.weight).double().abs()
        return (z / norm(self.weight.double()[None], q)).detach()


class Bent(nn.Module):
    """A small network whose boundaries are bent, so that slots go different ways."""

    def __init__(self, classes=3):
        super().__init__()
        torch.manual_seed(3)
        self.net = nn.Sequential(
            nn.Flatten(), nn.Linear(6, 16), nn.Tanh(), nn.Linear(16, classes)
        ).double()

    def forward(self, x):
        # Sums row by row: a matrix product rounds by the size of the batch, and a search that has
        # converged decides by the last bit.
        x = (3 * x).flatten(1)
        for layer in (self.net[1], self.net[3]):
            x = (x.unsqueeze(1) * layer.weight).sum(2) + layer.bias
            x = torch.tanh(x) if layer is self.net[1] else x
        return x


FIRST = [(m, f) for m in ("l1", "l2", "linf") for f in (0.1, 2.0, 50.0)] + [("l1.5", 2.0)]


@pytest.mark.parametrize(("metric", "first"), FIRST)
def test_the_radius_of_a_hyperplane_whatever_the_first_ball(metric, first):
    model, x = Plane(), inputs()
    y = model(x).argmax(1)
    true = model.radius(x, P[metric])
    solver = Bisection(attack=APGD(steps=8), levels=14, first=first)
    found = solver(model, x, y, metric, box=FREE)
    assert found.fooled.all()
    assert (found.distance >= true * (1 - 1e-9)).all()
    assert (found.distance <= true * 1.05).all(), found.distance / true


@pytest.mark.parametrize("metric", ["l1", "l2", "linf"])
def test_more_levels_are_never_worse_and_close_in(metric):
    model, x = Plane(), inputs()
    y = model(x).argmax(1)
    true, before = model.radius(x, P[metric]), torch.full((6,), inf, dtype=torch.float64)
    for levels in (1, 3, 6, 12):
        found = Bisection(attack=APGD(steps=10), levels=levels)(model, x, y, metric, box=FREE)
        assert (found.distance <= before * (1 + 1e-12)).all()
        before = found.distance
    assert (before <= true * 1.02).all()


@pytest.mark.parametrize("metric", ["l0", "l1", "l2", "linf"])
@pytest.mark.parametrize("attack", [APGD(steps=6), PGD(steps=6)], ids=lambda a: type(a).__name__)
@pytest.mark.parametrize("targets", [0, 2])
def test_seats_that_join_late_find_what_one_batch_finds(metric, attack, targets):
    model, x = Bent(), inputs(7)
    y = model(x).argmax(1)
    y[2] = (y[2] + 1) % 3  # wrong from the start
    solver = Bisection(attack=attack, levels=5, targets=targets)
    whole = solver(model, x, y, metric, box=(-1, 1), seed=2)
    assert whole.distance[2] == 0
    for size in (1, 2, 3):
        parts = solver(model, x, y, metric, box=(-1, 1), seed=2, batch_size=size)
        torch.testing.assert_close(parts.distance, whole.distance, rtol=1e-3, atol=1e-12)
        assert torch.equal(parts.fooled, whole.fooled)
        assert torch.equal(parts.forwards, whole.forwards)
    rows = torch.tensor([5, 0])
    some = solver(model, x[rows], y[rows], metric, box=(-1, 1), seed=2, ids=rows)
    torch.testing.assert_close(some.distance, whole.distance[rows], rtol=1e-3, atol=1e-12)


@pytest.mark.parametrize("metric", ["l0", "l1", "l2", "linf"])
@pytest.mark.parametrize("attack", [APGD(steps=4), PGD(steps=4)], ids=lambda a: type(a).__name__)
@pytest.mark.parametrize("late", [3, 5, 7, 10])
def test_slots_may_join_others_that_are_under_way(metric, attack, late):
    model, x = Bent(), inputs(5)
    y = model(x).argmax(1)
    solver = Bisection(attack=attack, levels=4)
    alone = solver(model, x, y, metric, box=(-1, 1))

    def problem(rows):
        region = Metric(P[metric]).at(x[rows], Box(-1.0, 1.0))
        return Problem(region=region, y=y[rows], target=None, draws=Draws.of(0, rows, 0, 0))

    def step(asked, state, clock, best):
        u, labels = state.u.detach().requires_grad_(True), asked.y
        z = model(u)
        own = z.gather(1, labels[:, None]).squeeze(1)
        loss = z.scatter(1, labels[:, None], -inf).amax(1) - own
        (grad,) = torch.autograd.grad(loss.sum(), u)
        loss = loss.detach()
        answer = Answer(loss=loss, fooled=loss >= 0)
        answer.gradient = grad if solver.wants_gradient(clock) else None
        response = respond(answer, clock, best)
        record(solver, asked, state, response)
        over = solver.finished(state, response)
        state = solver.step(asked, state, response)
        clock.tick()
        return state, over

    first, then = torch.tensor([0, 1, 2]), torch.tensor([3, 4])
    asked = problem(first)
    state = solver.init(asked)
    clock, best = Clock.zero(3), BestSoFar.none(state.u)
    for _ in range(late):
        state, _ = step(asked, state, clock, best)
    new = problem(then)
    begun = solver.init(new)
    asked, state = asked.join(new), state.join(begun)
    clock, best = clock.join(Clock.zero(2)), best.join(BestSoFar.none(begun.u))
    found = torch.full((5,), inf, dtype=torch.float64)
    for _ in range(4 * 5 + 1):
        state, over = step(asked, state, clock, best)
        if over is not None:
            done = torch.from_numpy(over)
            found[:3] = torch.where(done[:3] & found[:3].isinf(), -best.loss[:3], found[:3])
    found[3:] = -best.loss[3:]
    torch.testing.assert_close(found, alone.distance, rtol=1e-3, atol=1e-12)


@pytest.mark.parametrize("restarts", [1, 3])
@pytest.mark.parametrize("attack", [APGD(steps=5), PGD(steps=4)], ids=lambda a: type(a).__name__)
def test_passes_are_no_more_than_said(restarts, attack):
    for model in (Constant(1.0, 0.0), Bent(2)):
        x = inputs(4)
        y = torch.zeros(4, dtype=torch.long)
        solver = Bisection(attack=attack, levels=4, restarts=restarts)
        found = solver(model, x, y, "l2", box=(-1, 1), batch_size=3)
        assert (found.forwards + found.backwards <= solver.passes * restarts).all()


@pytest.mark.parametrize(("budget", "targets"), [(100, 0), (101, 3), (500, 2)])
def test_within_uses_the_budget_and_stays_in_it(budget, targets):
    model, x = Bent(4), inputs(3)
    y = model(x).argmax(1)
    solver = Bisection(attack=APGD(steps=5), targets=targets).within(budget, 4)
    found = solver(model, x, y, "linf", box=(-1, 1))
    spent = found.forwards + found.backwards
    assert (spent <= budget).all()
    more = replace(solver, levels=solver.levels + 1)
    assert more.passes * more.attempts(4) + bool(targets) > budget
    with pytest.raises(InputError, match="too small"):
        solver.within(9, 4)


@pytest.mark.parametrize("metric", ["l0", "l1", "l2", "linf"])
def test_a_warm_start_is_kept_and_drawn_nearer(metric):
    model, x = Plane(), inputs(4)
    y = model(x).argmax(1)
    far = x - 3 * x.flatten(1) @ model.weight[:, None] / model.weight.square().sum() * model.weight
    far = far.detach()
    assert (model(far).argmax(1) != y).all()
    has = torch.tensor([[True], [True], [False], [True]])
    solver = Bisection(attack=APGD(steps=8), levels=5)
    found = solver(model, x, y, metric, box=FREE, warm=far[:, None], has_warm=has)
    before = norm(far - x, P[metric])
    assert (found.distance < before + (metric == "l0") * 0.5).all()


def test_a_constant_model_yields_nothing_and_radii_stay_finite():
    x = inputs(3)
    y = torch.tensor([0, 1, 0])
    for metric in ("l0", "l1", "l2", "linf"):
        found = Bisection(attack=APGD(steps=1), levels=40)(
            Constant(1.0, 0.0), x, y, metric, box=(-1, 1)
        )
        assert found.fooled.tolist() == [False, True, False]
        assert torch.isfinite(found.points).all()
        assert found.distance[1] == 0


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_no_example_images_and_single_precision(dtype):
    model, x = Plane(12, dtype), inputs(3, (3, 2, 2), dtype)
    y = model(x).argmax(1)
    solver = Bisection(attack=APGD(steps=8), levels=10)
    assert len(solver(model, x[:0], y[:0], "l2", box=FREE)) == 0
    found = solver(model, x, y, "l2", box=FREE)
    assert found.points.dtype == dtype
    assert (found.distance <= model.radius(x, 2) * 1.05).all()
    assert (found.distance >= model.radius(x, 2) * (1 - 1e-5)).all()


def test_bad_numbers_and_attacks_that_ask_for_many_points_are_refused():
    for bad in ({"levels": 0}, {"first": 0.0}, {"first": float("nan")}):
        with pytest.raises(InputError, match="levels must be"):
            Bisection(**bad)
    with pytest.raises(InputError, match="cannot drive"):
        Bisection(attack=SPSA())
