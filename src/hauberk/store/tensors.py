"""Tensors as bytes: those of a part of a ledger, and those of a run without a folder set aside."""

import os
import tempfile
import weakref
from collections.abc import Mapping
from pathlib import Path
from shutil import rmtree
from typing import Any

import torch
from torch import Tensor

from hauberk.store.eight_bit import packed, unpacked

ORIGINALS = "originals"
"""The tensor of clean inputs in a part, in bytes where nothing is lost by it."""

UNIT = "originals_unit"
"""The number that bytes of clean inputs are divided by; there only with bytes."""

IN_MEMORY = 2**24
"""Bytes of tensors that a run without a folder keeps in memory."""


def to_bytes(tensors: Mapping[str, Tensor]) -> bytes:
    """Tensors in the format of safetensors; clean images of 8 bits as bytes."""
    from safetensors.torch import save

    held = {name: value.detach().cpu() for name, value in tensors.items()}
    if ORIGINALS in held:
        held[ORIGINALS], unit = packed(held[ORIGINALS])
        held |= {UNIT: torch.tensor(unit)} if unit else {}
    return save({name: value.contiguous().clone() for name, value in held.items()})


def from_bytes(blob: bytes) -> dict[str, Tensor]:
    """The tensors again, bit for bit, on the CPU."""
    from safetensors.torch import load

    found = load(blob)
    if UNIT in found:
        found[ORIGINALS] = unpacked(found[ORIGINALS], float(found.pop(UNIT)))
    return found


class Spool:
    """Tensors by key: the first in memory, all beyond :data:`IN_MEMORY` bytes in temporary files.

    A view of a larger tensor, such as a block of the caller's own inputs, counts for nothing. The
    files go when the spool does.

    Example:
        >>> import torch
        >>> spool = Spool()
        >>> spool.add("a", {"points": torch.ones(2)})
        >>> spool.get("a")["points"]
        tensor([1., 1.])
    """

    def __init__(self) -> None:
        self._held: dict[str, dict[str, Tensor] | Path] = {}
        self._bytes = 0
        self._folder: Path | None = None

    def add(self, key: str, tensors: Mapping[str, Tensor]) -> None:
        """Keep tensors."""
        size = sum(map(_own, tensors.values()))
        if size and self._bytes + size > IN_MEMORY:
            try:
                self._held[key] = self._written(key, to_bytes(tensors))
                return
            except OSError:  # no room there: memory has to do
                pass
        self._bytes += size
        self._held[key] = dict(tensors)

    def get(self, key: str) -> dict[str, Tensor]:
        """The tensors of a key."""
        held = self._held[key]
        return from_bytes(held.read_bytes()) if isinstance(held, Path) else held

    def _written(self, key: str, blob: bytes) -> Path:
        if self._folder is None:
            self._folder = Path(tempfile.mkdtemp(prefix="hauberk-"))
            weakref.finalize(self, _remove, self._folder, os.getpid())
        path = self._folder / f"{key}.safetensors"
        path.write_bytes(blob)
        return path

    def __getstate__(self) -> dict[str, Any]:
        """With all tensors, for a process that cannot see the files."""
        held = {key: self.get(key) for key in self._held}
        return {"_held": held, "_bytes": self._bytes, "_folder": None}


def _own(value: Tensor) -> int:
    """Bytes that are kept for a tensor's sake."""
    size = value.numel() * value.element_size()
    return size if value.untyped_storage().nbytes() <= size else 0


def _remove(folder: Path, process: int) -> None:
    if os.getpid() == process:  # not in one that was forked
        rmtree(folder, ignore_errors=True)
