"""Memory: how much is free, how much a pass takes, and which errors say that it ran out."""

import ctypes
import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from hauberk.errors import InputError

MEMORY_ERRORS = (RuntimeError, MemoryError)
"""What to catch where memory may run out; :func:`out_of_memory` says whether it did."""

_WORDS = (
    "out of memory", "can't allocate", "cannot allocate", "not enough memory", "unable to allocate",
    "failed to allocate", "bad_alloc", "status_alloc_failed", "resource_exhausted",
)  # fmt: skip

_ROOT = Path("/")
_POLL = 0.001


def out_of_memory(error: BaseException) -> bool:
    """Whether an error says that memory ran out, on whatever device.

    Example:
        >>> out_of_memory(MemoryError()), out_of_memory(RuntimeError("CUDA out of memory"))
        (True, True)
        >>> out_of_memory(RuntimeError("shapes differ"))
        False
    """
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    text = str(error).lower()
    return isinstance(error, RuntimeError) and any(word in text for word in _WORDS)


def halved(error: BaseException, size: int) -> int:
    """Half a batch size after memory ran out; any other error is raised again.

    Raises:
        InputError: if it ran out with a single example.
    """
    if not out_of_memory(error):
        raise error
    if size <= 1:
        raise InputError(
            "memory runs out with a single example at a time: free some, or take another device, "
            "smaller inputs or a smaller model"
        ) from error
    return size // 2


def free_memory(device: torch.device) -> int | None:
    """Bytes that can still be had on a device; None where that cannot be known.

    Of the machine's memory what the control groups of the process allow: a container's limit, say.
    """
    if device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(device)
        spare = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return free + spare
    return free_on_host() if device.type == "cpu" else None


def free_on_host(root: Path = _ROOT) -> int | None:
    """Bytes that the process can still have of the machine's memory.

    Args:
        root: where ``proc`` and ``sys`` are.
    """
    left = [left for left in _groups(root) if left is not None]
    facts = (line.split() for line in _lines(root / "proc/meminfo"))
    left += [1024 * int(words[1]) for words in facts if words[0] == "MemAvailable:"]
    return max(0, min(left)) if left else None


def _groups(root: Path) -> list[int | None]:
    """What each control group of the process, and those around it, leaves."""
    found: list[int | None] = []
    for line in _lines(root / "proc/self/cgroup"):
        _, kinds, place = line.split(":", 2)
        if kinds and "memory" not in kinds.split(","):
            continue
        top = root / "sys/fs/cgroup" / ("memory" if kinds else "")
        names = ("memory.limit_in_bytes", "memory.usage_in_bytes") if kinds else (
            "memory.max", "memory.current",
        )  # fmt: skip
        parts = [part for part in place.split("/") if part not in ("", "..")]
        folders = [top.joinpath(*parts[:k]) for k in range(len(parts) + 1)]
        found += [_left(folder, *names) for folder in folders]
    return found


def _left(folder: Path, limit: str, usage: str) -> int | None:
    most, used = ("".join(_lines(folder / name)).strip() for name in (limit, usage))
    if not most.isdigit() or not used.isdigit():
        return None
    # Pages of files go when memory is wanted.
    facts = dict(line.split()[:2] for line in _lines(folder / "memory.stat"))
    pages = (int(facts.get(name, 0)) for name in ("inactive_file", "total_inactive_file"))
    return int(most) - int(used) + max(pages)


def _lines(file: Path) -> list[str]:
    try:
        return file.read_text().splitlines()
    except OSError:
        return []


def give_back() -> None:
    """Give memory that was freed back to the system, which glibc alone does not do at once."""
    try:
        ctypes.CDLL(None).malloc_trim(0)
    except (AttributeError, OSError, TypeError):  # another C library
        return


class Growth:
    """How far the process's resident memory grew in the block, by looking every millisecond.

    Attributes:
        bytes: at most, once the block is left; None where the system does not say.

    Example:
        >>> with Growth() as growth:
        ...     _ = bytes(2**20)
        >>> growth.bytes is None or growth.bytes >= 0
        True
    """

    def __init__(self, resident: Callable[[], int | None] | None = None) -> None:
        self.resident = resident or resident_memory
        self.bytes: int | None = None
        self._most = 0
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> "Growth":
        self._before = self.resident()
        if self._before is not None:
            self._most = self._before
            self._thread.start()
        return self

    def __exit__(self, *_: Any) -> None:
        if self._before is not None:
            self._over.set()
            self._thread.join()
            self.bytes = max(self._most, self.resident() or 0) - self._before

    def _watch(self) -> None:
        while not self._over.wait(_POLL):
            self._most = max(self._most, self.resident() or 0)


def resident_memory() -> int | None:
    """Bytes of the process that are in memory; None where the system does not say."""
    lines = _lines(Path("/proc/self/statm"))
    return os.sysconf("SC_PAGE_SIZE") * int(lines[0].split()[1]) if lines else None
