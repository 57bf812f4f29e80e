"""PWCF's folded problem against the formulas as printed, differentiated by torch."""

from dataclasses import replace

import pytest
import torch
from helpers import data

from hauberk.attacks.pwcf import PWCF
from hauberk.engine.state import BestSoFar, Clock, Response
from hauberk.maths.rng import Draws
from hauberk.objectives.problem import Problem
from hauberk.threats import L1, L2, Linf, Lp, Measured

N = 6
POWER = torch.linspace(0.5, 2, N, dtype=torch.float64)


def score(x):
    """A loss that is no linear one, and its gradient."""
    weight = torch.linspace(-1, 2, N, dtype=torch.float64)
    return (x * weight).sum(1) + 0.3 * x.square().sum(1) - 1.0


def weighed(a, b):
    return ((b - a).flatten(1) * POWER.to(b)).norm(dim=1)


THREATS = [L2(0.4), L1(0.9), Lp(3, 0.3), Linf(0.2), Measured(weighed, 0.3)]


def distance(threat, u, x0, eps):
    """How far u lies outside, folded: of linf all overshoots together, else the distance's own."""
    delta = u - x0
    if isinstance(threat, Measured):
        return weighed(x0, u) - eps
    if threat.p == float("inf"):
        return (delta.abs() - eps).clamp_min(0).norm(dim=1)
    return torch.linalg.vector_norm(delta, threat.p, dim=1) - eps


def asked(attack, threat):
    x0 = data.inputs(8, (N,), seed=4, dtype=torch.float64).round(decimals=1)
    draws = Draws.of(0, torch.arange(8), 0, 0)
    problem = Problem(region=threat.at(x0), y=torch.zeros(8).long(), target=None, draws=draws)
    return problem, attack.init(problem)


def answered(state, v, attack, region):
    """The attack's values at a trial point v, of which the model sees the clamped one."""
    state.solve = replace(state.solve, v=v, alpha=torch.zeros(len(v)).double())
    state.u = v.clamp(0, 1)
    u = state.u.clone().requires_grad_(True)
    loss = score(u)
    (grad,) = torch.autograd.grad(loss.sum(), u)
    response = Response(
        loss=loss.detach(), fooled=loss.detach() >= 0, gradient=grad, clock=Clock.zero(len(v)),
        best=BestSoFar.none(u.detach()),
    )  # fmt: skip
    return attack.values(region, state, response), grad


def trials():
    rng = torch.Generator().manual_seed(9)
    return torch.rand(8, N, generator=rng, dtype=torch.float64) * 1.8 - 0.4  # in and outside


@pytest.mark.parametrize("threat", THREATS, ids=str)
def test_objective_and_constraints_are_those_of_the_paper(threat):
    attack = PWCF(cap=0.8)
    problem, state = asked(attack, threat)
    region, x0 = problem.region, problem.region.x0
    first = x0 + 0.07 * torch.randn(8, N, generator=torch.manual_seed(1)).double()
    first = first.clamp(0.01, 0.99)
    _, gain = answered(state, first, attack, region)
    _, slope = region.excess(first, attack.inner)
    unit, size = gain.norm(dim=1), slope.norm(dim=1)
    size = torch.where(size > 0, size, 1.0)
    v = trials()
    found, _ = answered(state, v, attack, region)

    w = v.clone().requires_grad_(True)
    u = w.clamp(0, 1)
    f = -score(u).clamp(max=0.8) / unit
    inside = distance(threat, u, x0, attack.inner * threat.eps) / size
    box = torch.stack((w - 1, -w, torch.zeros_like(w))).amax(0).norm(dim=1)
    torch.testing.assert_close(found.f, f.detach())
    torch.testing.assert_close(found.c[:, 0], inside.detach())
    torch.testing.assert_close(found.c[:, 1], box.detach())
    assert (box > 0.1).any()
    assert (score(v.clamp(0, 1)) > 0.8).any()
    for place, value in enumerate((f, inside, box)):
        (grad,) = torch.autograd.grad(value.sum(), w, retain_graph=True)
        torch.testing.assert_close(found.slopes[:, place], grad.nan_to_num())


@pytest.mark.parametrize("threat", [L2(0.4), L1(0.4), Linf(0.2)], ids=str)
def test_what_it_aims_at_lies_a_little_inside(threat):
    attack = PWCF()
    assert attack.inner == 0.999
    problem, state = asked(attack, threat)
    v = problem.region.x0.clone()
    v[:, 0] += torch.where(v[:, 0] < 0.5, 1.0, -1.0) * threat.eps * 0.9995
    found, _ = answered(state, v, attack, problem.region)
    assert (found.c[:, 0] > 0).all()
    v = problem.region.x0 + (v - problem.region.x0) * 0.99
    found, _ = answered(state, v, attack, problem.region)
    assert (found.c[:, 0] <= 0).all()


def test_units_are_those_of_the_first_gradient():
    attack = PWCF(cap=1e6)
    problem, state = asked(attack, L2(0.4))
    first, later = torch.full((8, N), 0.5).double(), torch.full((8, N), 0.1).double()
    once, grad = answered(state, first, attack, problem.region)
    assert torch.equal(once.slopes[:, 0], -grad / grad.norm(dim=1, keepdim=True))
    then, other = answered(state, later, attack, problem.region)
    assert torch.equal(then.slopes[:, 0], -other / grad.norm(dim=1, keepdim=True))


@pytest.mark.parametrize(("turn", "share"), [(1, 1.0), (2, 0.98), (6, 0.9)])
def test_the_last_points_are_moved_into_the_threat(turn, share):
    attack = PWCF()
    problem, _ = asked(attack, L2(0.4))
    region = problem.region
    last = region.x0 + 0.5 * (0.5 - region.x0).sign()
    found = attack.close(region, last, torch.full((8,), turn))
    near = region.project_(last.clone())
    torch.testing.assert_close(found - region.x0, share * (near - region.x0))


def test_only_what_lies_in_the_threat_counts_as_a_result():
    attack = PWCF()
    problem, state = asked(attack, L2(0.4))
    state.feasible = torch.tensor([True, False] * 4)
    loss = torch.linspace(-2, 5, 8).double()
    response = Response(loss=loss, fooled=loss >= 0, clock=Clock.zero(8),
                        best=BestSoFar.none(state.u))  # fmt: skip
    rated = attack.rate(state, response)
    assert torch.equal(rated[::2], loss[::2])
    assert rated[1::2].max() < -1e29
    inside = problem.region.x0 + 0.3999 * torch.nn.functional.one_hot(torch.arange(8) % N, N)
    assert attack.within_threat(problem.region, inside).all()
    further = problem.region.x0 + 1.001 * (inside - problem.region.x0)
    assert not attack.within_threat(problem.region, further).any()
