"""Decoupled direction and norm."""

from dataclasses import dataclass

import torch
from torch import Tensor

from hauberk.engine.state import Response, State
from hauberk.maths.norms import norm
from hauberk.maths.steps import per_example, steepest_l2, step_along
from hauberk.objectives.problem import Problem
from hauberk.solvers.base import MinNormSolver, cosine


@dataclass(kw_only=True)
class DDNState(State):
    """The length of the next perturbation."""

    length: Tensor
    """Length that the next perturbation is given, ``(S,)``."""


@dataclass(frozen=True, kw_only=True)
class DDN(MinNormSolver[DDNState]):
    """Decoupled direction and norm (Rony et al. 2019, Algorithm 1), l2.

    Steps along the normalised gradient, then the perturbation is given a length that shrinks by
    ``gamma`` where the model is fooled and grows where it is not.

    Args:
        eps: first length. ``alpha``: first step length; it falls to a hundredth.

    Example:
        >>> import torch
        >>> model = torch.nn.Linear(4, 3)
        >>> images, labels = torch.full((2, 4), 0.5), torch.tensor([0, 1])
        >>> outcome = DDN(steps=10)(model, images, labels, "l2")
        >>> bool((model(outcome.points).argmax(1) != labels)[outcome.fooled].all())
        True
    """

    norms = (2,)

    loss: str = "ce"
    steps: int = 1000
    eps: float = 1.0
    gamma: float = 0.05
    alpha: float = 1.0

    def init(self, problem: Problem) -> DDNState:
        u = problem.start()
        length = u.new_full((len(u),), self.eps)
        return DDNState(u=u, length=problem.if_warm(self.region(problem).measure(u), length))

    def step(self, problem: Problem, state: DDNState, response: Response) -> DDNState:
        region, u = problem.region, state.u
        alpha = cosine(response.clock, self.steps, self.alpha, self.alpha / 100, u)
        length = state.length * torch.where(response.fooled, 1 - self.gamma, 1 + self.gamma)
        delta = step_along(u, steepest_l2(response.grad), alpha) - region.x0
        scale = length / norm(delta, 2).clamp_min_(1e-30)
        u = region.project_(region.x0 + delta * per_example(scale, u))
        return DDNState(u=u, length=length)
