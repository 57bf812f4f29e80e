"""Bisection over the radius of balls that any attack searches."""

from dataclasses import dataclass, field, replace
from math import inf
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor

from hauberk.attacks.apgd import APGD
from hauberk.attacks.base import Attack
from hauberk.engine.state import BestSoFar, Clock, Response, State
from hauberk.errors import InputError
from hauberk.maths.rng import Draws
from hauberk.objectives.problem import Problem
from hauberk.solvers.base import MinNormSolver, gauge, known, meet


@dataclass(kw_only=True)
class BisectionState(State):
    inner: State = field(repr=False)
    low: Tensor
    """The largest ball in which nothing was found, and ``high``, the least distance found."""
    high: Tensor
    eps: Tensor
    """The ball of the present level, ``(S,)``."""


@dataclass(frozen=True, kw_only=True)
class Bisection(MinNormSolver):
    """Search balls whose radius is bisected between a miss and the nearest find.

    Each level runs the attack once, from the nearest point found so far, projected into the smaller
    ball: what one level has done serves the next. A find counts with its own distance, which may
    lie far inside the ball. Until something is found the radius doubles.

    Args:
        attack: any attack on balls; its loss, targets and softening are taken from this solver.
        levels: balls searched; one attempt costs ``levels`` times the attack's passes.
        first: radius of the first ball in units of the distance to the linearised boundary; a
            warm start's own distance comes first.
    """

    general = True

    attack: Attack = field(default_factory=lambda: APGD(steps=20))
    levels: int = 10
    first: float = 2.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.levels < 1 or not self.first > 0:
            raise InputError("levels must be 1 or more, and first above 0")
        if self.attack.rows:
            raise InputError(f"bisection cannot drive {type(self.attack).__name__}: use EpsSearch")

    def within(self, budget: int, classes: int) -> Self:
        levels = (budget - bool(self.targets)) // self.attempts(classes) - 2
        if levels // self.attack.passes < 1:
            least = self.attempts(classes) * (2 + self.attack.passes) + bool(self.targets)
            raise InputError(f"a budget of {budget} passes is too small: Bisection needs {least}")
        return replace(self, levels=levels // self.attack.passes)

    @property
    def passes(self) -> int:
        return 2 + self.levels * self.attack.passes

    def wants_gradient(self, state: State) -> bool:
        assert isinstance(state, BisectionState)
        return state.t.least == 0 or self.attack.wants_gradient(state.inner)

    def over(self, state: State) -> np.ndarray | None:
        last = self.levels * (self.attack.steps + 1)
        return state.t.count > last if state.t.most > last else None

    def start(self, problem: Problem) -> State:
        u = problem.region.start()
        none = u.new_zeros(len(u))
        clock, best = Clock.zero(len(u)), BestSoFar.none(u)
        state = BisectionState(
            u=u, t=clock, best=best, inner=State(u=u, t=clock, best=best),
            low=none, high=none + inf, eps=none,
        )  # fmt: skip
        # Stands in until the first ball is known, so that slots under way can be joined.
        state.inner = self.attack.start(self.sub(problem, state))
        known(problem, state)
        return state

    def step(self, problem: Problem, state: State, response: Response) -> State:
        assert isinstance(state, BisectionState)
        distance = meet(problem, state, response)
        grad, length = response.grad, self.attack.steps + 1
        first = torch.from_numpy(state.t.count == 0).to(state.u.device)
        if state.t.most > 0:
            state.inner = self.attack.step(self.sub(problem, state), state.inner, response)
        if state.t.least == 0:
            assert grad is not None
            # The clean input, or a warm start, which is known to fool.
            aim = response.loss.abs() / gauge(problem).dual(grad).clamp_min(1e-30)
            aim = torch.where(response.fooled, distance / 2, aim * self.first)
            top = torch.where(grad.flatten(1).abs().amax(1) > 0, aim, 1.0)
            state.eps = torch.where(first, top, state.eps)
        state.high = torch.minimum(state.high, -state.best.loss)
        due = state.t.count % length == 0
        state.t.tick()
        if due.any():
            level = torch.from_numpy(due & (state.t.count > 1)).to(state.u.device)
            missed = level & (state.high > state.eps)
            state.low = torch.where(missed, torch.minimum(state.eps, state.high), state.low)
            middle = (state.low + state.high) / 2
            if gauge(problem).p == 0:
                middle = middle.floor()
            wider = torch.where(state.high < inf, middle, state.eps * 2)
            state.eps = torch.where(level, wider, state.eps).clamp(max=1e30)
            self.begin(problem, state, np.flatnonzero(due))
        state.u, state.spread = state.inner.u, state.inner.spread
        return state

    def begin(self, problem: Problem, state: BisectionState, rows: np.ndarray) -> None:
        """The next level for some of the slots."""
        sub = self.sub(problem, state)
        sub.warm, sub.has_warm = state.best.u, state.best.fooled
        every = len(rows) == len(state.u)
        index = torch.from_numpy(rows).to(state.u.device)
        if every:
            state.inner = self.attack.start(sub)
            return
        others = np.setdiff1d(np.arange(len(state.u)), rows)
        rest = state.inner.take(torch.from_numpy(others).to(index.device))
        back = torch.from_numpy(np.argsort(np.concatenate((others, rows)))).to(index.device)
        state.inner = rest.join(self.attack.start(sub.take(index))).take(back)

    def sub(self, problem: Problem, state: BisectionState) -> Problem:
        """The problem inside the present ball."""
        level = torch.from_numpy(state.t.count // (self.attack.steps + 1)).to(state.u.device)
        region = gauge(problem).with_radius(state.eps)
        draws = Draws(key=problem.draws.key + 7919 * level)
        return Problem(region=region, y=problem.y, target=problem.target, draws=draws)

    def describe(self) -> dict[str, Any]:
        return {**super().describe(), "attack": type(self).__name__, "on": self.attack.describe()}
