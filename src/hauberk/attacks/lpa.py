"""Lagrangian attacks on threats given by a distance: ``LPA`` and ``FastLPA``."""

from dataclasses import dataclass, field
from math import isfinite

import numpy as np
import torch
from torch import Tensor

from hauberk.attacks.base import Attack
from hauberk.engine.state import Response, State
from hauberk.errors import InputError
from hauberk.maths.norms import norm
from hauberk.maths.steps import TINY, movable, steepest_l2, step_along
from hauberk.objectives.problem import Problem
from hauberk.threats.distances import MeasuredDistanceRegion


@dataclass(kw_only=True)
class LagrangeState(State):
    """The price of distance in each slot, and the bracket that it is searched in."""

    distance: Tensor
    """Distance of ``u``, ``(S,)``, and ``slope``, its gradient."""
    slope: Tensor = field(repr=False)
    price: Tensor
    """What a unit of distance beyond the radius costs, ``(S,)``: lambda."""
    low: Tensor
    """Largest price at which a round ended outside, ``(S,)``; 0 for none yet."""
    high: Tensor
    """Smallest price at which a round ended inside; inf for none yet."""


@dataclass(frozen=True, kw_only=True)
class LPA(Attack[LagrangeState]):
    """Lagrangian perceptual attack (Laidlaw et al. 2021, Algorithm 2), on measured threats.

    Ascent of ``loss - price * max(distance - radius, 0)``, by steps of given distance that decay
    to a tenth within each of ``outer`` rounds. A round goes on from where the last one ended, which
    is moved inside first. The price grows tenfold after each round that ends outside, as in the
    authors' code; after one that ended inside, the geometric middle of both is tried. Points
    outside fool nobody.

    The authors' price is a plain number, so that the units of loss and distance matter. Here it
    counts in units of the length of the loss's gradient over the distance's, at each point.
    ``relative=False, price=0.01`` is theirs.

    Each step makes three forward passes and one backward pass of the distance beside those of the
    victim.

    Args:
        steps: of all rounds together.
        outer: rounds.
        step_share: length of the first step of each round, in units of the radius.
        price: first lambda.
        relative: whether it counts in units of the gradients' ratio.

    Example:
        >>> import torch
        >>> from hauberk import Measured
        >>> def distance(x, y):
        ...     return (x - y).flatten(1).norm(dim=1)
        >>> model = torch.nn.Linear(4, 3)
        >>> images, labels = torch.full((2, 4), 0.5), torch.tensor([0, 1])
        >>> outcome = LPA(steps=5)(model, images, labels, Measured(distance, 0.1, name="l2"))
        >>> bool((outcome.distance <= 0.1).all())
        True
    """

    steps: int = 100
    outer: int = 5
    step_share: float = 1.0
    price: float = 0.1
    relative: bool = True

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 1 <= self.outer <= self.steps:
            raise InputError(f"outer is {self.outer}: give 1 to steps ({self.steps})")
        for name in ("step_share", "price"):
            value = getattr(self, name)
            if not (isfinite(value) and value > 0):
                raise InputError(f"{name} is {value}: give a number above 0")

    def init(self, problem: Problem) -> LagrangeState:
        region = MeasuredDistanceRegion.require(problem.region, self)
        u = problem.start(random=True)
        distance, slope = region.slope(u)
        price = torch.full_like(distance, self.price)
        return LagrangeState(
            u=u, distance=distance, slope=slope,
            feasible=distance <= region.inner, price=price, low=torch.zeros_like(price),
            high=torch.full_like(price, torch.inf),
        )  # fmt: skip

    def step(self, problem: Problem, state: LagrangeState, response: Response) -> LagrangeState:
        region = MeasuredDistanceRegion.require(problem.region, self)
        count = response.clock.count
        begins = self.begins()
        round_ = np.searchsorted(begins, count, side="right") - 1
        done = (count - begins[round_]) / np.diff(np.append(begins, self.steps))[round_]
        length = torch.from_numpy(self.step_share * 0.1**done).to(state.u) * region.eps
        price = self.priced(state, count)
        if self.relative:
            price = price * _length(response.grad) / _length(state.slope).clamp_min_(TINY)
        beyond = (state.distance > region.inner).to(price.dtype)
        grad = step_along(response.grad, state.slope, -price * beyond)
        # A distance that is infinite says where it is not to go, but not by how much.
        direction = steepest_l2(movable(state.u, grad.nan_to_num_(), *region.edges))
        per_length = region.rate(state.u, direction)
        span = (length / per_length).nan_to_num_(nan=0.0).clamp_(max=region.diameter)
        state.u = torch.clamp(step_along(state.u, direction, span), *region.edges)
        self.end_round(state, region, np.isin(count + 1, [*begins[1:], self.steps]))
        state.distance, state.slope = region.slope(state.u)
        state.feasible = state.distance <= region.inner
        return state

    def begins(self) -> np.ndarray:
        """The step at which each round begins."""
        return np.arange(self.outer) * self.steps // self.outer

    def priced(self, state: LagrangeState, count: np.ndarray) -> Tensor:
        """The price of this step, ``(S,)``; ``count`` (S,) steps are done."""
        return state.price

    def end_round(
        self, state: LagrangeState, region: MeasuredDistanceRegion, due: np.ndarray
    ) -> None:
        """Search on for the price, and move inside, where a round ends: ``due`` (S,)."""
        if not due.any():
            return
        rows = torch.from_numpy(np.flatnonzero(due)).to(state.u.device)
        part, u = region.take(rows), state.u[rows]
        with torch.no_grad():
            outside = ~(part.measure(u) <= part.inner)
        price, low, high = state.price[rows], state.low[rows], state.high[rows]
        low = torch.where(outside, price, low)
        high = torch.where(outside, high, price)
        middle = (torch.where(low > 0, low, high / 100) * high).sqrt()
        state.price = state.price.index_copy(
            0, rows, torch.where(high < torch.inf, middle, 10 * low)
        )
        state.low, state.high = (
            state.low.index_copy(0, rows, low),
            state.high.index_copy(0, rows, high),
        )
        state.u = state.u.index_copy(0, rows, part.project_(u))


@dataclass(frozen=True, kw_only=True)
class FastLPA(LPA):
    """Fast Lagrangian perceptual attack (Laidlaw et al. 2021, Algorithm 3), on measured threats.

    One round without projection; the price rises tenfold along it, up to ``price``, which is the
    authors' with ``relative=False``. It may end
    outside, and points outside fool nobody: use :class:`LPA` to evaluate, this one to train.

    Example:
        >>> import torch
        >>> from hauberk import Measured
        >>> def distance(x, y):
        ...     return (x - y).flatten(1).norm(dim=1)
        >>> model = torch.nn.Linear(4, 3)
        >>> images, labels = torch.full((2, 4), 0.5), torch.tensor([0, 1])
        >>> outcome = FastLPA(steps=5)(model, images, labels, Measured(distance, 0.1, name="l2"))
        >>> bool((outcome.distance <= 0.1).all())
        True
    """

    steps: int = 20
    outer: int = 1
    price: float = 10.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.outer != 1:
            raise InputError(f"FastLPA makes one round, not {self.outer}: use LPA for more")

    def priced(self, state: LagrangeState, count: np.ndarray) -> Tensor:
        return state.price * torch.from_numpy(0.1 ** (1 - count / self.steps)).to(state.price)

    def end_round(
        self, state: LagrangeState, region: MeasuredDistanceRegion, due: np.ndarray
    ) -> None:
        """Nothing: points stay where they are."""


def _length(grad: Tensor) -> Tensor:
    return norm(grad, 2)
