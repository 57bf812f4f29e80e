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
from hauberk.engine.stepper import record
from hauberk.errors import InputError
from hauberk.maths.rng import Draws
from hauberk.maths.steps import per_example
from hauberk.objectives.problem import Problem
from hauberk.solvers.base import MinNormSolver
from hauberk.threats.metric import Metric


@dataclass(kw_only=True)
class BisectionState(State):
    """The attack in the present ball, and the bracket of radii."""

    inner: State = field(repr=False)
    """Where the attack stands in the present ball, and the best that it has found there."""
    inner_best: BestSoFar = field(repr=False)
    low: Tensor
    """The largest ball in which nothing was found, and ``high``, the least distance found."""
    high: Tensor
    eps: Tensor
    """The ball of the present level, ``(S,)``."""


@dataclass(frozen=True, kw_only=True)
class Bisection(MinNormSolver[BisectionState]):
    """Search balls whose radius is bisected between a failure and the nearest point found.

    Each level runs the attack once, from the nearest point found so far, projected into the smaller
    ball: what one level has done serves the next. A point found counts with its own distance, and
    may lie far inside the ball. Until something is found the radius doubles.

    Args:
        attack: any attack on balls; its loss, targets and softening are taken from this solver.
        levels: balls searched; one attempt costs ``levels`` times the attack's passes.
        first: radius of the first ball in units of the distance to the linearised boundary; a
            warm start's own distance comes first.

    Example:
        >>> import torch
        >>> model = torch.nn.Linear(4, 3)
        >>> images, labels = torch.full((2, 4), 0.5), torch.tensor([0, 1])
        >>> outcome = Bisection(levels=3)(model, images, labels, "linf")
        >>> bool((model(outcome.points).argmax(1) != labels)[outcome.fooled].all())
        True
    """

    general = True

    attack: Attack = field(default_factory=lambda: APGD(steps=20))
    levels: int = 10
    first: float = 2.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.levels < 1 or not self.first > 0:
            raise InputError("levels must be 1 or more, and first above 0")
        if self.attack.spread_size(Metric(2)):
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

    @property
    def length(self) -> int:
        """Evaluations of one level."""
        return self.attack.steps + 1

    def wants_gradient(self, clock: Clock) -> bool:
        return clock.least == 0 or self.attack.wants_gradient(self.inner_clock(clock))

    def finished(self, state: BisectionState, response: Response) -> np.ndarray | None:
        clock, last = response.clock, self.levels * self.length
        return clock.count >= last if clock.most >= last else None

    def init(self, problem: Problem) -> BisectionState:
        u = problem.region.start()
        none = u.new_zeros(len(u))
        # The attack's state stands in until the first ball is known, so that slots can be joined.
        sub = self.inside(problem, none, np.zeros(len(u), dtype=np.int64))
        inner = self.attack.init(sub)
        return BisectionState(
            u=problem.start_from(u), inner=inner, inner_best=BestSoFar.none(inner.u),
            low=none, high=none + inf, eps=none,
        )  # fmt: skip

    def step(self, problem: Problem, state: BisectionState, response: Response) -> BisectionState:
        clock, region = response.clock, self.region(problem)
        due = clock.count % self.length == 0
        if clock.most > 0 and not due.all():
            self.inner_step(problem, state, response)
        if clock.least == 0:
            # The clean input, or a warm start, which is known to fool.
            first = torch.from_numpy(clock.count == 0).to(state.u.device)
            aim = response.loss.abs() / region.dual(response.grad).clamp_min(1e-30)
            aim = torch.where(response.fooled, response.distance / 2, aim * self.first)
            some = response.grad.flatten(1).abs().amax(1) > 0
            state.eps = torch.where(first, torch.where(some, aim, 1.0), state.eps)
        state.high = torch.minimum(state.high, -response.best.loss)
        if due.any():
            level = torch.from_numpy(due & (clock.count > 0)).to(state.u.device)
            missed = level & (state.high > state.eps)
            state.low = torch.where(missed, torch.minimum(state.eps, state.high), state.low)
            middle = region.attainable((state.low + state.high) / 2)
            wider = torch.where(state.high < inf, middle, state.eps * 2)
            state.eps = torch.where(level, wider, state.eps).clamp(max=1e30)
            self.begin(problem, state, response, np.flatnonzero(due))
        state.u, state.candidates = state.inner.u, state.inner.candidates
        return state

    def inner_clock(self, clock: Clock) -> Clock:
        """Which evaluation of its level each slot is at."""
        return Clock(np.maximum(clock.count - 1, 0) % self.length)

    def inner_step(self, problem: Problem, state: BisectionState, response: Response) -> None:
        """One step of the attack in the present balls."""
        sub = self.inside(problem, state.eps, response.clock.count // self.length)
        inner = replace(
            response, clock=self.inner_clock(response.clock), best=state.inner_best,
            better=None, measured=None,
        )  # fmt: skip
        record(self.attack, sub, state.inner, inner)
        state.inner = self.attack.step(sub, state.inner, inner)

    def begin(
        self, problem: Problem, state: BisectionState, response: Response, rows: np.ndarray
    ) -> None:
        """The next level for some of the slots."""
        sub = self.inside(problem, state.eps, (response.clock.count + 1) // self.length)
        best = response.best
        sub.warm = torch.where(per_example(best.fooled, best.u), best.u, sub.region.x0)
        sub.has_warm = best.fooled
        if len(rows) == len(state.u):
            state.inner = self.attack.init(sub)
            state.inner_best = BestSoFar.none(state.inner.u)
            return
        index = torch.from_numpy(rows).to(state.u.device)
        others = np.setdiff1d(np.arange(len(state.u)), rows)
        rest = torch.from_numpy(others).to(index.device)
        back = torch.from_numpy(np.argsort(np.concatenate((others, rows)))).to(index.device)
        new = self.attack.init(sub.take(index))
        state.inner = state.inner.take(rest).join(new).take(back)
        state.inner_best = state.inner_best.take(rest).join(BestSoFar.none(new.u)).take(back)

    def inside(self, problem: Problem, eps: Tensor, level: np.ndarray) -> Problem:
        """The problem inside balls of radius ``eps`` (S,), at its level (S,)."""
        number = torch.from_numpy(level).to(eps.device)
        region = self.region(problem).with_radius(eps)
        draws = Draws(key=problem.draws.key + 7919 * number)
        return Problem(region=region, y=problem.y, target=problem.target, draws=draws)

    def describe(self) -> dict[str, Any]:
        return {**super().describe(), "attack": type(self).__name__, "on": self.attack.describe()}
