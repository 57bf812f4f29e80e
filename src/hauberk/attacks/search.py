"""Searches that only look: the points of a grid or of a finite set, or points at random."""

from dataclasses import dataclass
from math import gcd, prod

import numpy as np
import torch
from torch import Tensor

from hauberk.attacks.base import Attack
from hauberk.engine.method import Kind
from hauberk.engine.state import BestSoFar, Clock, Response, State
from hauberk.errors import InputError
from hauberk.objectives.problem import Problem
from hauberk.threats.region import Enumerable


@dataclass(kw_only=True)
class GridState(State):
    asks: np.ndarray
    """Asks until all candidates were seen, ``(S,)``."""


@dataclass(frozen=True, kw_only=True)
class Grid(Attack):
    """Every point of a grid over the threat, or of a finite set (Engstrom et al. 2019).

    For threats whose region is :class:`~hauberk.threats.region.Enumerable`: warps and finite
    sets. Exhaustive, so one attempt is enough, and no warm start is looked at. No backwards.

    Args:
        counts: how many values of each parameter, the ends of the threat included: angles, shifts
            right, shifts down. Their product is how many points are looked at; of a finite set,
            all members are, be they fewer or more.
        chunk: points per example that are evaluated at once; one forward more goes to the best of
            each chunk. They are taken from all over the grid, so that easy examples end early.

    ``steps`` has no effect.

    Raises:
        InputError: for a threat that cannot be enumerated.
    """

    kind = Kind.FREE

    steps: int = 1
    counts: tuple[int, ...] = (31, 5, 5)
    chunk: int = 31

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.counts or min(self.counts) < 1:
            raise InputError(f"counts are {self.counts}: give 1 or more for each parameter")
        if self.chunk < 1:
            raise InputError(f"chunk is {self.chunk}: give 1 or more")

    @property
    def rows(self) -> int:
        return min(self.chunk, prod(self.counts))

    @property
    def passes(self) -> int:
        """Most passes per example; a finite set of more members than the grid has points
        takes as many more.
        """
        return -(-prod(self.counts) // self.rows) * (self.rows + 1)

    def wants_gradient(self, state: State) -> bool:
        return False

    def over(self, state: State) -> np.ndarray | None:
        assert isinstance(state, GridState)
        done = state.t.count >= state.asks
        return done if done.any() else None

    def start(self, problem: Problem) -> State:
        u = problem.region.start()
        asks = -(-self._points(problem) // self.rows)
        state = GridState(
            u=u, t=Clock.zero(len(u)), best=BestSoFar.none(u), asks=np.full(len(u), asks)
        )  # fmt: skip
        return self._ask(problem, state)

    def _points(self, problem: Problem) -> int:
        region = problem.region
        if not isinstance(region, Enumerable):
            raise InputError(
                f"{type(region).__name__} has no grid to search: use Grid for warps and finite "
                "sets, and RandomSearch or a gradient attack here"
            )
        return region.count(self.counts)

    def _ask(self, problem: Problem, state: GridState) -> State:
        region = problem.region
        count = self._points(problem)
        assert isinstance(region, Enumerable)
        at = torch.from_numpy(state.t.count).to(state.u.device)
        row = at.unsqueeze(1) * self.rows + torch.arange(self.rows, device=at.device)
        # The last chunk starts again at the first points. A stride prime to the count meets all.
        state.spread = region.candidate(row % count * _stride(count) % count, self.counts)
        return state

    def step(self, problem: Problem, state: State, response: Response) -> State:
        assert isinstance(state, GridState)
        state.best.update_(state.u, response)
        state.t.tick()
        return self._ask(problem, state)


def _stride(count: int) -> int:
    """A number prime to ``count``, near its golden section: few neighbours come in one chunk."""
    stride = max(1, round(count * 0.618))
    while gcd(stride, count) > 1:
        stride += 1
    return stride


@dataclass(frozen=True, kw_only=True)
class RandomSearch(Attack):
    """The worst of some random points of any threat (Engstrom et al. 2019: "worst-of-k").

    The first one may be a warm start. One forward per point, no backwards.

    Args:
        samples: points per attempt; 10 as published.

    ``steps`` has no effect.
    """

    kind = Kind.FREE

    steps: int = 1
    samples: int = 10

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.samples < 1:
            raise InputError(f"samples is {self.samples}: give 1 or more")

    @property
    def passes(self) -> int:
        return self.samples

    def wants_gradient(self, state: State) -> bool:
        return False

    def over(self, state: State) -> np.ndarray | None:
        return state.t.count >= self.samples if state.t.most >= self.samples else None

    def start(self, problem: Problem) -> State:
        u = problem.begin()
        return State(u=u, t=Clock.zero(len(u)), best=BestSoFar.none(u))

    def step(self, problem: Problem, state: State, response: Response) -> State:
        state.best.update_(state.u, response)
        state.t.tick()
        draw: Tensor = torch.from_numpy(state.t.count).to(state.u.device)
        state.u = problem.region.random(problem.draws, draw)
        return state
