"""BFGS-SQP by itself: its quadratic program against scipy, its steering, line search and stages."""

from dataclasses import replace
from math import inf

import numpy as np
import pytest
import torch
from helpers import data
from helpers.models import Linear, Recorder
from scipy.optimize import minimize

from hauberk.attacks.pwcf import PWCF
from hauberk.attacks.sqp import Values
from hauberk.maths.rng import Draws
from hauberk.objectives.problem import Problem
from hauberk.threats import L2, Box, Linf

ROWS = 12


def values(m=2, rows=ROWS, n=5, seed=0, infeasible=None):
    """Objective and constraints with their gradients; some violated, some not."""
    rng = torch.Generator().manual_seed(seed)

    def drawn(*shape):
        return torch.randn(*shape, generator=rng, dtype=torch.float64)

    c = drawn(rows, m) if infeasible is None else infeasible * drawn(rows, m).abs()
    return Values(f=drawn(rows), c=c, slopes=drawn(rows, m + 1, n))


def solve_at(at, attack=None, mu=1.0):
    attack = PWCF() if attack is None else attack
    solve = attack.descent(torch.zeros(len(at.f), at.slopes.shape[2]).double(), at.c.shape[1])
    return replace(solve, at=at, mu=torch.full_like(solve.mu, mu))


def program(at, row, mu, h):
    """The step of the quadratic program by scipy, through slack variables; H is the inverse."""
    g, *normals = (v.numpy() for v in at.slopes[row])
    c, curve, n = at.c[row].numpy(), np.linalg.inv(h), at.slopes.shape[2]
    found = minimize(
        lambda z: mu * g @ z[:n] + z[n:].sum() + z[:n] @ curve @ z[:n] / 2,
        np.concatenate([np.zeros(n), np.maximum(c, 0) + 1]),
        jac=lambda z: np.concatenate([mu * g + curve @ z[:n], np.ones(len(c))]),
        bounds=[(None, None)] * n + [(0, None)] * len(c),
        constraints=[
            {"type": "ineq", "fun": lambda z, i=i, a=a: z[n + i] - c[i] - a @ z[:n]}
            for i, a in enumerate(normals)
        ],
        method="SLSQP", options={"ftol": 1e-14, "maxiter": 500},
    )  # fmt: skip
    return found.x[:n]


def removed(at, row, step):
    """How much violation a step takes away, to first order."""
    after = at.c[row].numpy() + at.slopes[row, 1:].numpy() @ step
    return np.maximum(at.c[row].numpy(), 0).sum() - np.maximum(after, 0).sum()


@pytest.mark.parametrize("m", [2, 3])
@pytest.mark.parametrize("curved", [False, True])
def test_directions_solve_the_quadratic_program(m, curved):
    at = values(m)
    solve = solve_at(at, mu=0.4)
    h = np.broadcast_to(np.eye(5), (ROWS, 5, 5))
    if curved:
        steps, changes = torch.randn(2, ROWS, 5, generator=torch.manual_seed(3)).double()
        changes = changes + 2 * steps
        solve.memory.push_(steps, changes, torch.ones(ROWS, dtype=torch.bool))
        h = solve.memory.h.numpy()
    # Without steering, so that the penalty parameter stays.
    found = replace(PWCF(), c_viol=0.0).steer(solve, torch.ones(ROWS, dtype=torch.bool))
    assert torch.equal(found.mu, solve.mu)
    for row in range(ROWS):
        step = program(at, row, 0.4, h[row])
        assert np.allclose(found.direction[row].numpy(), step, atol=2e-3), row
    assert torch.allclose(found.size, found.direction.norm(dim=1))
    assert torch.allclose(found.fall, (at.slope(found.mu) * found.direction).sum(1))
    assert (found.fall < 0).all()


def test_the_penalty_parameter_is_steered_as_published():
    """Reduced by c_mu until the predicted drop of violation is c_viol of the violation or of the
    largest drop that any step predicts (Curtis, Mitchell & Overton 2017, Procedure 1)."""
    at = values(2, rows=40, seed=5, infeasible=0.3)
    at.slopes[:, 0] *= 4
    at.c[::4] += 30  # so much that no step takes a tenth of it away
    eye, most = np.eye(5), 15
    found = PWCF().steer(solve_at(at), torch.ones(40, dtype=torch.bool))
    reduced = []
    for row in range(40):
        mu, violation = 1.0, float(at.c[row].clamp_min(0).sum())
        best = removed(at, row, program(at, row, 0.0, eye))
        for _ in range(most):
            drop = removed(at, row, program(at, row, mu, eye))
            if drop >= 0.1 * violation or drop >= 0.1 * best:
                break
            mu *= 0.9
        # Where the drop stands at the edge itself, rounding may decide for one time more.
        count = round(np.log(float(found.mu[row])) / np.log(0.9))
        assert float(found.mu[row]) == pytest.approx(0.9**count, rel=1e-9)
        assert abs(count - round(np.log(mu) / np.log(0.9))) <= 1, row
        reduced.append(count)
    assert 0 in reduced
    assert 15 in reduced
    assert len({*reduced} - {0, 15}) >= 3


def test_rows_that_are_not_due_keep_their_direction():
    at = values(2, infeasible=1.0)
    before = solve_at(at)
    renew = torch.arange(ROWS) % 2 == 0
    after = PWCF().steer(before, renew)
    assert (after.direction[renew] != 0).any(1).all()
    for name in ("direction", "mu", "alpha", "fall", "low", "high", "tries"):
        assert torch.equal(getattr(after, name)[~renew], getattr(before, name)[~renew]), name


def test_defaults_are_those_of_the_authors():
    attack = PWCF()
    assert (attack.mu, attack.c_viol, attack.c_mu, attack.noise) == (1.0, 0.1, 0.9, 0.1)


def line(f, slope, alpha=0.5, **more):
    """A line search along the first axis, begun at f = 0 with slope -1, and a trial there."""
    attack = PWCF()
    rows = len(f)
    start = Values(
        f=torch.zeros(rows).double(), c=torch.full((rows, 2), -1.0).double(),
        slopes=torch.tensor([[-1.0, 0], [0, 0], [0, 0]]).double().repeat(rows, 1, 1),
    )  # fmt: skip
    solve = replace(
        attack.descent(torch.zeros(rows, 2).double(), 2), at=start,
        direction=torch.tensor([[1.0, 0]]).double().repeat(rows, 1),
        fall=torch.full((rows,), -1.0).double(), alpha=torch.full((rows,), alpha).double(),
        fresh=torch.zeros(rows, dtype=torch.bool),
        **{name: torch.full((rows,), value).double() for name, value in more.items()},
    )  # fmt: skip
    slopes = start.slopes.clone()
    slopes[:, 0, 0] = torch.tensor(slope)
    new = replace(start, f=torch.tensor(f).double(), slopes=slopes)
    return attack.search(solve, new, torch.full((rows,), 1e-4).double())


def test_a_step_is_taken_under_the_weak_wolfe_conditions():
    """A fall of 1e-4 of the linear one, and half of the slope gone."""
    edge = -0.5 * 1e-4
    found = line([edge - 1e-9, edge + 1e-9, -0.1, -0.1], [-0.4, -0.4, -0.49, -0.51])
    assert found.v[:, 0].tolist() == [0.5, 0, 0.5, 0]
    # Too little of a fall: halve. Still steep: double.
    assert found.alpha[[1, 3]].tolist() == [0.25, 1.0]
    assert found.high[1] == 0.5
    assert found.low[3] == 0.5
    between = line([1.0], [-0.4], low=0.25, high=1.0, alpha=0.5)
    assert (float(between.high), float(between.alpha)) == (0.5, 0.375)


def test_the_tenth_trial_is_taken_if_it_falls_and_lost_if_not():
    found = line([-0.1, 1.0], [-0.9, -0.9], tries=9.0)
    assert found.v[:, 0].tolist() == [0.5, 0]
    assert found.dead.tolist() == [False, True]  # nothing remembered, and no way down
    earlier = line([-0.1], [-0.9], tries=8.0)
    assert earlier.v[0, 0] == 0


def asked(x, threat, box=(0, 1)):
    draws = Draws.of(0, torch.arange(len(x)), 0, 0)
    return Problem(region=threat.at(x, Box(*box)), y=torch.zeros(len(x)).long(), target=None,
                   draws=draws)  # fmt: skip


def test_starts_are_uniform_around_the_clean_input():
    x = torch.full((3, 4000), 0.05).double()
    attack = PWCF()
    problem = asked(x, Linf(0.3), (0, 2))
    region = problem.region
    starts = [attack.fresh_start(region, problem, number) for number in (0, 1)]
    assert not torch.equal(*starts)
    for start in starts:
        assert start.amin() == 0  # clipped to the box, of width 2
        off = (start - x)[start > 0]
        assert 0.199 < off.max() <= 0.2
        assert abs(float((start == 0).double().mean()) - 0.375) < 0.02
        assert abs(float(off.mean()) - 0.075) < 0.005


def staged(reached, worth, count, starts=2, tries=4):
    """A solve and one kept from an earlier start, at the end of a start."""
    attack, x = PWCF(starts=starts, tries=tries), data.inputs(len(reached), (5,)).double()
    problem = asked(x, Linf(0.3))
    state = attack.init(problem)
    own, kept = (solve_at(values(2, len(reached), seed=s), mu=mu) for s, mu in ((1, 0.5), (2, 0.7)))
    own.v, kept.v = own.v + 1, kept.v + 2
    for one, seed in ((own, 5), (kept, 6)):
        rng = torch.Generator().manual_seed(seed)
        step = torch.randn(len(reached), 5, generator=rng).double()
        one.memory.push_(step, 2 * step, torch.ones(len(reached), dtype=torch.bool))
    state.kept, state.worth = kept, torch.tensor(worth).double()
    state.reached = torch.tensor(reached).double()
    counts = np.full(len(reached), count)
    after = attack.restart(problem.region, problem, state, own, counts)
    return own, kept, state, after


def test_the_second_stage_goes_on_from_the_best_start_with_its_memory():
    own, kept, state, after = staged([3.0, 1.0], [2.0, 2.0], count=8)
    for row, best in enumerate((own, kept)):
        assert torch.equal(after.v[row], best.v[row])
        assert after.mu[row] == best.mu[row]
        assert torch.equal(after.memory.h[row], best.memory.h[row])
        assert torch.equal(after.at.slopes[row], best.at.slopes[row])
    assert state.reached.tolist() == [3.0, 2.0]


def test_a_start_that_is_over_is_kept_if_better_and_the_next_begins_afresh():
    own, kept, state, after = staged([3.0, 1.0], [2.0, 2.0], count=4)
    assert torch.equal(state.kept.v[0], own.v[0])
    assert torch.equal(state.kept.v[1], kept.v[1])
    assert state.worth.tolist() == [3.0, 2.0]
    assert after.fresh.all()
    assert after.memory.blank.all()
    assert (after.mu == 1).all()
    assert not torch.equal(after.v, own.v)
    assert (state.reached == -inf).all()
    for count in (3, 5, 7, 9):
        own, _, _, between = staged([3.0, 1.0], [2.0, 2.0], count=count)
        assert torch.equal(between.v, own.v)


def test_two_starts_are_seen_in_the_queries():
    """A linear model: the third stage walks on from the better of two starts, found in the middle
    of the run, and not from the clean input."""
    model = Recorder(Linear(6, seed=1, dtype=torch.float64))
    x = data.inputs(1, (6,), seed=2, dtype=torch.float64)
    y = model.model(x).argmax(1)
    PWCF(steps=9, starts=2, tries=3, cap=1e6)(model, x, y, L2(0.2), box=(-9, 9), stop=False)
    asked = torch.cat(model.asked[:10])
    change = (asked - x).abs().amax(1)
    assert change[0] <= 1.8  # 0.1 of the box's width
    assert change[0] > 0.1
    assert change[3] > 0.1
    # Within a start the queries lie near each other, the second start elsewhere.
    apart = (asked[3] - asked[2]).norm()
    assert apart > (asked[1] - asked[0]).norm()


def descend(function, start, steps, attack=None):
    """Drive a solve of ``function(v) -> f (S,), c (S, m)`` by hand; its descent, and where dead."""
    attack = PWCF() if attack is None else attack
    v = start.clone()
    c = function(v)[1]
    solve, reach = attack.descent(v, c.shape[1]), torch.full((len(v),), 1e-4).double()
    stopped = torch.full((len(v),), -1)
    for count in range(steps):
        trial = (solve.v + solve.alpha.unsqueeze(1) * solve.direction).requires_grad_(True)
        f, c = function(trial)
        slopes = torch.stack(
            [
                torch.autograd.grad(one.sum(), trial, retain_graph=True)[0]
                for one in (f, *c.unbind(1))
            ],
            1,
        )
        solve = attack.search(solve, Values(f.detach(), c.detach(), slopes.detach()), reach)
        stopped = torch.where((stopped < 0) & solve.dead, count, stopped)
        if (stopped >= 0).all():
            break
    return solve, stopped


def rosenbrock(v):
    """The non-smooth one of GRANSO's manual: its minimum is at (1/sqrt 2, 1/2)."""
    f = 8 * (v[:, 0] ** 2 - v[:, 1]).abs() + (1 - v[:, 0]) ** 2
    most = torch.maximum(2**0.5 * v[:, 0], 2 * v[:, 1]) - 1
    return f, torch.stack((most, -1 - v[:, 0].abs()), 1)


def valley(v):
    """A sum of absolute values, smallest at 0.3, without constraints that bind."""
    weight = torch.tensor([1.0, 5.0, 0.2]).double()
    return ((v - 0.3).abs() * weight).sum(1), torch.full((len(v), 1), -1.0).double() + 0 * v[:, :1]


@pytest.mark.parametrize(
    ("function", "n", "optimum"),
    [(rosenbrock, 2, (0.5**0.5, 0.5)), (valley, 3, (0.3, 0.3, 0.3))],
)
def test_a_solve_ends_where_sampled_gradients_cancel(function, n, optimum):
    """No gradient vanishes at these minima, only a convex combination of several does."""
    start = torch.randn(6, n, generator=torch.manual_seed(0)).double()
    found, stopped = descend(function, start, 400)
    off = (found.v - torch.tensor(optimum).double()).norm(dim=1)
    assert (stopped > 0).sum() >= 4
    assert (off[stopped > 0] < 1e-3).all(), off
    last = found.at.slope(found.mu).norm(dim=1)
    assert (last[stopped > 0] > 0.1 * found.mu[stopped > 0]).any()


def test_the_test_of_stationarity_needs_a_feasible_point_and_near_gradients():
    attack, one = PWCF(), torch.ones(4).double()
    at = values(2, rows=4)
    at.c[:] = torch.tensor([[-1.0, 0], [0.9e-5, -1], [1.1e-5, -1], [0, 0]]).double()
    solve = solve_at(at, attack, mu=0.5)
    here, slope = torch.zeros(4, 5).double(), torch.randn(4, 5).double()
    every = torch.ones(4, dtype=torch.bool)
    solve.near.push_(here, slope, solve.mu, every)
    assert not attack.stationary(solve, here, at, every, 0.1 * one).any()
    # Half of both is 2e-6 long.
    nearly = slope + 4e-6 * torch.nn.functional.normalize(slope)
    solve.near.push_(here + 0.01, -nearly, solve.mu, every)
    apart = torch.nn.functional.normalize(torch.randn(4, 5).double())
    apart -= slope * (apart * slope).sum(1, keepdim=True) / slope.square().sum(1, keepdim=True)
    solve.near.slopes[:, 1] += 4e-6 * apart  # so that no share of them cancels
    due = torch.tensor([True, True, True, False])
    found = attack.stationary(solve, here, at, due, 0.1 * one)
    assert found.tolist() == [True, True, False, False]
    assert not attack.stationary(solve, here, at, due, 0.01 * one).any()
    assert not replace(attack, tolerance=0.0).stationary(solve, here, at, due, 0.1 * one).any()
    # The tolerance is a share of the penalty parameter.
    solve.near.mark[:], solve.mu = 0.05, 0.05 * one
    assert not attack.stationary(solve, here, at, due, 0.1 * one).any()
    assert (attack.tolerance, attack.nearby, attack.samples) == (1e-5, 1e-4, 8)


def test_near_is_said_in_widths_of_the_box():
    seen = []

    class Seen(PWCF):
        def search(self, solve, new, reach):
            seen.append(reach)
            return super().search(solve, new, reach)

    model = Linear(6, seed=1, dtype=torch.float64)
    x = data.inputs(2, (6,), seed=2, dtype=torch.float64)
    Seen(steps=2)(model, x, model(x).argmax(1), L2(0.2), box=(-1, 2), stop=False)
    torch.testing.assert_close(seen[0], torch.full((2,), 3e-4).double())
