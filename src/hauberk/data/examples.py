"""Inputs that are read by rows: a run holds a block of them at a time, wherever they lie."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from typing import Any, Protocol
from zlib import crc32

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from hauberk.errors import InputError

AT_ONCE = 2**22
"""Numbers that are looked at together where all inputs are gone through: 16 MB of float32."""


class Examples(Protocol):
    """Inputs ``(N, ...)`` that can be read by rows.

    A tensor in memory is one; a :class:`ReadByRows` need not be in memory. ``x[2:5]`` and, for an
    int64 tensor of rows, ``x[index]`` are tensors.
    """

    @property
    def shape(self) -> torch.Size: ...
    @property
    def dtype(self) -> torch.dtype: ...
    def __len__(self) -> int: ...
    def __getitem__(self, rows: Any, /) -> Tensor: ...


class ReadByRows(ABC):
    """Inputs that are read when rows of them are asked for, on the CPU.

    Args:
        shape: of all of them, ``(N, ...)``.
        dtype: of what is read.

    Example:
        >>> class Ramp(ReadByRows):
        ...     def read(self, start, stop):
        ...         return torch.arange(start, stop).float().unsqueeze(1)
        >>> ramp = Ramp((10, 1), torch.float32)
        >>> ramp[8:].tolist(), ramp[torch.tensor([3, 1, 2])].flatten().tolist()
        ([[8.0], [9.0]], [3.0, 1.0, 2.0])
    """

    def __init__(self, shape: tuple[int, ...], dtype: torch.dtype) -> None:
        self.shape, self.dtype = torch.Size(shape), dtype

    @abstractmethod
    def read(self, start: int, stop: int) -> Tensor:
        """The inputs from ``start`` to before ``stop``, 0 <= start < stop <= N."""

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows: Any, /) -> Tensor:
        """Rows of a slice in steps of 1, or of a tensor of indices ``(M,)``."""
        if isinstance(rows, slice):
            start, stop, _ = slice(rows.start, rows.stop).indices(len(self))
            return self.read(start, stop) if start < stop else self._none()
        return self.take(torch.as_tensor(rows).cpu().long())

    def take(self, index: Tensor) -> Tensor:
        """The rows of an index ``(M,)``, each read once, neighbours together."""
        if not len(index):
            return self._none()
        rows, places = index.unique(return_inverse=True)  # sorted
        ends = torch.cat(((rows.diff() != 1).nonzero().flatten() + 1, torch.tensor([len(rows)])))
        found, start = [], 0
        for end in ends.tolist():
            found.append(self.read(int(rows[start]), int(rows[end - 1]) + 1))
            start = end
        return torch.cat(found)[places]

    def _none(self) -> Tensor:
        return torch.empty(0, *self.shape[1:], dtype=self.dtype)


class Picked(ReadByRows):
    """Inputs by their places in others, in groups if the index has two dimensions.

    Args:
        inputs: what is picked from.
        index: places, ``(B,)`` or ``(G, M)`` int64.

    Example:
        >>> Picked(torch.arange(8.0).view(4, 2), torch.tensor([[3, 0]]))[:1]
        tensor([[[6., 7.],
                 [0., 1.]]])
    """

    def __init__(self, inputs: Examples, index: Tensor) -> None:
        super().__init__((*index.shape, *inputs.shape[1:]), inputs.dtype)
        self.inputs, self.index = inputs, index.cpu()

    def read(self, start: int, stop: int) -> Tensor:
        index = self.index[start:stop]
        return self.inputs[index.flatten()].view(*index.shape, *self.shape[self.index.dim() :])


class Changed(ReadByRows):
    """Inputs as a function makes them of others, row by row and of the same shape.

    Args:
        inputs: what is read.
        change: from some of them ``(M, ...)`` to as many.

    Example:
        >>> Changed(torch.arange(4.0).view(2, 2), lambda x: x.clamp(max=2))[1:]
        tensor([[2., 2.]])
    """

    def __init__(self, inputs: Examples, change: Callable[[Tensor], Tensor]) -> None:
        super().__init__(inputs.shape, inputs.dtype)
        self.inputs, self.change = inputs, change

    def read(self, start: int, stop: int) -> Tensor:
        return self.change(self.inputs[start:stop])


class Watched(ReadByRows):
    """Inputs that must be the same whenever they are read.

    Args:
        inputs: what is read.
        crcs: of each row, ``(N,)``.
        crc: of all of them.
    """

    def __init__(self, inputs: Examples, crcs: npt.NDArray[np.uint32], crc: int) -> None:
        super().__init__(inputs.shape, inputs.dtype)
        self.inputs, self.crcs, self.crc = inputs, crcs, crc

    def read(self, start: int, stop: int) -> Tensor:
        found = self.inputs[start:stop]
        other = np.flatnonzero(_of_rows(found) != self.crcs[start:stop])
        if len(other):
            raise InputError(
                f"input {start + int(other[0])} is another than when it was first read: the data "
                "must not change during a run; leave out random transformations, and write to no "
                "file that is read"
            )
        return found


def gone_through(x: Examples, check: Callable[[Tensor, int], None]) -> Examples:
    """The same inputs, each checked; those that are not in memory are watched from then on.

    Args:
        x: ``(N, ...)``.
        check: is called with some rows ``(M, ...)`` and the place of the first.
    """
    if isinstance(x, Tensor):
        for start, some in portions(x):
            check(some, start)
        return x
    crcs, crc = np.zeros(len(x), dtype=np.uint32), 0
    for start, some in portions(x):
        check(some, start)
        crcs[start : start + len(some)] = _of_rows(some)
        crc = crc32(_bytes(some).data, crc)
    return Watched(x, crcs, crc)


def crc_of(x: Examples) -> int:
    """The CRC-32 of all numbers, which need not be in memory together.

    Example:
        >>> crc_of(torch.zeros(2)) == crc32(bytes(8))
        True
    """
    if isinstance(x, Watched):
        return x.crc
    found = 0
    for _, some in portions(x):
        found = crc32(_bytes(some).data, found)
    return found


def portions(x: Examples) -> Iterator[tuple[int, Tensor]]:
    """All inputs, one portion of moderate size after another, each with the place of its first."""
    size = at_once(x.shape[1:])
    for start in range(0, len(x), size):
        yield start, x[start : start + size]


def at_once(shape: torch.Size) -> int:
    """How many inputs of a shape are a portion of moderate size: 4 million numbers, or one input.

    Example:
        >>> at_once(torch.Size((3, 32, 32))), at_once(torch.Size((3, 224, 224)))
        (1365, 27)
    """
    return max(1, AT_ONCE // max(1, shape.numel()))


def _bytes(x: Tensor) -> npt.NDArray[np.uint8]:
    flat = x.detach().cpu().contiguous().reshape(-1)
    return flat.view(torch.uint8).numpy()


def _of_rows(x: Tensor) -> npt.NDArray[np.uint32]:
    rows = _bytes(x).reshape(len(x), -1)
    return np.array([crc32(row.data) for row in rows], dtype=np.uint32)
