"""Fast adaptive boundary attack, aimed at classes."""

from dataclasses import dataclass

import torch
from torch import Tensor

from hauberk.engine.state import BestSoFar, Clock, Response, State
from hauberk.maths.steps import per_example
from hauberk.objectives.problem import Problem
from hauberk.solvers.base import MinNormSolver, gauge, known, meet
from hauberk.threats.distances import LpDistanceRegion


@dataclass(frozen=True, kw_only=True)
class FAB(MinNormSolver):
    """Fast adaptive boundary attack in its targeted form (Croce & Hein 2020), for any lp.

    Each step projects both the present point and the clean one, exactly and within the box, on the
    linearised boundary between label and target, and moves to a mean of the two that leans to the
    clean one; where the model is fooled it goes a part of the way back.

    Args:
        alpha: most weight of the clean point's projection.
        eta: how far beyond the linearised boundary a step reaches.
        beta: share of the perturbation kept after a success.
        targets: classes aimed at; 0 takes the runner-up at every step.
        near: distance within which random starts lie; 0 starts at the clean input.
    """

    general = True

    steps: int = 100
    targets: int = 9
    alpha: float = 0.1
    eta: float = 1.05
    beta: float = 0.9
    near: float = 0.0

    def start(self, problem: Problem) -> State:
        u = problem.region.start()
        if self.near > 0:
            radius = u.new_full((len(u),), self.near)
            u = gauge(problem).random_within(problem.draws, 0, radius)
        state = State(u=u, t=Clock.zero(len(u)), best=BestSoFar.none(u))
        known(problem, state)
        return state

    def step(self, problem: Problem, state: State, response: Response) -> State:
        region, grad = gauge(problem), response.grad
        meet(problem, state, response)
        if grad is None:
            state.t.tick()
            return state
        u, loss = state.u, response.loss
        if self.beta < 1:
            # What the boundary looks like is known where it was asked; the point moves back.
            back = torch.where(response.fooled, self.beta, 1.0)
            moved = region.interpolate(u, back) if region.p != 0 else u
            loss = loss + ((moved - u) * grad).flatten(1).sum(1)
            u = moved
        state.u = lean(region, u, grad, -loss, self.alpha, self.eta)
        state.t.tick()
        return state


def lean(
    region: LpDistanceRegion,
    u: Tensor,
    grad: Tensor,
    gap: Tensor,
    alpha: float | Tensor,
    eta: float,
) -> Tensor:
    """FAB's step from ``u``, where ``grad . (v - u) = gap`` is the linearised boundary."""
    ours = region.project_to_hyperplane(u, grad, gap)
    rest = gap + ((u - region.x0) * grad).flatten(1).sum(1)
    theirs = region.project_to_hyperplane(region.x0, grad, rest)
    here = region.measure(ours + (region.x0 - u))
    there = region.measure(theirs)
    weight = (here / (here + there).clamp_min(1e-30)).clamp(max=alpha)
    weight = per_example(weight, u)
    mine = u + eta * (ours - u)
    yours = region.x0 + eta * (theirs - region.x0)
    return region.project_(mine + weight * (yours - mine))
