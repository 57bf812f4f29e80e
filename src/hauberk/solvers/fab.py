"""Fast adaptive boundary attack, aimed at classes."""

from dataclasses import dataclass

import torch
from torch import Tensor

from hauberk.engine.state import Response, State
from hauberk.maths.steps import per_example
from hauberk.objectives.problem import Problem
from hauberk.solvers.base import MinNormSolver
from hauberk.threats.distances import LpDistanceRegion


@dataclass(frozen=True, kw_only=True)
class FAB(MinNormSolver[State]):
    """Fast adaptive boundary attack in its targeted form (Croce & Hein 2020), for any lp.

    Each step projects both the present point and the clean one, exactly and within the box, on the
    linearised boundary between label and target, and moves to a mean of the two that leans to the
    clean one; where the model is fooled it moves back by part of the distance.

    Args:
        alpha: most weight of the clean point's projection.
        eta: how far beyond the linearised boundary a step reaches.
        beta: share of the perturbation kept after a success.
        targets: classes aimed at; 0 takes the runner-up at every step.
        near: distance within which random starts lie; 0 starts at the clean input.

    Example:
        >>> import torch
        >>> model = torch.nn.Linear(4, 3)
        >>> images, labels = torch.full((2, 4), 0.5), torch.tensor([0, 1])
        >>> outcome = FAB(steps=3)(model, images, labels, "linf")
        >>> bool((model(outcome.points).argmax(1) != labels)[outcome.fooled].all())
        True
    """

    general = True

    steps: int = 100
    targets: int = 9
    alpha: float = 0.1
    eta: float = 1.05
    beta: float = 0.9
    near: float = 0.0

    def init(self, problem: Problem) -> State:
        region = self.region(problem)
        u = region.start()
        if self.near > 0:
            radius = u.new_full((len(u),), self.near)
            u = region.random_within(problem.draws, 0, radius)
        return State(u=problem.start_from(u))

    def step(self, problem: Problem, state: State, response: Response) -> State:
        region, u, grad, loss = self.region(problem), state.u, response.grad, response.loss
        if self.beta < 1:
            # The linearisation holds where it was evaluated; the point moves back.
            back = torch.where(response.fooled, self.beta, 1.0)
            moved = u if region.discrete else region.interpolate(u, back)
            loss = loss + ((moved - u) * grad).flatten(1).sum(1)
            u = moved
        return State(u=fab_step(region, u, grad, -loss, self.alpha, self.eta))


def fab_step(
    region: LpDistanceRegion,
    u: Tensor,
    grad: Tensor,
    gap: Tensor,
    alpha: float | Tensor,
    eta: float,
) -> Tensor:
    """FAB's step: a mean of two projections on the linearised boundary, ``(S, ...)``.

    Args:
        region: the geometry.
        u: the present points, ``(S, ...)``.
        grad: normal of the boundary ``grad . (v - u) = gap``, ``(S, ...)``.
        gap: ``(S,)``.
        alpha: most weight of the clean points' projection.
        eta: how far beyond the boundary to go; 1 ends on it.
    """
    ours = region.project_to_hyperplane(u, grad, gap)
    rest = gap + ((u - region.x0) * grad).flatten(1).sum(1)
    theirs = region.project_to_hyperplane(region.x0, grad, rest)
    here = region.measure(ours + (region.x0 - u))
    there = region.measure(theirs)
    weight = (here / (here + there).clamp_min(1e-30)).clamp(max=alpha)
    weight = per_example(weight, u)
    from_point = u + eta * (ours - u)
    from_clean = region.x0 + eta * (theirs - region.x0)
    return region.project_(from_point + weight * (from_clean - from_point))
