"""Files that are there whole or not at all, and how rows and settings are written in them."""

import errno
import json
import os
import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
from torch import Tensor

from hauberk.errors import InputError

Columns: TypeAlias = Mapping[str, npt.NDArray[Any]]
"""Columns of a part by name, as they are read."""

Writable: TypeAlias = Mapping[str, npt.NDArray[Any] | Sequence[Any]]
"""Columns of a part by name, as they are given."""

TEMPORARY = ".tmp"
LOCK = ".lock"
TENSORS = b"hauberk.tensors"


def put(file: Path, data: bytes) -> None:
    """Write a file so that it is there whole, and on the disk, or not there at all."""
    temporary = file.with_name(f".{file.name}.{os.getpid()}{TEMPORARY}")
    try:
        with temporary.open("wb") as stream:
            stream.write(data)
            stream.flush()
            os.fsync(stream.fileno())
        temporary.replace(file)
    except BaseException:
        with suppress(OSError):
            temporary.unlink()
        raise
    with suppress(OSError):  # some systems cannot sync a folder
        folder = os.open(file.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def is_temporary(entry: Path) -> bool:
    """Whether this is what a killed :func:`put` left."""
    return entry.name.startswith(".") and entry.name.endswith(TEMPORARY)


def lock(folder: Path, seat: int | None = None) -> int | None:
    """Keep other processes out of a folder until the descriptor returned is closed.

    The system frees the lock when this process ends, however it ends. None without locks.

    Args:
        folder: what to lock.
        seat: of a process that joins others in the folder, the byte of the lock that it takes, from
            1; None for the whole lock, which nobody else may hold any part of. See :func:`share`.

    Raises:
        InputError: if another process holds it.
    """
    try:
        import fcntl
    except ImportError:  # Windows
        return None
    held = os.open(folder / LOCK, os.O_RDWR | os.O_CREAT, 0o666)
    try:
        place = () if seat is None else (1, seat)
        fcntl.lockf(held, fcntl.LOCK_EX | fcntl.LOCK_NB, *place)
    except OSError as error:  # also raised by file systems that know no locks
        if error.errno in (errno.EACCES, errno.EAGAIN):
            os.close(held)
            raise InputError(
                f"another process is writing to {folder}: wait until it ends, "
                "or choose another --out"
            ) from error
    return held


def share(held: int | None) -> None:
    """Let other processes join in a folder that is locked: all but the lock's first byte."""
    if held is not None:
        import fcntl

        fcntl.lockf(held, fcntl.LOCK_UN, 0, 1)


def to_parquet(rows: Writable, tensors: list[str]) -> bytes:
    """A Parquet file of these columns that also names the tensors of its part."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    columns = {}
    for name, values in rows.items():
        array = np.asarray(values)
        is_text = array.dtype.kind in "UO"
        columns[name] = pa.array([str(v) for v in array], pa.string()) if is_text else array
    table = pa.table(columns).replace_schema_metadata({TENSORS: json.dumps(tensors).encode()})
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, write_page_checksum=True)
    return bytes(sink.getvalue())


def to_array(column: Any) -> npt.NDArray[Any]:
    """A column of an Arrow table in memory of its own."""
    import pyarrow as pa

    if pa.types.is_string(column.type):
        return np.array(column.to_pylist(), dtype=str)
    return np.array(column.to_numpy())


def to_json(value: Any) -> bytes:
    """A :func:`plain` value as the text of a file."""
    return (json.dumps(value, indent=2, allow_nan=False, ensure_ascii=False) + "\n").encode()


def read_json(file: Path) -> dict[str, Any]:
    """The object in a JSON file; `InputError` if there is none."""
    try:
        value = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise corrupt(file, error) from error
    if not isinstance(value, dict):
        raise corrupt(file, "it holds no JSON object")
    return value


def corrupt(file: Path, why: object) -> InputError:
    """The error for a file of a ledger that cannot be read, and what to do about it."""
    reason = " ".join(str(why).split()) or type(why).__name__
    remedy = "restore it from a copy, or start the run again with another --out"
    if file.name == "summary.json":
        remedy = "delete it, and run again with --resume"
    if file.parent.name == "parts":
        remedy = f"delete {file.with_suffix('.*')}, and run again with --resume"
    return InputError(f"{file} cannot be read ({reason}): {remedy}")


def plain(value: Any) -> Any:
    """``value`` as JSON can hold it: NaN is None, infinities are the text "inf" and "-inf"."""
    if isinstance(value, Mapping):
        return {str(k): plain(v) for k, v in value.items()}
    if isinstance(value, Tensor | np.ndarray):
        return plain(value.tolist())
    if isinstance(value, np.generic):
        return plain(value.item())
    if isinstance(value, list | tuple):
        return [plain(v) for v in value]
    if isinstance(value, float) and not np.isfinite(value):
        return None if np.isnan(value) else str(value)
    if value is None or isinstance(value, bool | int | float | str):
        return value
    # Not where an object lies in memory: the next process has it elsewhere.
    return re.sub(r" at 0x[0-9a-f]+", "", str(value))


def differences(a: Any, b: Any, name: str = "") -> list[tuple[str, Any, Any]]:
    """Where two plain values differ: dotted name, value in ``a``, value in ``b``."""
    if isinstance(a, dict) and isinstance(b, dict):
        keys = [*a, *(key for key in b if key not in a)]
        inner = [differences(a.get(k), b.get(k), f"{name}.{k}" if name else k) for k in keys]
        return [d for ds in inner for d in ds]
    if isinstance(a, list) and isinstance(b, list) and len(a) == len(b):
        return [d for i in range(len(a)) for d in differences(a[i], b[i], f"{name}[{i}]")]
    return [] if a == b else [(name, a, b)]


def short(value: Any) -> str:
    """A value as one short piece of a message."""
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 60 else f"{text[:57]}..."
