"""What a region offers that can be searched exhaustively, point by point."""

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

from torch import Tensor


@runtime_checkable
class Enumerable(Protocol):
    """A region with finitely many points, or with a grid laid over it, numbered from 0.

    A region joins by having the two methods; nothing needs to be inherited.
    """

    def count(self, resolution: Sequence[int]) -> int:
        """How many points there are; ``resolution`` says how fine, where there is a choice."""
        ...

    def candidate(self, index: Tensor, resolution: Sequence[int]) -> Tensor:
        """The ``u`` (S, K, ...) of points ``index`` (S, K) int64, each in 0..count - 1."""
        ...
