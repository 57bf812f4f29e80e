"""PGD on mixtures of two threats, one part at a time."""

from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from hauberk.attacks.pgd import PGD, PGDState
from hauberk.engine.state import Response
from hauberk.errors import InputError
from hauberk.maths.steps import share_from
from hauberk.objectives.problem import Problem
from hauberk.threats.region import Mixed


@dataclass(kw_only=True)
class MixtureState(PGDState):
    """What PGD remembers, and which slots have nothing to move."""

    still: np.ndarray = field(repr=False)
    """Whether the held part has the whole budget, ``(S,)`` bool."""


@dataclass(frozen=True, kw_only=True)
class MixturePGD(PGD):
    """The affine attacks of Tramèr & Boneh 2019 (section 4, appendix E): a part at a time.

    Of a mixture ``affine(A,B)`` of balls, ``beta`` times A and ``1 - beta`` times B, steps move the
    part of A and the part of B in turn, each along the steepest step of its own ball. Of a warp and
    a ball, every attempt draws a warp from ``beta`` times A and holds it, and all steps move the
    part of the ball; the worst attempt counts. Where one part has the whole budget, it alone moves.
    :class:`PGD` and :class:`APGD` move all parts at every step, warps along their gradient, which
    is stronger.

    Args:
        first: ``turns`` to move the first part in turn with the second, ``held`` to hold it where
            the start drew it; if left out, ``turns`` for a ball and ``held`` for the rest.
        steps: of both parts together.
        step_share: of the budget of the part that moves; ``2.5`` over its number of steps if left
            out.
        restarts: attempts at each beta: how many warps are held, one after the other.
        share: for an l1 part, the share of coordinates that a step moves, as in
            :class:`SparseL1Descent`.

    Raises:
        InputError: for a threat that is no mixture, and for parts held without a random start.

    Example:
        >>> import torch
        >>> from hauberk import threat
        >>> model = torch.nn.Linear(4, 3)
        >>> images, labels = torch.full((2, 4), 0.5), torch.tensor([0, 1])
        >>> mixture = threat("affine(linf:0.1,l2:0.3)")
        >>> outcome = MixturePGD(steps=4)(model, images, labels, mixture)
        >>> bool(mixture.contains(images, outcome.points, outcome.witness).all())
        True
    """

    steps: int = 100
    restarts: int = 10
    first: Literal["turns", "held"] | None = None
    share: float | tuple[float, float] | None = (0.005, 0.2)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.first not in (None, "turns", "held"):
            raise InputError(f"unknown first '{self.first}': choose turns or held, or leave it out")
        if self.first == "held" and not self.random_start:
            raise InputError("a held part needs a random start: leave out random_start")
        if self.rule != "steepest" or self.momentum:
            raise InputError("MixturePGD takes steepest steps without momentum: use PGD for others")

    def init(self, problem: Problem) -> MixtureState:
        region = self._region(problem)
        begun = super().init(problem)
        still = region.beta.cpu().numpy() == 1
        return MixtureState(
            u=begun.u, velocity=None,
            share=None if begun.share is None else share_from(begun.share, region.features),
            still=still if self._held(problem) else np.zeros_like(still),
        )  # fmt: skip

    def finished(self, state: PGDState, response: Response) -> np.ndarray | None:
        done = super().finished(state, response)
        assert isinstance(state, MixtureState)
        if not state.still.any():
            return done
        return state.still if done is None else state.still | done

    def step(self, problem: Problem, state: PGDState, response: Response) -> PGDState:
        region, held = self._region(problem), self._held(problem)
        turn = response.clock.on(state.u) % 2 == 1
        second = (turn | held | (region.beta == 0)) & (region.beta < 1)
        step: Tensor | float = self.step_size or self.length(region)
        if not (held or self.step_size or self.step_share):
            mixed = (region.beta > 0) & (region.beta < 1)
            step = torch.where(mixed, self._own_length(), step)
        moved = region.ascent_of(second, state.u, response.grad, step, state.share)
        state.u = region.project_(moved)
        return state

    def _own_length(self) -> float:
        """The default step where a part has half of the steps."""
        return min(2.5 / max(1, self.steps // 2), 1.0)

    def _held(self, problem: Problem) -> bool:
        return self.first == "held" or (self.first is None and not self._region(problem).both_move)

    def _region(self, problem: Problem) -> Mixed:
        return Mixed.require(problem.region, self)
