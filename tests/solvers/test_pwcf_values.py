"""PWCFRadius: its folded problem against the formulas as printed, differentiated by torch."""

from dataclasses import replace
from math import inf, sqrt

import pytest
import torch
from helpers import data

from hauberk.engine.state import BestSoFar, Clock, Response
from hauberk.maths.rng import Draws
from hauberk.objectives.problem import Problem
from hauberk.solvers.pwcf import PWCFRadius
from hauberk.threats import Metric

N = 6


def score(x):
    """A margin that is no linear one: a model is fooled from 0 on."""
    weight = torch.linspace(-1, 2, N, dtype=torch.float64)
    return (x * weight).sum(1) + 0.3 * x.square().sum(1) - 2.5


def asked(solver, p):
    x0 = data.inputs(8, (N,), seed=4, dtype=torch.float64).round(decimals=1)
    draws = Draws.of(0, torch.arange(8), 0, 0)
    problem = Problem(region=Metric(p).at(x0), y=torch.zeros(8).long(), target=None, draws=draws)
    return problem, solver.init(problem)


def answered(state, v, solver, region):
    """The solver's values at a trial point v, of which the model sees the clamped inputs."""
    state.solve = replace(state.solve, v=v, alpha=torch.zeros(len(v)).double())
    state.u = v[:, :N].clamp(0, 1)
    u = state.u.clone().requires_grad_(True)
    loss = score(u)
    (grad,) = torch.autograd.grad(loss.sum(), u)
    response = Response(
        loss=loss.detach(), fooled=loss.detach() >= 0, gradient=grad, clock=Clock.zero(len(v)),
        best=BestSoFar.none(u.detach()),
    )  # fmt: skip
    return solver.values(region, state, response), loss.detach(), grad


def trials(slack=False):
    rng = torch.Generator().manual_seed(9)
    v = torch.rand(8, N, generator=rng, dtype=torch.float64) * 1.8 - 0.4  # in and outside
    return torch.cat((v, torch.linspace(0.1, 1.6, 8).double()[:, None]), 1) if slack else v


@pytest.mark.parametrize("p", [1, 2, 3, inf])
def test_objective_and_constraints_are_those_of_the_paper(p):
    """Of linf a slack t is minimised, as t sqrt(n), and all |x_i - x0_i| <= t fold into one."""
    solver, slack = PWCFRadius(), p == inf
    problem, state = asked(solver, p)
    region, x0 = problem.region, problem.region.x0
    first = (x0 + 0.07 * torch.randn(8, N, generator=torch.manual_seed(1)).double()).clamp(0.01, 1)
    one = torch.ones(8, 1).double()
    _, loss, gain = answered(state, torch.cat((first, one), 1) if slack else first, solver, region)
    unit = gain.norm(dim=1)
    size = one[:, 0]
    if not slack:
        lever = (first - x0).requires_grad_(True)
        (slope,) = torch.autograd.grad(torch.linalg.vector_norm(lever, p, dim=1).sum(), lever)
        size = slope.norm(dim=1)
    beyond = 1e-4 * loss.abs() / unit  # of the first linearised distance
    v = trials(slack)
    found, _, _ = answered(state, v, solver, region)

    w = v.clone().requires_grad_(True)
    x = w[:, :N]
    u = x.clamp(0, 1)
    far = w[:, N] if slack else torch.linalg.vector_norm(u - x0, p, dim=1) / size
    margin = -score(u) / unit + beyond
    box = torch.stack((x - 1, -x, torch.zeros_like(x))).amax(0).norm(dim=1)
    folded = [far, margin, box]
    if slack:
        t = w[:, N] / sqrt(N)
        folded.append(((x - x0).abs() - t[:, None]).clamp_min(0).norm(dim=1))
    torch.testing.assert_close(found.f, far.detach())
    torch.testing.assert_close(found.c, torch.stack(folded[1:], 1).detach())
    for place, value in enumerate(folded):
        (grad,) = torch.autograd.grad(value.sum(), w, retain_graph=True)
        torch.testing.assert_close(found.slopes[:, place], grad.nan_to_num())


def test_the_slack_begins_at_the_largest_change():
    solver = PWCFRadius()
    problem, state = asked(solver, inf)
    v = state.solve.v
    assert v.shape == (8, N + 1)
    assert solver.constraints(problem.region) == 3
    most = (v[:, :N] - problem.region.x0).abs().amax(1)
    torch.testing.assert_close(v[:, N], most * sqrt(N))
    for p in (1, 2):
        problem, state = asked(solver, p)
        assert state.solve.v.shape == (8, N)
        assert solver.constraints(problem.region) == 2


def test_the_nearest_that_fools_is_rated_best_then_the_nearest_to_fooling():
    solver = PWCFRadius()
    _, state = asked(solver, 2)
    loss = torch.tensor([1.0, 0.0, 2.0, -1.0, -3.0, -0.1, -9.0, 0.5]).double()
    response = Response(
        loss=loss, fooled=loss >= 0, clock=Clock.zero(8), best=BestSoFar.none(state.u),
        measured=torch.tensor([0.5, 0.2, 0.9, 0.1, 0.1, 0.1, 0.1, 0.4]).double(),
    )  # fmt: skip
    order = solver.rate(state, response).argsort(descending=True)
    assert order.tolist() == [1, 7, 0, 2, 5, 3, 4, 6]


@pytest.mark.parametrize(("turn", "factor"), [(1, 1.034), (3, 1 + 0.02 * 1.7**3)])
def test_the_last_points_lie_a_little_beyond_the_end(turn, factor):
    solver = PWCFRadius()
    problem, _ = asked(solver, 2)
    x0 = problem.region.x0
    last = x0 + 0.1 * (0.5 - x0)
    found = solver.close(problem.region, last, torch.full((8,), turn))
    torch.testing.assert_close(found - x0, factor * (last - x0))
