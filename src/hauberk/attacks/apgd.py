"""Auto-PGD: projected gradient ascent that sets its own step size."""

from dataclasses import dataclass, field
from functools import cache

import numpy as np
import torch
from torch import Tensor

from hauberk.attacks.apgd_l1 import SparseState, sparse_start, sparse_step
from hauberk.attacks.base import Attack
from hauberk.engine.state import BestSoFar, Response, State, keep_
from hauberk.errors import InputError
from hauberk.objectives.problem import Problem


@dataclass(kw_only=True)
class APGDState(State):
    """The step sizes of Auto-PGD and what its checkpoints decide by."""

    prev: Tensor = field(repr=False)
    best_grad: Tensor = field(repr=False)
    step: Tensor
    """Step size, ``(S,)``."""
    loss: Tensor
    rises: Tensor
    """Steps since the last checkpoint on which the loss rose."""
    mark: Tensor
    """Best loss at the last checkpoint."""
    halved: Tensor
    """Whether the last checkpoint shortened the step."""


@dataclass(frozen=True, kw_only=True)
class APGD(Attack[APGDState | SparseState]):
    """Auto-PGD (Croce & Hein 2020, Algorithm 1), for every ball.

    The step starts at twice the radius; at checkpoints it is halved, and the search goes back to
    the best point, where the loss rose on at most ``rho`` of the steps or the best has not
    improved. In sparse geometries (l1) the steps move an adaptive share of the coordinates, and the
    search first walks through larger balls (Croce & Hein 2021).

    Args:
        rho: share of rising steps that keeps the step size.
        enlarge: radii of the phases in sparse geometries, in units of the threat's own, the last
            one 1; ``(1,)`` turns this off.

    Example:
        >>> import torch
        >>> from hauberk import Linf
        >>> model = torch.nn.Linear(4, 3)
        >>> images, labels = torch.full((2, 4), 0.5), torch.tensor([0, 1])
        >>> outcome = APGD(steps=5)(model, images, labels, Linf(0.1))
        >>> bool((outcome.distance <= 0.1).all())
        True
    """

    rho: float = 0.75
    enlarge: tuple[float, ...] = (3.0, 2.0, 1.0)

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.enlarge or self.enlarge[-1] != 1:
            raise InputError(f"enlarge is {self.enlarge}: its last radius must be 1")

    def init(self, problem: Problem) -> APGDState | SparseState:
        region = problem.region
        if region.sparse:
            return sparse_start(problem, self.enlarge)
        u = problem.start(random=True)
        n = len(u)
        none = u.new_full((n,), torch.inf)
        return APGDState(
            u=u, prev=u, best_grad=torch.zeros_like(u), step=region.eps * 2, loss=none,
            rises=torch.zeros_like(none), mark=-none, halved=torch.ones_like(none),
        )  # fmt: skip

    def step(
        self, problem: Problem, state: APGDState | SparseState, response: Response
    ) -> APGDState | SparseState:
        if isinstance(state, SparseState):
            return sparse_step(problem, state, response, self.steps, self.enlarge)
        u, grad, region = state.u, response.grad, problem.region
        keep_(state.best_grad, grad, response.improved)
        state.rises += response.loss > state.loss
        state.loss = response.loss
        window = response.clock.look_up(checkpoints(self.steps))
        if window is not None:
            u, grad = self.checkpoint(state, u, grad, window, response.best)
        moved = region.project_(region.ascent(u, grad, state.step))
        if response.clock.least > 0:
            # u + 0.75 (moved - u) + 0.25 (u - prev)
            moved.mul_(0.75).add_(u, alpha=0.5).add_(state.prev, alpha=-0.25)
            moved = region.project_(moved)
        elif response.clock.most > 0:
            first = torch.from_numpy(response.clock.count == 0).to(u.device, u.dtype)
            leant = moved.mul(0.75).add_(u, alpha=0.5).add_(state.prev, alpha=-0.25)
            moved = keep_(region.project_(leant), moved, first)
        state.u, state.prev = moved, u
        return state

    def checkpoint(
        self, state: APGDState, u: Tensor, grad: Tensor, window: np.ndarray, best: BestSoFar
    ) -> tuple[Tensor, Tensor]:
        """Halve steps that do not pay and go back to the best point there (conditions 1 and 2)."""
        k = torch.from_numpy(window).to(u.device, u.dtype)
        due = k > 0
        stuck = (state.halved == 0) & (state.mark >= best.loss)
        halve = due & ((state.rises <= self.rho * k) | stuck)
        rows = halve.to(u.dtype)
        state.halved = torch.where(due, rows, state.halved)
        state.mark = torch.where(due, best.loss, state.mark)
        state.rises = state.rises * ~due
        state.step = state.step * (1 - 0.5 * rows)
        return keep_(u, best.u, rows), keep_(grad, state.best_grad, rows)


@cache
def checkpoints(steps: int) -> np.ndarray:
    """For each count of steps done, the length of the window that ends there, or 0."""
    window = np.zeros(steps + 2, dtype=np.int64)
    k, least, less = (max(int(f * steps), 1) for f in (0.22, 0.06, 0.03))
    at = k
    while at <= steps:
        window[at] = k
        k = max(k - less, least)
        at += k
    return window
