"""Records of which every field has one row per example, taken apart and put together as one."""

from dataclasses import dataclass, fields, replace
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor


@dataclass
class Rows:
    """Base of dataclasses whose tensors, arrays and nested records have one row per example.

    Other fields (numbers, tuples, None) are shared by all rows; a flag holds for the joined rows
    if it holds for some.

    Example:
        >>> @dataclass
        ... class Points(Rows):
        ...     x: Tensor
        >>> points = Points(torch.tensor([1.0, 2.0, 3.0]))
        >>> points.take(torch.tensor([2, 0])).join(points.take(torch.tensor([1]))).x
        tensor([3., 1., 2.])
    """

    def take(self, index: Tensor) -> Self:
        """The rows at ``index`` (N,) int64, in that order."""
        return replace(self, **{f.name: _take(getattr(self, f.name), index) for f in fields(self)})

    def join(self, other: Self) -> Self:
        """These rows, then those of ``other``."""
        pairs = {f.name: (getattr(self, f.name), getattr(other, f.name)) for f in fields(self)}
        return replace(self, **{name: _join(*pair) for name, pair in pairs.items()})


class Ends(tuple[Tensor, Tensor]):
    """Lowest and highest values, ``(S, ...)`` each, that are taken apart with their rows.

    Example:
        >>> lo, hi = Ends((torch.zeros(2, 3), torch.ones(2, 3))).take(torch.tensor([1]))
        >>> hi
        tensor([[1., 1., 1.]])
    """

    def take(self, index: Tensor) -> "Ends":
        """The rows at ``index`` (N,) int64."""
        return Ends(end[index] for end in self)

    def join(self, other: "Ends") -> "Ends":
        """These rows, then those of ``other``."""
        return Ends(torch.cat(pair) for pair in zip(self, other, strict=True))


def put_in_rings_(at: Tensor, where: Tensor, *pairs: tuple[Tensor, Tensor]) -> Tensor:
    """Write a value into each ring ``(S, K, ...)`` at its next place; returns the places after it.

    Args:
        at: the next place of each row, ``(S,)`` int64.
        where: rows that are written, ``(S,)`` bool.
        pairs: a ring, and its new values ``(S, ...)``.

    Example:
        >>> ring = torch.zeros(2, 3)
        >>> on = torch.tensor([True, False])
        >>> put_in_rings_(torch.tensor([2, 0]), on, (ring, torch.ones(2))), ring[0]
        (tensor([0, 0]), tensor([0., 0., 1.]))
    """
    rows = torch.arange(len(at), device=at.device)
    for ring, new in pairs:
        kept = ring[rows, at]
        ring[rows, at] = torch.where(where.view(-1, *[1] * (kept.dim() - 1)), new, kept)
    return torch.where(where, (at + 1) % pairs[0][0].shape[1], at)


def _take(value: Any, index: Tensor) -> Any:
    if isinstance(value, Tensor):
        return value[index]
    if isinstance(value, np.ndarray):
        return value[index.cpu().numpy()]
    return value.take(index) if isinstance(value, Rows | Ends) else value


def _join(value: Any, other: Any) -> Any:
    if isinstance(value, Tensor):
        return torch.cat((value, other))
    if isinstance(value, np.ndarray):
        return np.concatenate((value, other))
    if isinstance(value, bool):
        return value or other
    return value.join(other) if isinstance(value, Rows | Ends) else value
