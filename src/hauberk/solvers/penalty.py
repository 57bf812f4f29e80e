"""The search for a penalty's constant that Carlini and Wagner's attack and EAD share."""

from dataclasses import dataclass, field, replace
from math import inf
from typing import Any, Self, TypeVar

import numpy as np
import torch
from torch import Tensor

from hauberk.engine.state import Clock, Response, State
from hauberk.errors import InputError
from hauberk.maths.norms import norm
from hauberk.solvers.base import MinNormSolver


@dataclass(kw_only=True)
class PenaltyState(State):
    """The constant of the present round and the bracket that it is searched in."""

    begun: Tensor = field(repr=False)
    """Where every round starts, ``(S, ...)``."""
    c: Tensor
    """The constant of this round, ``(S,)``, between ``low`` (failed) and ``high`` (succeeded)."""
    low: Tensor
    high: Tensor
    won: Tensor
    """Whether this round has succeeded, ``(S,)`` bool."""


P = TypeVar("P", bound=PenaltyState)


@dataclass(frozen=True, kw_only=True)
class PenaltySolver(MinNormSolver[P]):
    """Minimise ``distance + c max(confidence - margin, 0)``, c found by rounds of bisection.

    Args:
        steps: points evaluated in a round.
        searches: rounds. Until one succeeds, c grows tenfold.
        constant: c of the first round, for distances in units of the box's mean width; 0 for twice
            the one that balances both terms at the linearised boundary.
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
        if not (self.constant >= 0 and self.rate > 0 and self.confidence >= 0):
            raise InputError("rate must be above 0, constant and confidence 0 or more")

    def within(self, budget: int, classes: int) -> Self:
        """The same solver with fewer rounds, or shorter ones, of at least about 200 steps.

        Where rounds are left out, c begins at the linearised boundary's.
        """
        # Rounds of a few steps find nothing: rather fewer rounds.
        fewer = max(1, min(self.searches, budget // 400))
        few = replace(self, searches=fewer, constant=self.constant * (fewer == self.searches))
        return super(PenaltySolver, few).within(budget, classes)

    def describe(self) -> dict[str, Any]:
        """Name and settings, and as ``left`` what is left of the published search if not all."""
        full = type(self)()
        if self.searches * self.steps >= full.searches * full.steps:
            return super().describe()
        left = (
            f"{self.searches} of {full.searches} rounds of {self.steps} of {full.steps} steps: its "
            f"own settings cost {full.passes} passes"
        )
        return {**super().describe(), "left": left}

    @property
    def passes(self) -> int:
        return self.searches * (2 * self.steps - 1)

    def finished(self, state: P, response: Response) -> np.ndarray | None:
        clock, last = response.clock, self.searches * self.steps - 1
        return clock.count >= last if clock.most >= last else None

    def wants_gradient(self, clock: Clock) -> bool:
        return bool(((clock.count + 1) % self.steps != 0).any())

    def penalised(self, state: P, response: Response, width: Tensor) -> Tensor:
        """The gradient's weight in the penalty, ``(S,)``: 0 where the constraint holds.

        ``width`` (S,): the box's.
        """
        if self.constant == 0 and response.clock.least == 0:
            # d^2 and c |margin| have the same slope where the linearised margin is gone.
            steep = norm(response.grad, 2).clamp_min(1e-15) * width
            first = (4 * response.loss.abs().to(steep) / steep.square()).clamp(1e-10, 1e10)
            state.c = torch.where(state.c == 0, first, state.c)
        beyond = response.loss >= self.confidence
        state.won = state.won | (response.fooled & beyond)
        return state.c * ~beyond

    def next_round(self, state: P, due: np.ndarray) -> Tensor:
        """The next constant for the slots whose round ends; returns them, ``(S,)`` bool."""
        rows = torch.from_numpy(due).to(state.u.device)
        state.high = torch.where(rows & state.won, torch.minimum(state.high, state.c), state.high)
        state.low = torch.where(rows & ~state.won, torch.maximum(state.low, state.c), state.low)
        middle = torch.where(state.high < inf, (state.low + state.high) / 2, state.c * 10)
        state.c = torch.where(rows, middle.clamp(max=1e10), state.c)
        state.won = state.won & ~rows
        return rows
