"""Decoupled direction and norm."""

from dataclasses import dataclass

import torch
from torch import Tensor

from hauberk.engine.state import BestSoFar, Clock, Response, State
from hauberk.maths.norms import norm
from hauberk.maths.steps import per_example, steepest_l2, step_along
from hauberk.objectives.problem import Problem
from hauberk.solvers.base import MinNormSolver, annealed, known, meet


@dataclass(kw_only=True)
class DDNState(State):
    eps: Tensor
    """Length that the next perturbation is given, ``(S,)``."""


@dataclass(frozen=True, kw_only=True)
class DDN(MinNormSolver):
    """Decoupled direction and norm (Rony et al. 2019, Algorithm 1), l2.

    Steps along the normalised gradient, then the perturbation is given a length that shrinks by
    ``gamma`` where the model is fooled and grows where it is not.

    Args:
        eps: first length. ``alpha``: first step length; it falls to a hundredth.
    """

    norms = (2,)

    loss: str = "ce"
    steps: int = 1000
    eps: float = 1.0
    gamma: float = 0.05
    alpha: float = 1.0

    def start(self, problem: Problem) -> State:
        u = problem.region.start()
        eps = u.new_full((len(u),), self.eps)
        state = DDNState(u=u, t=Clock.zero(len(u)), best=BestSoFar.none(u), eps=eps)
        known(problem, state)
        if problem.has_warm is not None:
            state.eps = torch.where(problem.has_warm, problem.region.measure(state.u), eps)
        return state

    def step(self, problem: Problem, state: State, response: Response) -> State:
        assert isinstance(state, DDNState)
        region, u, grad = problem.region, state.u, response.grad
        meet(problem, state, response)
        if grad is None:
            state.t.tick()
            return state
        alpha = annealed(state.t, self.steps, self.alpha, self.alpha / 100, u)
        state.eps = state.eps * torch.where(response.fooled, 1 - self.gamma, 1 + self.gamma)
        delta = step_along(u, steepest_l2(grad), alpha) - region.x0
        scale = state.eps / norm(delta, 2).clamp_min_(1e-30)
        state.u = region.project_(region.x0 + delta * per_example(scale, u))
        state.t.tick()
        return state
