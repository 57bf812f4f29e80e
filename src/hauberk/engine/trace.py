"""A number of values per example, kept from every evaluation."""

from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor
from torch.nn.functional import pad

from hauberk.maths.rows import Rows


@dataclass
class Trace(Rows):
    """Values recorded at every evaluation of every row; NaN after its last one.

    Attributes:
        values: ``(S, T, K)``, NaN where there is none; T grows as needed.
        count: evaluations of each row, ``(S,)`` int64.
        longest: the largest count, on the host.
    """

    values: Tensor
    count: Tensor
    longest: int = 0

    @classmethod
    def empty(cls, like: Tensor) -> "Trace":
        """No evaluation yet of rows like ``like`` (S, K)."""
        values = like.new_full((len(like), 16, like.shape[1]), torch.nan)
        return cls(values, torch.zeros(len(like), dtype=torch.int64, device=like.device))

    @classmethod
    def of(cls, rows: int, other: "Trace") -> "Trace":
        """So many rows with room for what ``other`` holds of some of them."""
        return cls.empty(other.values.new_empty(rows, other.values.shape[2]))

    def add_(self, new: Tensor) -> None:
        """One evaluation more of every row: ``new`` (S, K)."""
        self.longest += 1
        self._room(self.longest)
        where = self.count.view(-1, 1, 1).expand(-1, 1, new.shape[1])
        self.values.scatter_(1, where, new.to(self.values).unsqueeze(1))
        self.count = self.count + 1

    def put_(self, index: Tensor, other: "Trace") -> None:
        """Overwrite the rows at ``index`` (N,) with those of ``other``."""
        self.longest = max(self.longest, other.longest)
        self._room(other.values.shape[1])
        self.values[index] = other._padded(self.values.shape[1])
        self.count[index] = other.count

    def last(self) -> Tensor:
        """The last values of each row, ``(S, K)``; NaN for rows without any."""
        where = (self.count - 1).clamp_min(0).view(-1, 1, 1)
        return self.values.gather(1, where.expand(-1, 1, self.values.shape[2])).squeeze(1)

    def values_of_rows(self) -> Tensor:
        """All values, ``(S, T, K)``, T the evaluations of the row that has most."""
        return self.values[:, : _most(self.count)]

    def take(self, index: Tensor) -> Self:
        taken = super().take(index)
        # Else T would grow with the queue: slots are taken again before all have left.
        taken.longest = _most(taken.count)
        return taken

    def join(self, other: Self) -> Self:
        size = max(self.values.shape[1], other.values.shape[1])
        values = torch.cat((self._padded(size), other._padded(size)))
        count = torch.cat((self.count, other.count))
        return type(self)(values, count, max(self.longest, other.longest))

    def _room(self, size: int) -> None:
        if size > self.values.shape[1]:
            self.values = self._padded(max(size, 2 * self.values.shape[1]))

    def _padded(self, size: int) -> Tensor:
        return pad(self.values, (0, 0, 0, size - self.values.shape[1]), value=torch.nan)


def _most(count: Tensor) -> int:
    return int(count.max()) if len(count) else 0
