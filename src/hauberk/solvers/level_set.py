"""A first-order solver for any differentiable distance."""

from dataclasses import dataclass
from math import inf

import torch
from torch import Tensor

from hauberk.engine.state import Response
from hauberk.maths.norms import norm
from hauberk.maths.steps import per_example, steepest_l2, step_along
from hauberk.objectives.problem import Problem
from hauberk.solvers.base import cosine
from hauberk.solvers.fmn import FMN, FMNState
from hauberk.threats.distances import DistanceRegion


@dataclass(frozen=True, kw_only=True)
class LevelSetFMN(FMN):
    """Fast minimum-norm search with projections on level sets of a linearised distance.

    Where the model is not fooled, a step along the margin's gradient; then the shortest change in
    l2 that brings the distance, to first order, to a level that shrinks while the model is fooled
    and grows while it is not. It rests where the two gradients are parallel, which is what the
    nearest point asks for. Every step takes one gradient of the distance beside the model's.

    Args:
        alpha: first step length, and ``alpha_last`` the last, in l2; in units of the perturbation's
            own length once the model was fooled.
        gamma: first and ``gamma_last`` last relative change of the level.

    Source: the steps are FMN's (Pintor et al. 2021), the projection that of sequential linear
    approximations.

    Example:
        >>> import torch
        >>> model = torch.nn.Linear(4, 3)
        >>> images, labels = torch.full((2, 4), 0.5), torch.tensor([0, 1])
        >>> outcome = LevelSetFMN(steps=10)(model, images, labels, "l2")
        >>> bool((model(outcome.points).argmax(1) != labels)[outcome.fooled].all())
        True
    """

    norms = (1, 2, inf)
    general = True
    measured = True

    steps: int = 500
    alpha: float = 1.0
    alpha_last: float = 0.003
    gamma: float = 0.1
    gamma_last: float = 0.0005

    def init(self, problem: Problem) -> FMNState:
        u = problem.start()
        one = u.new_ones(len(u))
        return FMNState(u=u, eps=one * inf, size=one)

    def step(self, problem: Problem, state: FMNState, response: Response) -> FMNState:
        region = DistanceRegion.require(problem.region, self)
        u, clock, best = state.u, response.clock, response.best
        gamma = cosine(clock, self.steps, self.gamma, self.gamma_last, u)
        closer = torch.minimum(state.eps, -best.loss) * (1 - gamma)
        wider = torch.where(best.fooled, state.eps * (1 + gamma), inf)
        state.eps = torch.where(response.fooled, closer, wider)
        length = norm(best.u - region.x0, 2)
        state.size = torch.where(best.fooled, length, state.size)
        alpha = cosine(clock, self.steps, self.alpha, self.alpha_last, u) * state.size
        # To the linearised boundary, no farther than alpha.
        steep = norm(response.grad, 2).clamp_min(1e-30)
        step = torch.minimum(alpha, (-response.loss / steep).clamp_min(0) * 1.05 + alpha * 0.1)
        moved = region.project_(step_along(u, steepest_l2(response.grad), step))
        for _ in range(2):
            moved = project_to_level(region, moved, state.eps)
        state.u = moved
        return state


def project_to_level(region: DistanceRegion, u: Tensor, eps: Tensor) -> Tensor:
    """``u`` moved to where the linearised distance is at most ``eps`` (S,)."""
    distance, slope = region.slope(u)
    excess = (distance - eps).clamp_min(0).nan_to_num(posinf=0.0)
    back = excess / slope.square().flatten(1).sum(1).clamp_min(1e-30)
    # Never beyond the clean input.
    most = norm(u - region.x0, 2) / norm(slope, 2).clamp_min(1e-30)
    back = torch.minimum(back, most)
    return region.project_(u - per_example(back, u) * slope)
