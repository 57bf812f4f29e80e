"""Carlini and Wagner's attack, and the search for a penalty's constant that others share."""

from dataclasses import dataclass, field, replace
from math import inf
from typing import Self

import numpy as np
import torch
from torch import Tensor

from hauberk.engine.state import BestSoFar, Clock, Response, State, keep_
from hauberk.errors import InputError
from hauberk.maths.steps import per_example
from hauberk.objectives.problem import Problem
from hauberk.solvers.base import MinNormSolver, gauge, known, meet
from hauberk.threats.distances import LpDistanceRegion

INNER = 1 - 1e-6  # where tanh still has a slope to leave by


@dataclass(kw_only=True)
class PenaltyState(State):
    begun: Tensor = field(repr=False)
    """Where every round starts, ``(S, ...)``."""
    c: Tensor
    """The constant of this round, ``(S,)``, between ``low`` (failed) and ``high`` (succeeded)."""
    low: Tensor
    high: Tensor
    won: Tensor
    """Whether this round has succeeded, ``(S,)`` bool."""


@dataclass(frozen=True, kw_only=True)
class PenaltySolver(MinNormSolver):
    """Minimise ``distance + c max(confidence - margin, 0)``, c found by rounds of bisection.

    Args:
        steps: points asked for in a round.
        searches: rounds. Until one succeeds, c grows tenfold.
        constant: c of the first round, for distances in units of the box's mean width.
        confidence: how far beyond the boundary a success must lie, in the model's logits. What is
            returned is the nearest point that fools the model, at whatever margin.
        rate: step size, for the same unit.
    """

    steps: int = 1000
    searches: int = 9
    constant: float = 1e-3
    confidence: float = 0.0
    rate: float = 1e-2

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.searches < 1:
            raise InputError(f"searches is {self.searches}: give 1 or more")
        if not (self.constant > 0 and self.rate > 0 and self.confidence >= 0):
            raise InputError("constant and rate must be above 0, confidence 0 or more")

    def within(self, budget: int, classes: int) -> Self:
        # Rounds of a few steps find nothing: rather fewer rounds.
        fewer = max(1, min(self.searches, budget // 400))
        return super(PenaltySolver, replace(self, searches=fewer)).within(budget, classes)

    @property
    def passes(self) -> int:
        return self.searches * (2 * self.steps - 1)

    def over(self, state: State) -> np.ndarray | None:
        last = self.searches * self.steps
        return state.t.count >= last if state.t.most >= last else None

    def wants_gradient(self, state: State) -> bool:
        return bool(((state.t.count + 1) % self.steps != 0).any())

    def meet(self, problem: Problem, state: PenaltyState, response: Response) -> Tensor:
        """Keep what fools; returns the gradient's weight in the penalty, ``(S,)``."""
        meet(problem, state, response)
        beyond = response.loss >= self.confidence
        state.won = state.won | (response.fooled & beyond)
        return state.c * ~beyond

    def turn(self, state: PenaltyState, due: np.ndarray) -> Tensor:
        """The next constant for the slots whose round ends; returns them, ``(S,)`` bool."""
        rows = torch.from_numpy(due).to(state.u.device)
        state.high = torch.where(rows & state.won, torch.minimum(state.high, state.c), state.high)
        state.low = torch.where(rows & ~state.won, torch.maximum(state.low, state.c), state.low)
        middle = torch.where(state.high < inf, (state.low + state.high) / 2, state.c * 10)
        state.c = torch.where(rows, middle.clamp(max=1e10), state.c)
        state.won = state.won & ~rows
        return rows


@dataclass(kw_only=True)
class CWState(PenaltyState):
    w: Tensor = field(repr=False)
    first: Tensor = field(repr=False)
    """First moment of the gradients in ``w``, and ``second``, ``(S, ...)``."""
    second: Tensor = field(repr=False)


@dataclass(frozen=True, kw_only=True)
class CW(PenaltySolver):
    """Carlini and Wagner's l2 attack (2017, section V.A): tanh variables, Adam, searched constant.

    Raises:
        InputError: where the box is unbounded.
    """

    norms = (2,)

    def start(self, problem: Problem) -> State:
        u = problem.region.start()
        if not all(bool(torch.isfinite(edge).all()) for edge in gauge(problem).edges):
            raise InputError("CW needs a bounded box: give box=(lo, hi) with finite numbers")
        one, none = u.new_ones(len(u)), torch.zeros_like(u)
        state = CWState(
            u=u, t=Clock.zero(len(u)), best=BestSoFar.none(u), begun=u, w=none, first=none,
            second=none.clone(), c=one * self.constant, low=one * 0, high=one * inf, won=one < 0,
        )  # fmt: skip
        known(problem, state)
        state.begun = state.u
        state.w = self.encode(gauge(problem), state.u)
        state.first = none.clone()
        return state

    @staticmethod
    def encode(region: LpDistanceRegion, u: Tensor) -> Tensor:
        """The ``w`` of inputs, at the edges of the box slightly inside."""
        lo, hi = region.edges
        half = (hi - lo) / 2
        share = torch.where(half > 0, (u - (lo + half)) / half.clamp_min(1e-30), 0.0)
        return torch.atanh(share.clamp(-1, 1) * INNER)

    def step(self, problem: Problem, state: State, response: Response) -> State:
        assert isinstance(state, CWState)
        region, u = gauge(problem), state.u
        weight = self.meet(problem, state, response)
        k = state.t.count % self.steps
        state.t.tick()
        lo, hi = region.edges
        half = (hi - lo) / 2
        if response.grad is not None:
            width = mean_width(region)
            away = (u - region.x0) * per_example(2 / width**2, u)
            slope = away - response.grad.clamp(-1e15, 1e15) * per_example(weight, u)
            slope = slope * half * (1 - torch.tanh(state.w).square_())
            state.first.mul_(0.9).add_(slope, alpha=0.1)
            state.second.mul_(0.999).addcmul_(slope, slope, value=0.001)
            count = torch.from_numpy(k + 1).to(u.device, u.dtype)
            rate = self.rate / (1 - 0.9**count)
            root = (state.second / per_example(1 - 0.999**count, u)).sqrt_().add_(1e-8)
            state.w = state.w - per_example(rate, u) * state.first / root
        state.u = torch.addcmul(lo + half, half, torch.tanh(state.w)).clamp_(lo, hi)
        due = k == self.steps - 1
        if due.any():
            again = self.turn(state, due).to(u.dtype)
            keep_(state.w, self.encode(region, state.begun), again)
            keep_(state.u, state.begun, again)
            state.first.mul_(per_example(1 - again, u))
            state.second.mul_(per_example(1 - again, u))
        return state


def mean_width(region: LpDistanceRegion) -> Tensor:
    """The box's mean width over the features of each example, ``(S,)``; 1 where it is unbounded."""
    lo, hi = region.edges
    width = (hi - lo).expand(region.x0.shape[1:]).mean()
    return torch.where(torch.isfinite(width) & (width > 0), width, 1.0).expand(len(region.x0))
