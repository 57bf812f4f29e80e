"""A sample of a run's examples, spread over all of them, and what the model says of it."""

from collections.abc import Callable
from dataclasses import dataclass
from math import sqrt

import torch
from torch import Tensor

from hauberk.threats.base import Box
from hauberk.victims.victim import Victim

MOST = 200
"""Examples of a sample."""


@dataclass(frozen=True)
class Sample:
    """Some examples and the classes that a model gives them.

    Attributes:
        x: inputs ``(n, ...)``; y: labels ``(n,)``, both on the CPU.
        predicted: classes ``(n,)``.
        classes: of the model.
        box: the valid range of the inputs.
        predict: classes ``(n,)`` of other inputs.
    """

    x: Tensor
    y: Tensor
    predicted: Tensor
    classes: int
    box: Box
    predict: Callable[[Tensor], Tensor]

    @classmethod
    def of(cls, victim: Victim, x: Tensor, y: Tensor, box: Box) -> "Sample":
        """A sample of ``x`` (N, ...) and ``y`` (N,)."""
        rows = spread_rows(len(x), MOST)
        some = x[rows]

        def logits(inputs: Tensor) -> Tensor:
            with victim.held():
                out: Tensor = victim.predict(inputs)
                return out.detach().float().cpu()

        def predict(inputs: Tensor) -> Tensor:
            found: Tensor = logits(inputs)
            return found.argmax(1)

        found = logits(some)
        return cls(
            some.detach().cpu(), y[rows].cpu(), found.argmax(1), found.shape[1], box,
            predict,
        )  # fmt: skip

    def __len__(self) -> int:
        return len(self.y)

    @property
    def right(self) -> int:
        """How many it gets right."""
        return int((self.predicted == self.y).sum())

    def chance(self) -> tuple[float, float]:
        """How many would be right by chance, and the deviation of that number.

        By chance: the same labels and the same predictions, in another order. Where nearly all
        labels are alike, one class as likely as another.
        """
        n = max(1, len(self))
        labels, given = (
            torch.bincount(v, minlength=self.classes)[: self.classes] / n
            for v in (self.y, self.predicted)
        )
        other = n - int(labels.max() * n + 0.5)
        varied = other >= max(3, 0.05 * n)
        share = float((labels * given).sum()) if varied else 1 / self.classes
        return n * share, sqrt(n * share * (1 - share))


def spread_rows(n: int, most: int) -> Tensor:
    """At most so many rows of ``n``, as far apart as can be, rising.

    Example:
        >>> spread_rows(3, 5).tolist(), spread_rows(100, 5).tolist()
        ([0, 1, 2], [0, 24, 49, 74, 99])
    """
    if n <= most:
        return torch.arange(n)
    rows: Tensor = torch.linspace(0, n - 1, most, dtype=torch.float64).floor().long()
    return rows
