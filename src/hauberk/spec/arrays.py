"""Arrays that a notation names: files, numbers in the text, and tensors; told apart by contents."""

import hashlib
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from hauberk.errors import InputError
from hauberk.spec.numbers import number, shortest

SHORT = 16
"""Lists of so many numbers or fewer are named by the numbers themselves."""

_GIVEN: ContextVar[Mapping[str, "Array"] | None] = ContextVar("given", default=None)
_MADE = re.compile(r"tensor-[0-9a-f]{12}")


@dataclass(frozen=True, eq=False)
class Array:
    """Numbers, and the name by which a notation knows them.

    Args:
        name: a file, a few numbers themselves (``0.1;0.2``), or ``tensor-`` and a hash.
        value: on the CPU.

    Example:
        >>> Array.of("0.25;1/2").value
        tensor([0.2500, 0.5000], dtype=torch.float64)
        >>> Array.of([0.25, 0.5]).name, Array.of(torch.zeros(3, 3)).name
        ('0.25;0.5', 'tensor-67f523d1e7c7')
    """

    name: str
    value: Tensor = field(repr=False)

    @classmethod
    def of(cls, given: Any) -> "Array":
        """An array as it is, from its name, or of numbers: a tensor, an array or a list.

        Names: a file (``.npy``, ``.npz`` with one array, ``.csv`` or ``.txt`` of numbers, ``.pt``
        with one tensor), numbers split by ``;``, or what :func:`given` has under them.

        Raises:
            InputError: for a file that cannot be read, and for what holds no numbers.
        """
        if isinstance(given, Array):
            return given
        if isinstance(given, str | Path):
            return (_GIVEN.get() or {}).get(str(given)) or cls(str(given), _read(str(given)))
        try:
            numbers = given if isinstance(given, Tensor) else torch.as_tensor(np.asarray(given))
            value = numbers.detach().cpu().clone()
        except (TypeError, ValueError, RuntimeError) as error:
            raise InputError(
                f"a {type(given).__name__} holds no numbers ({error}): give a tensor, an array or "
                "a file"
            ) from error
        made = cls("", _usable(value, "the array"))
        if value.dim() == 1 and len(value) <= SHORT:  # the text says it
            return cls(";".join(map(shortest, made.value.tolist())), made.value.double())
        return cls(f"tensor-{made.digest[:12]}", made.value)

    @cached_property
    def digest(self) -> str:
        """SHA-256 of shape, kind of numbers and contents."""
        value = self.value.contiguous()
        head = f"{tuple(value.shape)} {value.dtype} "
        return hashlib.sha256(head.encode() + value.numpy().tobytes()).hexdigest()


@contextmanager
def given(arrays: Mapping[str, Array]) -> Iterator[None]:
    """Within the block these names stand for these arrays, whatever files there are.

    Example:
        >>> with given({"mask.npy": Array.of([1.0, 0.0])}):
        ...     Array.of("mask.npy").value.tolist()
        [1.0, 0.0]
    """
    token = _GIVEN.set({**(_GIVEN.get() or {}), **arrays})
    try:
        yield
    finally:
        _GIVEN.reset(token)


def _read(name: str) -> Tensor:
    if re.fullmatch(r"(?:[-+0-9.;/e]|inf)+", name.lower()):
        numbers = [number(part) for part in name.split(";")]
        if None in numbers:
            raise InputError(f"'{name}' is no list of numbers: write e.g. 0.1;0.2;8/255")
        return torch.tensor(numbers, dtype=torch.float64)
    path = Path(name).expanduser()
    if not path.is_file():
        made = _MADE.fullmatch(name)
        remedy = "give the tensor itself, in Python" if made else "give another, or its full path"
        raise InputError(f"there is no file {name}: {remedy}")
    try:
        value = _from_file(path)
    except InputError:
        raise
    except Exception as error:  # whatever a reader raises on what it cannot read
        why = " ".join(str(error).split())
        raise InputError(f"{name} cannot be read as one array of numbers ({why})") from error
    return _usable(value, name)


def _from_file(path: Path) -> Tensor:
    kind = path.suffix.lower()
    if kind in (".pt", ".pth"):
        found = torch.load(path, map_location="cpu", weights_only=True)
        if not isinstance(found, Tensor):
            raise InputError(f"{path} holds a {type(found).__name__}: save one tensor")
        return found.detach()
    if kind in (".csv", ".txt"):
        return torch.from_numpy(np.loadtxt(path, delimiter="," if kind == ".csv" else None))
    loaded = np.load(path, allow_pickle=False)
    if isinstance(loaded, np.ndarray):
        return torch.from_numpy(loaded)
    with loaded:
        if len(loaded.files) != 1:
            names = ", ".join(loaded.files)
            raise InputError(f"{path} holds {len(loaded.files)} arrays ({names}): save one alone")
        return torch.from_numpy(loaded[loaded.files[0]])


def _usable(value: Tensor, name: str) -> Tensor:
    if value.dtype.is_complex or not value.numel():
        raise InputError(f"{name} holds {value.dtype} {tuple(value.shape)}: give real numbers")
    if value.is_floating_point():
        value = value.double()
        if bool(value.isnan().any()):
            raise InputError(f"{name} holds NaN: give numbers")
    return value
