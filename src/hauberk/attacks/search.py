"""Exhaustive and random search: the points of a grid, of a finite set, or drawn at random."""

from dataclasses import dataclass
from math import gcd, prod

import numpy as np
import torch
from torch import Tensor

from hauberk.attacks.base import Attack
from hauberk.engine.method import Kind
from hauberk.engine.state import Clock, Response, State
from hauberk.errors import InputError
from hauberk.objectives.problem import Problem
from hauberk.threats.base import Threat
from hauberk.threats.region import Enumerable


@dataclass(kw_only=True)
class GridState(State):
    """How many queries an enumeration takes."""

    queries: np.ndarray
    """Queries until all candidates were seen, ``(S,)``."""


@dataclass(frozen=True, kw_only=True)
class Grid(Attack[GridState]):
    """Every point of a grid over the threat, or of a finite set (Engstrom et al. 2019).

    For threats whose region is :class:`~hauberk.threats.region.Enumerable`: warps and finite
    sets. Exhaustive, so one attempt is enough, and warm starts are not used. No backwards.

    Args:
        counts: how many values of each parameter, the ends of the threat included: angles, shifts
            right, shifts down. Their product is how many points are evaluated; of a finite set,
            all members are, be they fewer or more.
        chunk: points per example that are evaluated at once; one forward more goes to the best of
            each chunk. They are taken from all over the grid, so that easy examples end early.

    ``steps`` has no effect.

    Raises:
        InputError: for a threat that cannot be enumerated.

    Example:
        >>> import torch
        >>> from hauberk import RotationTranslation
        >>> model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(36, 3))
        >>> images, labels = torch.rand(2, 1, 6, 6), torch.tensor([0, 1])
        >>> grid = Grid(counts=(3, 2, 2), chunk=6)
        >>> grid(model, images, labels, RotationTranslation(), stop=False).forwards  # 12 and 2 more
        tensor([14, 14])
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

    def spread_size(self, threat: Threat) -> int:
        return self.rows

    @property
    def rows(self) -> int:
        """Points of one query."""
        return min(self.chunk, prod(self.counts))

    @property
    def passes(self) -> int:
        """Most passes per example; a finite set of more members than the grid has points
        takes as many more.
        """
        return -(-prod(self.counts) // self.rows) * (self.rows + 1)

    def wants_gradient(self, clock: Clock) -> bool:
        return False

    def finished(self, state: GridState, response: Response) -> np.ndarray | None:
        done = response.clock.count + 1 >= state.queries
        return done if done.any() else None

    def init(self, problem: Problem) -> GridState:
        u = problem.region.start()
        region = Enumerable.require(problem.region, self)
        queries = np.full(len(u), -(-region.count(self.counts) // self.rows))
        first = torch.zeros(len(u), dtype=torch.int64, device=u.device)
        return GridState(u=u, queries=queries, candidates=self._points(region, first))

    def step(self, problem: Problem, state: GridState, response: Response) -> GridState:
        region = Enumerable.require(problem.region, self)
        state.candidates = self._points(region, response.clock.on(state.u, later=1))
        return state

    def _points(self, region: Enumerable, query: Tensor) -> Tensor:
        """The points of query number ``query`` (S,), ``(S, rows, ...)``."""
        count = region.count(self.counts)
        row = query.unsqueeze(1) * self.rows + torch.arange(self.rows, device=query.device)
        # The last chunk starts again at the first points. A stride coprime to the count visits all.
        return region.candidate(row % count * _stride(count) % count, self.counts)


def _stride(count: int) -> int:
    """A number coprime to ``count``, near its golden section: few neighbours come in one chunk."""
    stride = max(1, round(count * 0.618))
    while gcd(stride, count) > 1:
        stride += 1
    return stride


@dataclass(frozen=True, kw_only=True)
class RandomSearch(Attack[State]):
    """The worst of some random points of any threat (Engstrom et al. 2019: "worst-of-k").

    The first one may be a warm start. One forward per point, no backwards.

    Args:
        samples: points per attempt; 10 as published.

    ``steps`` has no effect.

    Example:
        >>> import torch
        >>> from hauberk import Linf
        >>> model = torch.nn.Linear(4, 3)
        >>> images, labels = torch.full((2, 4), 0.5), torch.tensor([0, 1])
        >>> outcome = RandomSearch(samples=5)(model, images, labels, Linf(0.1), stop=False)
        >>> outcome.forwards
        tensor([5, 5])
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

    def wants_gradient(self, clock: Clock) -> bool:
        return False

    def finished(self, state: State, response: Response) -> np.ndarray | None:
        clock, last = response.clock, self.samples - 1
        return clock.count >= last if clock.most >= last else None

    def init(self, problem: Problem) -> State:
        u = problem.start(random=True)
        return State(u=u)

    def step(self, problem: Problem, state: State, response: Response) -> State:
        draw = response.clock.on(state.u, later=1)
        state.u = problem.region.random(problem.draws, draw)
        return state
