"""DeepFool: walk from one linearised boundary to the next until the model is fooled."""

from dataclasses import dataclass, field

import torch
from torch import Tensor

from hauberk.engine.state import Response, State
from hauberk.maths.steps import per_example
from hauberk.objectives.problem import Problem
from hauberk.solvers.walk import Walk


@dataclass(kw_only=True)
class DeepFoolState(State):
    """The sum of the steps before the overshoot."""

    base: Tensor = field(repr=False)
    """Clean input plus all steps so far, before the overshoot, ``(S, ...)``."""


@dataclass(frozen=True, kw_only=True)
class DeepFool(Walk[DeepFoolState]):
    """DeepFool (Moosavi-Dezfooli et al. 2016, Algorithm 2), for any lp, within the box.

    The paper steps to the nearest of all linearised boundaries, which needs one gradient per class
    and step. Here every class aimed at has an attempt of its own, one gradient per step, and the
    nearest result counts: the cost is the same, and the class is chosen at the end, when the
    distances are known, not at every step. An attempt ends as soon as the model is fooled. Warm
    starts are not used.

    Args:
        overshoot: the perturbation is asked for with this share of its length added.
        targets: classes aimed at; 0 takes the runner-up at every step.

    Example:
        >>> import torch
        >>> model = torch.nn.Linear(4, 3)
        >>> images, labels = torch.full((2, 4), 0.5), torch.tensor([0, 1])
        >>> outcome = DeepFool(steps=3)(model, images, labels, "l2")
        >>> bool((model(outcome.points).argmax(1) != labels)[outcome.fooled].all())
        True
    """

    general = True

    steps: int = 50
    targets: int = 9

    def init(self, problem: Problem) -> DeepFoolState:
        u = problem.region.start()
        # No warm starts: they fool already, and nothing leads on from there.
        return DeepFoolState(u=u, base=u)

    def over(self, state: DeepFoolState, response: Response) -> Tensor | None:
        return response.best.fooled if response.best.any_fooled else None

    def step(self, problem: Problem, state: DeepFoolState, response: Response) -> DeepFoolState:
        region, u = self.region(problem), state.u
        gap = (-response.loss).to(u.dtype).nan_to_num(nan=0.0)
        base = state.base + (region.project_to_hyperplane(u, response.grad, gap) - u)
        beyond = region.x0 + (base - region.x0) * (1 + self.overshoot)
        # Those that are fooled stay, until the loop looks.
        going = per_example(~response.fooled, u)
        state.base = torch.where(going, base, state.base)
        state.u = torch.where(going, region.project_(beyond), u)
        return state
