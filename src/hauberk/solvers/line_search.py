"""Line search: a found point drawn towards the clean input while the model stays fooled."""

from dataclasses import dataclass, field

import torch
from torch import Tensor

from hauberk.engine.method import Kind
from hauberk.engine.state import Clock, Response, State
from hauberk.objectives.problem import Problem
from hauberk.solvers.base import MinNormSolver
from hauberk.threats.distances import DistanceRegion


@dataclass(kw_only=True)
class LineSearchState(State):
    """The segment that is bisected, and the bracket on it."""

    begun: Tensor = field(repr=False)
    """The warm start, ``(S, ...)``."""
    low: Tensor
    high: Tensor
    """Shares of the segment between which the boundary lies, ``(S,)``: fooled at ``high``."""


@dataclass(frozen=True, kw_only=True)
class LineSearch(MinNormSolver[LineSearchState]):
    """Bisection on the segment from the clean input to a warm start; forwards only.

    In l0, on the number of changes, the largest of which are kept. Wants ``warm``.

    Example:
        >>> import torch
        >>> from hauberk import Linf
        >>> from hauberk.attacks import PGD
        >>> model = torch.nn.Linear(4, 3)
        >>> images, labels = torch.full((2, 4), 0.5), torch.tensor([0, 1])
        >>> broken = PGD(steps=5)(model, images, labels, Linf(0.5))
        >>> nearer = LineSearch()(model, images, labels, "linf", warm=broken.points.unsqueeze(1))
        >>> bool((nearer.distance <= broken.distance)[nearer.fooled].all())
        True
    """

    general = True
    measured = True
    kind = Kind.FREE

    steps: int = 10

    @property
    def passes(self) -> int:
        return self.steps + 1

    def wants_gradient(self, clock: Clock) -> bool:
        return False

    def init(self, problem: Problem) -> LineSearchState:
        u = problem.start()
        low = u.new_zeros(len(u))
        return LineSearchState(u=u, begun=u, low=low, high=low + 1)

    def step(self, problem: Problem, state: LineSearchState, response: Response) -> LineSearchState:
        region = DistanceRegion.require(problem.region, self)
        searching = torch.from_numpy(response.clock.count > 0).to(state.u.device)
        middle = (state.low + state.high) / 2
        high = torch.where(searching & response.fooled, middle, state.high)
        low = torch.where(searching & ~response.fooled, middle, state.low)
        u = region.interpolate(state.begun, (low + high) / 2)
        return LineSearchState(u=u, begun=state.begun, low=low, high=high)
