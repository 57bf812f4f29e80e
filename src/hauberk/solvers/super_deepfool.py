"""SuperDeepFool: DeepFool, with the perturbation turned to the boundary's normal in between."""

from dataclasses import dataclass, field
from math import inf

import torch
from torch import Tensor

from hauberk.engine.state import Response, State
from hauberk.maths.steps import per_example
from hauberk.objectives.problem import Problem
from hauberk.solvers.walk import Walk


@dataclass(kw_only=True)
class SuperDeepFoolState(State):
    """Where the present walk of DeepFool began, and how far it has come."""

    begun: Tensor = field(repr=False)
    """The clean input, or the projection after which the present walk began, ``(S, ...)``."""
    base: Tensor = field(repr=False)
    """``begun`` plus all steps since, before the overshoot, ``(S, ...)``."""
    projected: Tensor
    """Whether the query is a projection, ``(S,)`` bool."""


@dataclass(frozen=True, kw_only=True)
class SuperDeepFool(Walk[SuperDeepFoolState]):
    """SuperDeepFool, SDF(inf, 1) (Abdollahpour et al. 2024, Algorithm 1), any lp with p >= 1.

    DeepFool's steps until the model is fooled, then the perturbation is replaced by its projection
    on the gradient there, the boundary's normal, which the nearest point of a smooth boundary is
    parallel to; and again from there, until a projection itself fools the model. In the box and in
    norms other than l2 the projection is the nearest point to the clean input on the hyperplane
    through the present point. As with :class:`~hauberk.solvers.deepfool.DeepFool`, every class
    aimed at has an attempt of its own. Warm starts are not used.

    Args:
        overshoot: every walk of DeepFool is asked for with this share of its length added.
        targets: classes aimed at; 0 takes the runner-up at every step.

    Source: Abdollahpour, Abroshan & Moosavi-Dezfooli 2024, "SuperDeepFool: a new fast and accurate
    minimal adversarial attack" (2023 as "Revisiting DeepFool").

    Example:
        >>> import torch
        >>> model = torch.nn.Linear(4, 3)
        >>> images, labels = torch.full((2, 4), 0.5), torch.tensor([0, 1])
        >>> outcome = SuperDeepFool(steps=5)(model, images, labels, "l2")
        >>> bool((model(outcome.points).argmax(1) != labels)[outcome.fooled].all())
        True
    """

    norms = (1, 2, inf)
    general = True

    steps: int = 100
    targets: int = 9

    def init(self, problem: Problem) -> SuperDeepFoolState:
        u = problem.region.start()
        # No warm starts: from far inside a class the first projection may fool, and end it there.
        fresh = torch.zeros(len(u), dtype=torch.bool, device=u.device)
        return SuperDeepFoolState(u=u, begun=u, base=u, projected=fresh)

    def over(self, state: SuperDeepFoolState, response: Response) -> Tensor | None:
        return state.projected & response.fooled if response.any_fooled else None

    def step(
        self, problem: Problem, state: SuperDeepFoolState, response: Response
    ) -> SuperDeepFoolState:
        region, u, grad, fooled = self.region(problem), state.u, response.grad, response.fooled
        gap = (-response.loss).to(u.dtype).nan_to_num(nan=0.0)
        base = state.base + (region.project_to_hyperplane(u, grad, gap) - u)
        beyond = region.project_(state.begun + (base - state.begun) * (1 + self.overshoot))
        across = ((u - region.x0) * grad).flatten(1).sum(1)
        turned = region.project_to_hyperplane(region.x0, grad, across)
        # A projection that fools is the end: it stays, until the loop looks.
        going, hit = per_example(~(state.projected & fooled), u), per_example(fooled, u)
        return SuperDeepFoolState(
            u=torch.where(going, torch.where(hit, turned, beyond), u),
            begun=torch.where(going & hit, turned, state.begun),
            base=torch.where(going, torch.where(hit, turned, base), state.base),
            projected=fooled,
        )
