"""Line search: a found point drawn towards the clean input while the model stays fooled."""

from dataclasses import dataclass, field

import torch
from torch import Tensor

from hauberk.engine.method import Kind
from hauberk.engine.state import BestSoFar, Clock, Response, State
from hauberk.maths.steps import per_example
from hauberk.objectives.problem import Problem
from hauberk.solvers.base import MinNormSolver, known, meet
from hauberk.threats.distances import LpDistanceRegion


@dataclass(kw_only=True)
class RefineState(State):
    far: Tensor = field(repr=False)
    """The warm start, ``(S, ...)``."""
    low: Tensor
    high: Tensor
    """Shares of the way between which the boundary lies, ``(S,)``: fooled at ``high``."""


@dataclass(frozen=True, kw_only=True)
class LineSearch(MinNormSolver):
    """Bisection on the segment from the clean input to a warm start; forwards only.

    In l0, on the number of changes, the largest of which are kept. Wants ``warm``.
    """

    general = True
    measured = True
    kind = Kind.FREE

    steps: int = 10

    def start(self, problem: Problem) -> State:
        u = problem.region.start()
        ends = u.new_zeros(len(u))
        state = RefineState(
            u=u, t=Clock.zero(len(u)), best=BestSoFar.none(u), far=u, low=ends, high=ends + 1
        )
        known(problem, state)
        state.far = state.u
        return state

    @property
    def passes(self) -> int:
        return self.steps + 1

    def wants_gradient(self, state: State) -> bool:
        return False

    def step(self, problem: Problem, state: State, response: Response) -> State:
        assert isinstance(state, RefineState)
        meet(problem, state, response)
        begun = torch.from_numpy(state.t.count > 0).to(state.u.device)
        middle = (state.low + state.high) / 2
        state.high = torch.where(begun & response.fooled, middle, state.high)
        state.low = torch.where(begun & ~response.fooled, middle, state.low)
        state.u = toward(problem, state.far, (state.low + state.high) / 2)
        state.t.tick()
        return state


def toward(problem: Problem, far: Tensor, share: Tensor) -> Tensor:
    """The point a ``share`` (S,) of the way from the clean inputs to ``far``."""
    region = problem.region
    if isinstance(region, LpDistanceRegion):
        return region.interpolate(far, share)
    way = far - region.x0
    return region.project_(region.x0 + way * per_example(share.to(way.dtype), way))
