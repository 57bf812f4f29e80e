"""What passes between an attack and the engine: problem, state (the ask) and response."""

from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from hauberk.maths.rows import Rows
from hauberk.maths.steps import per_example


@dataclass(kw_only=True)
class Response(Rows):
    """What the engine found at the points asked for.

    Attributes:
        loss: the objective's loss, ``(S,)``.
        fooled: whether the victim decided wrongly, ``(S,)`` bool.
        grad: gradient of the loss in ``u``, or None if none was asked for. Never NaN.
        any_fooled: False if the host knows that nobody was fooled.

    For the rows of a spread, ``loss`` and ``fooled`` are ``(S, K)``.
    """

    loss: Tensor
    fooled: Tensor
    grad: Tensor | None
    any_fooled: bool = True


@dataclass(kw_only=True)
class BestSoFar(Rows):
    """The point of largest loss so far: ``u`` (S, ...), its ``loss`` and ``fooled`` (S,)."""

    u: Tensor
    loss: Tensor
    fooled: Tensor
    any_fooled: bool = False

    @classmethod
    def none(cls, u: Tensor) -> "BestSoFar":
        """Nothing seen yet; ``u`` stands in."""
        loss = u.new_full((len(u),), -torch.inf)
        return cls(u=u.clone(), loss=loss, fooled=torch.zeros_like(loss, dtype=torch.bool))

    def update_(self, u: Tensor, response: Response) -> Tensor:
        """Take over the rows whose loss is larger; returns their weights, (S,) of 0 and 1."""
        loss = response.loss if response.loss.dtype == u.dtype else response.loss.to(u.dtype)
        if response.any_fooled:
            # A point of NaN logits fools: no loss is larger.
            loss = loss.nan_to_num(nan=torch.inf, posinf=torch.inf, neginf=-torch.inf)
        better = loss > self.loss
        rows = better.to(u.dtype)
        keep_(self.u, u, rows)
        self.loss = torch.fmax(self.loss, loss)
        if response.any_fooled or self.any_fooled:
            self.fooled = torch.where(better, response.fooled, self.fooled)
            self.any_fooled = True
        return rows


def keep_(kept: Tensor, new: Tensor, rows: Tensor) -> Tensor:
    """Overwrite the rows of ``kept`` whose weight (S,) is 1 with those of ``new``, exactly."""
    # lerp at weights 0 and 1 copies, at a quarter of the cost of where.
    return kept.lerp_(new, per_example(rows, kept))


@dataclass
class Clock(Rows):
    """Evaluations of each slot so far. Lives on the host, since it never depends on data.

    Engine and attacks branch on it without waiting for a device, and mostly on its ends, since
    slots that started together stay together.
    """

    count: np.ndarray
    """``(S,)`` int64."""

    def __post_init__(self) -> None:
        some = len(self.count) > 0
        self.least = int(self.count.min()) if some else 0
        self.most = int(self.count.max()) if some else 0

    @classmethod
    def zero(cls, slots: int) -> "Clock":
        return cls(np.zeros(slots, dtype=np.int64))

    def look_up(self, table: np.ndarray) -> np.ndarray | None:
        """The table's entry at each slot's count, ``(S,)``; None if all of them are 0."""
        if self.least == self.most and not table[self.least]:
            return None
        found = table[self.count]
        return found if found.any() else None

    def tick(self) -> None:
        """One evaluation more for everybody."""
        self.count += 1
        self.least += 1
        self.most += 1


@dataclass(kw_only=True)
class State(Rows):
    """An attack's memory between two asks; subclasses add fields with one row per slot.

    Attributes:
        u: the points to evaluate next, ``(S, ...)``; this is the ask.
        t: evaluations of each slot so far.
        best: the point of largest loss.
        inside: whether ``u`` lies in the threat, ``(S,)`` bool, or None if all do (an attack may
            walk through larger balls first; a point there fools nobody). Of ``spread``:
            ``inside_spread`` (S, K).
        spread: several points for each slot, ``(S, K, ...)``, evaluated forward only before ``u``
            is: the engine hands their losses to :meth:`Attack.choose`, which may set ``u`` from
            them; None for none.
    """

    u: Tensor
    t: Clock
    best: BestSoFar = field(repr=False)
    inside: np.ndarray | Tensor | None = None
    spread: Tensor | None = field(default=None, repr=False)
    inside_spread: Tensor | None = None
