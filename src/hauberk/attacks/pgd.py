"""Projected gradient ascent and its near relatives: FGSM, momentum, sparse l1 descent."""

from dataclasses import dataclass, field
from typing import Any, Literal

import torch
from torch import Tensor

from hauberk.attacks.base import Attack
from hauberk.engine.state import Response, State, cosine
from hauberk.errors import InputError
from hauberk.maths.steps import per_example, share_from, step_along
from hauberk.objectives.problem import Problem
from hauberk.threats.base import Region


@dataclass(kw_only=True)
class PGDState(State):
    """The momentum of PGD and the share of coordinates of its steps."""

    velocity: Tensor | None = field(repr=False)
    share: Tensor | None
    """Share of coordinates that a sparse step moves, ``(S,)``."""


@dataclass(frozen=True, kw_only=True)
class PGD(Attack[PGDState]):
    """Projected gradient ascent with a fixed step (Madry et al. 2018), in any threat.

    Args:
        step_size: in the threat's unit; ``2.5 * eps / steps`` if left out (Ding et al. 2020), eps
            for a single step.
        step_share: the same, in units of the threat's size: 1 / 30 for 0.01 at 0.3.
        random_start: start from a random point of the threat, else from the clean input.
        schedule: ``constant``, or steps that fall to 0 along a ``cosine`` (Xie et al. 2025); with
            ``step_share=1`` they begin at the threat's size.
        momentum: decay of the sum of normalised gradients (Dong et al. 2018); 0 turns it off.
        rule: ``steepest`` for the threat's own steepest step, ``gradient`` for the raw gradient
            times ``step_size`` (Wang et al. 2021).
        share: for sparse geometries, the share of coordinates that a step moves: a number, or a
            range from which every attempt draws its own. One coordinate if left out.
        loss: cross-entropy by default, as published.

    Example:
        >>> import torch
        >>> from hauberk import Linf
        >>> model = torch.nn.Linear(4, 3)
        >>> images, labels = torch.full((2, 4), 0.5), torch.tensor([0, 1])
        >>> outcome = PGD(steps=5)(model, images, labels, Linf(0.1))
        >>> outcome.forwards.max() <= 6
        tensor(True)
    """

    loss: Any = "ce"
    steps: int = 40
    step_size: float | None = None
    step_share: float | None = None
    random_start: bool = True
    schedule: Literal["constant", "cosine"] = "constant"
    momentum: float = 0.0
    rule: Literal["steepest", "gradient"] = "steepest"
    share: float | tuple[float, float] | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.step_size is not None and not self.step_size > 0:
            raise InputError(f"step_size is {self.step_size}: give more than 0, or leave it out")
        if self.step_share is not None and (not self.step_share > 0 or self.step_size is not None):
            raise InputError(
                f"step_share is {self.step_share}: give more than 0, and not step_size as well"
            )
        if self.schedule not in ("constant", "cosine"):
            raise InputError(f"unknown schedule '{self.schedule}': choose constant or cosine")
        if not self.momentum >= 0:
            raise InputError(f"momentum is {self.momentum}: give 0 or more")
        if self.rule not in ("steepest", "gradient"):
            raise InputError(f"unknown rule '{self.rule}': choose steepest or gradient")
        if self.share is not None and not all(0 < s <= 1 for s in self._shares):
            raise InputError(f"share is {self.share}: shares of coordinates lie in (0, 1]")

    @property
    def _shares(self) -> tuple[float, float]:
        assert self.share is not None
        return self.share if isinstance(self.share, tuple) else (self.share, self.share)

    def init(self, problem: Problem) -> PGDState:
        u = problem.start(random=self.random_start)
        share = None
        if self.share is not None:
            low, high = self._shares
            share = problem.draws.uniform(1, (), u.dtype) * (high - low) + low
        return PGDState(
            u=u, share=share,
            velocity=torch.zeros_like(u) if self.momentum else None,
        )  # fmt: skip

    def length(self, region: Region) -> Tensor:
        """The default step size, ``(S,)``."""
        return region.eps * (self.step_share or min(2.5 / self.steps, 1.0))

    def step(self, problem: Problem, state: PGDState, response: Response) -> PGDState:
        grad, region = response.grad, problem.region
        if state.velocity is not None:
            ends = torch.finfo(grad.dtype)
            size = grad.abs().flatten(1).sum(1).clamp_(ends.tiny, ends.max)
            grad = state.velocity.mul_(self.momentum).add_(grad / per_example(size, grad))
        step = self.length(region) if self.step_size is None else self.step_size
        if self.schedule == "cosine":
            step = cosine(response.clock, self.steps, 1.0, 0.0, state.u) * step
        if self.rule == "gradient":
            moved = step_along(state.u, grad, step)
        else:
            moved = region.ascent(state.u, grad, step, state.share)
        state.u = region.project_(moved)
        return state


@dataclass(frozen=True, kw_only=True)
class FGSM(PGD):
    """One steepest step of the threat's full size from the clean input (Goodfellow et al. 2015).

    Example:
        >>> import torch
        >>> from hauberk import Linf
        >>> model = torch.nn.Linear(4, 3)
        >>> images, labels = torch.full((2, 4), 0.5), torch.tensor([0, 1])
        >>> outcome = FGSM()(model, images, labels, Linf(0.1), stop=False)
        >>> outcome.forwards, outcome.backwards
        (tensor([2, 2]), tensor([1, 1]))
    """

    steps: int = 1
    random_start: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.steps != 1:
            raise InputError(f"FGSM takes one step, not {self.steps}: use PGD for more")


@dataclass(frozen=True, kw_only=True)
class SparseL1Descent(PGD):
    """Sparse l1 descent (Tramèr & Boneh 2019, Algorithm 1).

    Each step moves the coordinates whose gradient is at or above a percentile q of all, by equal
    amounts, ignoring those that the box stops; ``share`` is 1 - q, and the percentile is that of
    numpy. The paper draws q from [0.8, 0.995] for every attack and names no step size: it is
    ``2.5 * eps / steps`` here.

    Example:
        >>> import torch
        >>> from hauberk import L1
        >>> model = torch.nn.Linear(4, 3)
        >>> images, labels = torch.full((2, 4), 0.5), torch.tensor([0, 1])
        >>> outcome = SparseL1Descent(steps=5)(model, images, labels, L1(0.5))
        >>> bool((outcome.distance <= 0.5).all())
        True
    """

    steps: int = 100
    random_start: bool = False
    share: float | tuple[float, float] | None = (0.005, 0.2)

    def init(self, problem: Problem) -> PGDState:
        state = super().init(problem)
        if state.share is not None:
            state.share = share_from(state.share, state.u[0].numel() if len(state.u) else 1)
        return state
