"""What passes between a stepper and the engine: state (the query), response, clock, best point."""

from dataclasses import dataclass, field
from math import cos, pi

import numpy as np
import torch
from torch import Tensor

from hauberk.maths.rows import Rows
from hauberk.maths.steps import per_example


@dataclass
class Clock(Rows):
    """Which evaluation each slot is at, counted from 0. On the host: it never depends on data.

    Engine and steppers branch on it without waiting for a device, and mostly on its ends, since
    slots that started together stay together.

    Example:
        >>> clock = Clock.zero(2)
        >>> clock.tick()
        >>> clock.count, clock.least, clock.most
        (array([1, 1]), 1, 1)
    """

    count: np.ndarray
    """``(S,)`` int64."""

    def __post_init__(self) -> None:
        some = len(self.count) > 0
        self.least = int(self.count.min()) if some else 0
        self.most = int(self.count.max()) if some else 0

    @classmethod
    def zero(cls, slots: int) -> "Clock":
        """So many slots at their first evaluation."""
        return cls(np.zeros(slots, dtype=np.int64))

    def on(self, like: Tensor, later: int = 0) -> Tensor:
        """The counts plus ``later``, ``(S,)`` int64, on the device of a tensor."""
        return torch.from_numpy(self.count + later).to(like.device)

    def look_up(self, table: np.ndarray) -> np.ndarray | None:
        """The table's entry at each slot's count, ``(S,)``; None if all of them are 0."""
        if self.least == self.most and not table[self.least]:
            return None
        found = table[self.count]
        return found if found.any() else None

    def tick(self) -> None:
        """One evaluation more for every slot."""
        self.count += 1
        self.least += 1
        self.most += 1


@dataclass(kw_only=True)
class BestSoFar(Rows):
    """The best feasible point of each slot: ``u`` (S, ...), its ``loss`` and ``fooled`` (S,).

    ``loss`` is what :meth:`hauberk.engine.stepper.Stepper.value` says of the point.
    """

    u: Tensor
    loss: Tensor
    fooled: Tensor
    any_fooled: bool = False

    @classmethod
    def none(cls, u: Tensor) -> "BestSoFar":
        """Nothing evaluated yet; ``u`` stands in."""
        loss = u.new_full((len(u),), -torch.inf)
        return cls(u=u.clone(), loss=loss, fooled=torch.zeros_like(loss, dtype=torch.bool))

    def update_(self, u: Tensor, value: Tensor, fooled: Tensor, any_fooled: bool = True) -> Tensor:
        """Take over the rows whose value is larger; returns their weights, (S,) of 0 and 1."""
        value = value if value.dtype == u.dtype else value.to(u.dtype)
        if any_fooled:
            # A point of NaN logits fools: no loss is larger.
            value = value.nan_to_num(nan=torch.inf, posinf=torch.inf, neginf=-torch.inf)
        better = value > self.loss
        rows = better.to(u.dtype)
        keep_(self.u, u, rows)
        self.loss = torch.fmax(self.loss, value)
        if any_fooled or self.any_fooled:
            self.fooled = torch.where(better, fooled, self.fooled)
            self.any_fooled = True
        return rows


@dataclass(kw_only=True)
class Answer(Rows):
    """What one evaluation of the model says, one row per point.

    Attributes:
        loss: the objective's loss, ``(S,)``.
        fooled: whether the victim decides wrongly, ``(S,)`` bool.
        gradient: of the loss in ``u``, never NaN; None if none was asked for.
        any_fooled: False if the host knows that no point fools.
    """

    loss: Tensor
    fooled: Tensor
    gradient: Tensor | None = None
    any_fooled: bool = True


@dataclass(kw_only=True)
class Response(Answer):
    """What the engine gives a stepper after an evaluation of its query.

    For candidates, ``loss`` and ``fooled`` are ``(S, K)``.

    Attributes:
        clock: which evaluation of each slot this was, from 0.
        best: the best point so far, this one included.
        better: 1 where this point is the new best one, else 0, ``(S,)`` in the dtype of ``u``.
        measured: distance of ``u`` from the clean input, ``(S,)``, for steppers that measure.
    """

    clock: Clock
    best: BestSoFar = field(repr=False)
    better: Tensor | None = None
    measured: Tensor | None = None

    @property
    def grad(self) -> Tensor:
        """Gradient of the loss in ``u``, ``(S, ...)``; for steppers that asked for it."""
        if self.gradient is None:
            raise RuntimeError("no gradient was asked for: see Stepper.wants_gradient")
        return self.gradient

    @property
    def improved(self) -> Tensor:
        """1 where this point is the new best one, else 0, ``(S,)`` in the dtype of ``u``."""
        if self.better is None:
            raise RuntimeError("candidates improve nothing: see Stepper.step")
        return self.better

    @property
    def distance(self) -> Tensor:
        """Distance of ``u`` from the clean input, ``(S,)``; for steppers that measure."""
        if self.measured is None:
            raise RuntimeError("no distance was measured: see Stepper.measures")
        return self.measured


@dataclass(kw_only=True)
class State(Rows):
    """A stepper's memory between two evaluations; subclasses add fields with one row per slot.

    Attributes:
        u: the points to evaluate next, ``(S, ...)``: the query.
        feasible: whether ``u`` lies in the threat, ``(S,)`` bool; None if all do. A stepper may
            walk outside of it, but a point there is no result and fools nobody.
        candidates: several points for each slot, ``(S, K, ...)``, evaluated forward only before
            ``u`` is: the engine hands their losses to ``Stepper.select``, which may set ``u`` from
            them. None for none.
        candidates_feasible: which of them lie in the threat, ``(S, K)`` bool; None if all do.
    """

    u: Tensor
    feasible: np.ndarray | Tensor | None = None
    candidates: Tensor | None = field(default=None, repr=False)
    candidates_feasible: Tensor | None = None


def cosine(clock: Clock, steps: int, first: float, last: float, like: Tensor) -> Tensor:
    """A cosine from ``first`` to ``last`` over the steps, at each slot's own, ``(S,)``.

    Example:
        >>> cosine(Clock.zero(2), steps=10, first=1.0, last=0.1, like=torch.zeros(2))
        tensor([1., 1.])
    """
    if clock.least == clock.most:
        share = (1 + cos(pi * min(clock.most, steps) / steps)) / 2
        return like.new_full((len(clock.count),), last + (first - last) * share)
    done = torch.from_numpy(clock.count).to(like.device, like.dtype).clamp(max=steps) / steps
    return last + (first - last) * (1 + torch.cos(pi * done)) / 2


def keep_(kept: Tensor, new: Tensor, rows: Tensor) -> Tensor:
    """Overwrite the rows of ``kept`` whose weight (S,) is 1 with those of ``new``, exactly."""
    # lerp at weights 0 and 1 copies, at a quarter of the cost of where.
    return kept.lerp_(new, per_example(rows, kept))


def pick(candidates: Tensor, index: Tensor) -> Tensor:
    """Row ``index`` (S,) of each slot's points ``(S, K, ...)``: ``(S, ...)``.

    Example:
        >>> pick(torch.arange(6).view(2, 3), torch.tensor([0, 2]))
        tensor([0, 5])
    """
    where = index.view(-1, *[1] * (candidates.dim() - 1)).expand(-1, 1, *candidates.shape[2:])
    return candidates.gather(1, where).squeeze(1)
