"""Arrays in files, whose rows are read when they are asked for."""

import os
import tempfile
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt

from hauberk.errors import InputError

SMALL = 2**20
"""Bytes up to which an array is read at once."""

_CHUNK = 2**20


@dataclass(frozen=True)
class ArrayOnDisk:
    """An array in a file, row after row; ``array[2:5]`` reads three of them.

    Args:
        file: its path, or an open file.
        offset: bytes before it.
        shape: ``(N, ...)``.
        dtype: of its numbers.

    Example:
        >>> from tempfile import TemporaryFile
        >>> file = TemporaryFile()
        >>> _ = file.write(bytes(range(12)))
        >>> file.flush()
        >>> ArrayOnDisk(file, 2, (5, 2), np.dtype(np.uint8))[1:3].tolist()
        [[4, 5], [6, 7]]
    """

    file: Path | IO[bytes]
    offset: int
    shape: tuple[int, ...]
    dtype: np.dtype[Any]

    @property
    def ndim(self) -> int:
        """Number of dimensions."""
        return len(self.shape)

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows: slice) -> npt.NDArray[Any]:
        """Rows of a slice in steps of 1.

        Raises:
            InputError: if they are no longer there.
        """
        start, stop, _ = slice(rows.start, rows.stop).indices(len(self))
        found = np.empty((max(0, stop - start), *self.shape[1:]), dtype=self.dtype)
        row = found.dtype.itemsize * int(np.prod(self.shape[1:], dtype=np.int64))
        if found.nbytes:
            self._fill(found.reshape(-1).view(np.uint8).data, self.offset + start * row)
        return found

    def _fill(self, room: memoryview, place: int) -> None:
        try:
            if not isinstance(self.file, Path):
                done = _read(self.file, room, place)
            else:
                with self.file.open("rb", buffering=0) as file:
                    done = _read(file, room, place)
        except OSError as error:
            raise InputError(f"{self.file} cannot be read: {error.strerror or error}") from error
        if done < len(room):
            raise InputError(f"{self.file} became shorter while it was read: restore it")


def _read(file: IO[bytes], room: memoryview, place: int) -> int:
    """Fill the room from a place on, by calls that move no position that processes share."""
    done = 0
    while done < len(room):
        some = os.pread(file.fileno(), min(len(room) - done, 2**30), place + done)
        if not some:
            break
        room[done : done + len(some)] = some
        done += len(some)
    return done


def member(path: Path, name: str) -> "ArrayOnDisk | npt.NDArray[Any]":
    """The array ``name`` of an ``.npz`` file, read by rows if it is large.

    What is compressed is unpacked once, into a temporary file without a name. All of it is read
    once, so that a damaged file is found out at once.

    Raises:
        OSError, ValueError, zipfile.BadZipFile, ...: as reading an archive does.
    """
    with zipfile.ZipFile(path) as archive:
        info = archive.getinfo(f"{name}.npy")
        with archive.open(info) as packed:
            shape, by_columns, dtype = header(packed)
            size = dtype.itemsize * int(np.prod(shape, dtype=np.int64))
            if by_columns or dtype.hasobject or len(shape) < 2 or size <= SMALL:
                with np.load(path, allow_pickle=False) as arrays:
                    whole: npt.NDArray[Any] = arrays[name]
                    return whole
            head = packed.tell()
            kept = None
            if info.compress_type != zipfile.ZIP_STORED:
                kept = tempfile.TemporaryFile(prefix="hauberk-")  # noqa: SIM115
            found = 0
            while some := packed.read(_CHUNK):
                found += len(some)
                if kept is not None:
                    kept.write(some)
        if found < size:
            raise ValueError(f"{name} ends early")
        if kept is not None:
            kept.flush()
            return ArrayOnDisk(kept, 0, shape, dtype)
        return ArrayOnDisk(path, _start(path, info) + head, shape, dtype)


def header(file: IO[bytes]) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    """Shape, whether it is stored by columns, and dtype of what follows, as the format .npy says.

    Raises:
        ValueError: for a format that is not known.
    """
    version = np.lib.format.read_magic(file)
    if version == (1, 0):
        return np.lib.format.read_array_header_1_0(file)
    if version == (2, 0):
        return np.lib.format.read_array_header_2_0(file)
    raise ValueError(f"version {version} of the format .npy")


def _start(path: Path, info: zipfile.ZipInfo) -> int:
    """Where the bytes of a member begin: behind a header that names it once more."""
    with path.open("rb") as file:
        file.seek(info.header_offset)
        header = file.read(30)
    return (
        info.header_offset + 30 + sum(int.from_bytes(header[k : k + 2], "little") for k in (26, 28))
    )
