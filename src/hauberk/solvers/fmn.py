"""Fast minimum-norm attack."""

from dataclasses import dataclass
from math import inf

import torch
from torch import Tensor

from hauberk.engine.state import BestSoFar, Clock, Response, State
from hauberk.maths.norms import norm
from hauberk.maths.steps import steepest_l2, step_along
from hauberk.objectives.problem import Problem
from hauberk.solvers.base import MinNormSolver, annealed, gauge, known, meet


@dataclass(kw_only=True)
class FMNState(State):
    eps: Tensor
    """Radius of the ball searched, ``(S,)``."""
    size: Tensor
    """Unit of the step lengths, ``(S,)``."""


@dataclass(frozen=True, kw_only=True)
class FMN(MinNormSolver):
    """Fast minimum-norm attack (Pintor et al. 2021, Algorithm 1), for any lp.

    Gradient steps of fixed l2 length are projected on a ball that shrinks while the model is fooled
    and grows while it is not; until it first is, the ball reaches to the linearised boundary.

    Args:
        alpha: first step length, and ``alpha_last`` the last, in l2; in units of the perturbation's
            own length where there is a warm start.
        gamma: first and ``gamma_last`` last relative change of the radius.
    """

    general = True

    steps: int = 1000
    alpha: float = 1.0
    alpha_last: float = 0.01
    gamma: float = 0.05
    gamma_last: float = 0.001

    def start(self, problem: Problem) -> State:
        u = problem.region.start()
        eps = u.new_full((len(u),), 1.0 if gauge(problem).p == 0 else inf)
        one = u.new_ones(len(u))
        state = FMNState(u=u, t=Clock.zero(len(u)), best=BestSoFar.none(u), eps=eps, size=one)
        known(problem, state)
        if problem.has_warm is not None:
            state.size = torch.where(problem.has_warm, norm(state.u - problem.region.x0, 2), one)
        return state

    def step(self, problem: Problem, state: State, response: Response) -> State:
        assert isinstance(state, FMNState)
        region, u, grad = gauge(problem), state.u, response.grad
        distance = meet(problem, state, response)
        if grad is None:
            state.t.tick()
            return state
        gamma = annealed(state.t, self.steps, self.gamma, self.gamma_last, u)
        nearest = -state.best.loss
        if region.p == 0:
            closer = torch.minimum(state.eps - 1, (state.eps * (1 - gamma)).floor())
            closer = torch.minimum(closer, nearest - 1).clamp_min_(0)
            wider = torch.maximum(state.eps + 1, (state.eps * (1 + gamma)).floor())
        else:
            closer = torch.minimum(state.eps, nearest) * (1 - gamma)
            wider = state.eps * (1 + gamma)
            lacking = -response.loss / region.dual(grad).clamp_min_(1e-30)
            # A little beyond the linearised boundary: on it, rounding keeps a linear model right.
            reach = (distance + lacking.clamp(0, 1e30)) * (1 + gamma)
            wider = torch.where(state.best.fooled, wider, reach)
        state.eps = torch.where(response.fooled, closer, wider)
        alpha = annealed(state.t, self.steps, self.alpha, self.alpha_last, u) * state.size
        state.u = region.project_within_(step_along(u, steepest_l2(grad), alpha), state.eps)
        state.t.tick()
        return state
