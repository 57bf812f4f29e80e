"""The IDX format of MNIST: a big-endian header, then bytes; packed with gzip or not."""

import gzip
import math
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from hauberk.errors import InputError


def read_idx(path: Path, ndim: int) -> npt.NDArray[Any]:
    """The uint8 array of `ndim` dimensions in `path`; `InputError` unless it is whole."""
    data = _read_bytes(path)
    start = 4 + 4 * ndim
    if len(data) < start:
        raise InputError(f"{path} is truncated: {len(data)} bytes, no IDX header; fetch it again")
    magic = int.from_bytes(data[:4], "big")
    if magic != 0x0800 + ndim:
        raise InputError(
            f"{path} is no IDX file of bytes in {ndim} dimensions: its magic number is "
            f"0x{magic:08x}, not 0x{0x0800 + ndim:08x}; fetch it again"
        )
    shape = tuple(int.from_bytes(data[i : i + 4], "big") for i in range(4, start, 4))
    if len(data) - start != math.prod(shape):
        raise InputError(
            f"{path} is truncated or corrupt: its header promises {shape}, {math.prod(shape)} "
            f"bytes, but {len(data) - start} follow; fetch it again"
        )
    return np.frombuffer(data, dtype=np.uint8, offset=start).reshape(shape)


def _read_bytes(path: Path) -> bytes:
    try:
        data = path.read_bytes()
        return gzip.decompress(data) if data[:2] == b"\x1f\x8b" else data
    except (OSError, EOFError, zlib.error) as error:
        raise InputError(f"{path} cannot be read ({error}): fetch it again") from error
