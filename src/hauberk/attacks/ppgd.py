"""Perceptual projected gradient descent: ``PPGD``."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from hauberk.attacks.base import Attack
from hauberk.engine.state import Response, State
from hauberk.errors import InputError
from hauberk.maths.steps import movable, per_example, steepest_l2, step_along
from hauberk.objectives.problem import Problem
from hauberk.threats.distances import MeasuredDistanceRegion


@dataclass(frozen=True, kw_only=True)
class PPGD(Attack[State]):
    """Perceptual projected gradient descent (Laidlaw et al. 2021, Algorithm 1).

    Each step goes where the loss gains most, to first order, among all moves of a given distance:
    along the inverse of the distance's curvature J'J times the gradient, by ``conjugate``
    iterations of conjugate gradients. Products with J'J are differences of gradients of half the
    squared distance from the present point, so any measured threat will do (for p = 1 features the
    curvature is that of p = 2). Coordinates that the box stops take no part. Then the point is
    moved straight towards the clean input until inside.

    Each step makes ``conjugate + 3`` forward passes, those of the projection, and ``conjugate``
    backward passes of the distance beside those of the victim.

    Args:
        steps: 5 in the authors' code, which is too few to compare solvers.
        step_share: length of a step in units of the radius; ``2 / steps``, at most 1, if left out.
        conjugate: iterations of conjugate gradients per step.
        h: length of the differences, in units of the box's diagonal.

    Example:
        >>> import torch
        >>> from hauberk import Measured
        >>> def distance(x, y):
        ...     return (x - y).flatten(1).norm(dim=1)
        >>> model = torch.nn.Linear(4, 3)
        >>> images, labels = torch.full((2, 4), 0.5), torch.tensor([0, 1])
        >>> outcome = PPGD(steps=3)(model, images, labels, Measured(distance, 0.1, name="l2"))
        >>> bool((outcome.distance <= 0.1).all())
        True
    """

    steps: int = 40
    step_share: float | None = None
    conjugate: int = 5
    h: float = 1e-3

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.step_share is not None and not self.step_share > 0:
            raise InputError(f"step_share is {self.step_share}: give more than 0, or leave it out")
        if self.conjugate < 1:
            raise InputError(f"conjugate is {self.conjugate}: give 1 or more")
        if not 0 < self.h < 1:
            raise InputError(f"h is {self.h}: give a number between 0 and 1, like 1e-3")

    def init(self, problem: Problem) -> State:
        MeasuredDistanceRegion.require(problem.region, self)
        u = problem.start(random=True)
        return State(u=u)

    def step(self, problem: Problem, state: State, response: Response) -> State:
        region, u = MeasuredDistanceRegion.require(problem.region, self), state.u
        grad = steepest_l2(movable(u, response.grad, *region.edges))
        free = (grad != 0) | (response.grad == 0)
        product = _curvature(region, u, self.h * float(region.diameter))
        direction = steepest_l2(solve(lambda v: product(v) * free, grad, self.conjugate))
        length = region.eps * (self.step_share or min(2 / self.steps, 1.0))
        span = (length / region.rate(u, direction, self.h)).nan_to_num_(nan=0.0)
        moved = step_along(u, direction, span.clamp_(max=region.diameter))
        state.u = region.project_(moved)
        return state


def solve(product: Callable[[Tensor], Tensor], b: Tensor, steps: int) -> Tensor:
    """``x`` with ``product(x) = b`` by conjugate gradients from 0, each row of (S, ...) on its own.

    A row stops where it is solved, or where the product has no curvature left. A row without any
    keeps ``b``.
    """
    x, residual, direction = torch.zeros_like(b), b, b
    size = _dot(residual, residual)
    first, live = size, size > 0
    for _ in range(steps):
        along = product(direction)
        bend = _dot(direction, along)
        live = live & (bend > 1e-12 * _dot(direction, direction)) & (size > 1e-12 * first)
        rate = torch.where(live, size / bend, 0.0)
        x = step_along(x, direction, rate)
        residual = step_along(residual, along, -rate)
        before, size = size, _dot(residual, residual)
        direction = step_along(residual, direction, torch.where(live, size / before, 0.0))
    return torch.where(per_example(_dot(x, x) > 0, b), x, b)


def _dot(a: Tensor, b: Tensor) -> Tensor:
    return (a * b).flatten(1).sum(1)


def _curvature(region: MeasuredDistanceRegion, u: Tensor, h: float) -> Callable[[Tensor], Tensor]:
    """``v -> J'J v`` at ``u``: gradients of ``distance(u, u + w)^2 / 2``, w of length h."""
    here = region.smoothed().around(u)

    def product(v: Tensor) -> Tensor:
        length = v.flatten(1).norm(dim=1)
        distance, slope = here.slope(torch.add(u, steepest_l2(v), alpha=h))
        return slope * per_example(distance * length / h, u)

    return product
