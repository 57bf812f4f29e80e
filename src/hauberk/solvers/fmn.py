"""Fast minimum-norm attack."""

from dataclasses import dataclass
from math import inf

import torch
from torch import Tensor

from hauberk.engine.state import Response, State
from hauberk.maths.norms import norm
from hauberk.maths.steps import steepest_l2, step_along
from hauberk.objectives.problem import Problem
from hauberk.solvers.base import MinNormSolver, cosine
from hauberk.threats.distances import LpDistanceRegion


@dataclass(kw_only=True)
class FMNState(State):
    """The ball of each slot and the unit of its steps."""

    eps: Tensor
    """Radius of the ball searched, ``(S,)``."""
    size: Tensor
    """Unit of the step lengths, ``(S,)``."""


@dataclass(frozen=True, kw_only=True)
class FMN(MinNormSolver[FMNState]):
    """Fast minimum-norm attack (Pintor et al. 2021, Algorithm 1), for any lp.

    Gradient steps of fixed l2 length are projected on a ball that shrinks while the model is fooled
    and grows while it is not; until it first is, the ball reaches to the linearised boundary.

    Args:
        alpha: first step length, and ``alpha_last`` the last, in l2; in units of the perturbation's
            own length where there is a warm start.
        gamma: first and ``gamma_last`` last relative change of the radius.
        steepest: step along the norm's own steepest ascent, signs in linf, instead of the gradient;
            ``alpha`` is then in the norm, in units of the nearest distance found, or of the ball's
            radius until there is one. In l0 it has no effect.

    Example:
        >>> import torch
        >>> model = torch.nn.Linear(4, 3)
        >>> images, labels = torch.full((2, 4), 0.5), torch.tensor([0, 1])
        >>> outcome = FMN(steps=10)(model, images, labels, "l1")
        >>> bool((model(outcome.points).argmax(1) != labels)[outcome.fooled].all())
        True
    """

    general = True

    steps: int = 1000
    alpha: float = 1.0
    alpha_last: float = 0.01
    gamma: float = 0.05
    gamma_last: float = 0.001
    steepest: bool = False

    def init(self, problem: Problem) -> FMNState:
        u = problem.start()
        eps = u.new_full((len(u),), 1.0 if problem.region.discrete else inf)
        length = problem.if_warm(norm(u - problem.region.x0, 2), u.new_ones(len(u)))
        return FMNState(u=u, eps=eps, size=length)

    def step(self, problem: Problem, state: FMNState, response: Response) -> FMNState:
        region, clock = self.region(problem), response.clock
        gamma = cosine(clock, self.steps, self.gamma, self.gamma_last, state.u)
        state.eps = self.radius(region, state, response, gamma)
        alpha = cosine(clock, self.steps, self.alpha, self.alpha_last, state.u)
        if self.steepest and not region.discrete:
            near = torch.where(response.best.fooled, -response.best.loss, state.eps)
            moved = region.ascent(state.u, response.grad, alpha * near.clamp(max=1e30))
        else:
            moved = step_along(state.u, steepest_l2(response.grad), alpha * state.size)
        state.u = region.project_within_(moved, state.eps)
        return state

    def radius(
        self, region: LpDistanceRegion, state: FMNState, response: Response, gamma: Tensor
    ) -> Tensor:
        """The next radius, ``(S,)``: smaller where the model is fooled, larger elsewhere."""
        eps, nearest, grad = state.eps, -response.best.loss, response.grad
        if region.discrete:
            closer = torch.minimum(eps - 1, (eps * (1 - gamma)).floor())
            closer = torch.minimum(closer, nearest - 1).clamp_min_(0)
            wider = torch.maximum(eps + 1, (eps * (1 + gamma)).floor())
            return torch.where(response.fooled, closer, wider)
        closer = torch.minimum(eps, nearest) * (1 - gamma)
        to_boundary = -response.loss / region.dual(grad).clamp_min_(1e-30)
        # A little beyond the linearised boundary: on it, rounding keeps a linear model right.
        beyond = (response.distance + to_boundary.clamp(0, 1e30)) * (1 + gamma)
        wider = torch.where(response.best.fooled, eps * (1 + gamma), beyond)
        return torch.where(response.fooled, closer, wider)
