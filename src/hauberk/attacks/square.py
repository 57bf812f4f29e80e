"""Square: random search with square-shaped updates; needs no gradient."""

from dataclasses import dataclass

import numpy as np
import torch

from hauberk.attacks.base import Attack
from hauberk.engine.method import Kind
from hauberk.engine.state import Clock, Response, State
from hauberk.errors import InputError
from hauberk.maths.square_windows import Windows, image_shape, window
from hauberk.objectives.problem import Problem
from hauberk.threats.region import Patchable

HALVINGS = (10, 50, 200, 500, 1000, 2000, 4000, 6000, 8000)
"""Of 10,000 queries, those after which the painted share of the image is halved."""


@dataclass(frozen=True, kw_only=True)
class Square(Attack[State]):
    """Square attack (Andriushchenko et al. 2020), for every ball.

    A query repaints one square window of the best point so far, as the threat's geometry allows
    (``Patchable.repaint_window``), and is kept if the loss rises. ``steps + 1`` forwards, no
    backwards.

    Args:
        share: share of the image that the first windows cover; halved as the queries pass, at the
            published times stretched to ``steps``.
        blind: start from the threat's own coarse pattern even where a warm start is at hand.

    Example:
        >>> import torch
        >>> from hauberk import Linf
        >>> model = torch.nn.Linear(4, 3)
        >>> images, labels = torch.full((2, 4), 0.5), torch.tensor([0, 1])
        >>> outcome = Square(steps=10)(model, images, labels, Linf(0.1))
        >>> outcome.backwards
        tensor([0, 0])
    """

    kind = Kind.FREE

    steps: int = 1000
    share: float = 0.8
    blind: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 < self.share <= 1:
            raise InputError(f"share is {self.share}: give a share of the image in (0, 1]")

    @property
    def passes(self) -> int:
        return self.steps + 1

    def wants_gradient(self, clock: Clock) -> bool:
        return False

    def init(self, problem: Problem) -> State:
        u = Patchable.require(problem.region, self).random_coarse(problem.draws, 0)
        if problem.warm is not None and not self.blind:
            u = problem.start_from(u)
        return State(u=u)

    def step(self, problem: Problem, state: State, response: Response) -> State:
        region, draws = Patchable.require(problem.region, self), problem.draws
        best, count = response.best.u, response.clock.count + 1
        _, height, width = image_shape(best.shape[1:])
        side = torch.from_numpy(self.sides(count, height, width)).to(best.device)
        draw = torch.from_numpy(count).to(best.device)
        new = window(draws.split(1), draw, side, height, width)
        old = window(draws.split(2), draw, side, height, width)
        windows = Windows(new, old, side)
        state.u = region.project_(region.repaint_window(best, windows, draws.split(3), draw))
        return state

    def sides(self, count: np.ndarray, height: int, width: int) -> np.ndarray:
        """Side of the window at each count of queries."""
        scaled = count * 10_000 / self.steps
        share = self.share / 2.0 ** np.searchsorted(HALVINGS, scaled, side="left")
        # A vector is a row: its windows are segments.
        side = share * width if height == 1 else np.sqrt(share * height * width)
        whole: np.ndarray = np.clip(np.round(side), 1, max(height, width)).astype(np.int64)
        return whole
