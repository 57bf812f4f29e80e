"""MNIST and Fashion-MNIST: four files in the IDX format, a big-endian header and bytes."""

import gzip
import math
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from hauberk.data.source import DataSource, RawData, Request, in_memory
from hauberk.errors import InputError

_FOLDERS = {
    "mnist": ("MNIST/raw", "MNIST", "mnist", "."),
    "fashion": (
        "FashionMNIST/raw",
        "FashionMNIST",
        "fashion-mnist",
        "fashion_mnist",
        "fashion",
        ".",
    ),
}
# How many there are of each class; MNIST and Fashion-MNIST use the same file names.
_COUNTS = {
    ("mnist", 60000): (5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949),
    ("mnist", 10000): (980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009),
    ("fashion", 60000): (6000,) * 10,
    ("fashion", 10000): (1000,) * 10,
}


def _open(request: Request) -> RawData:
    """The images and labels of a split, in `data_dir` or its usual subfolders."""
    spec, name = request.spec, request.name
    prefix = "train" if request.split == "train" else "t10k"
    places = [request.folder / place for place in _FOLDERS[name]]
    images = read_idx(_idx_file(spec, places, f"{prefix}-images", 3), 3)
    labels_file = _idx_file(spec, places, f"{prefix}-labels", 1)
    labels = read_idx(labels_file, 1)
    data = in_memory(images, labels, spec, 10)
    _check_counts(spec, name, labels, labels_file)
    return data


_FILES = "the four IDX files in data_dir, gzipped or not."
MNIST = DataSource("mnist", "mnist:train|test", f"MNIST: {_FILES}", _open)
FASHION = DataSource("fashion", "fashion:train|test", f"Fashion-MNIST: {_FILES}", _open)


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


def _idx_file(spec: str, places: list[Path], stem: str, ndim: int) -> Path:
    names = [f"{stem}{mark}idx{ndim}-ubyte" for mark in "-."]
    for place in places:
        for name in names:
            for path in (place / name, place / f"{name}.gz"):
                if path.is_file():
                    return path
    *inside, folder = places
    raise InputError(
        f"{spec}: no {names[0]} or {names[1]}, with or without .gz, in {folder} or its folders "
        f"{', '.join(place.relative_to(folder).as_posix() for place in inside)}: "
        "put the file there, or give another data_dir"
    )


def _check_counts(spec: str, name: str, labels: npt.NDArray[Any], path: Path) -> None:
    found = tuple(np.bincount(labels, minlength=10).tolist())
    if _COUNTS.get((name, len(labels)), found) == found:
        return
    other = "fashion" if name == "mnist" else "mnist"
    theirs = _COUNTS[other, len(labels)] == found
    hint = f" but {other}'s" if theirs else ""
    instead = f"use {other}:" if theirs else "save yours as an .npz"
    raise InputError(
        f"{spec}: the labels in {path} are not those of {name}{hint}: "
        f"give the data_dir that holds {name}, or {instead}"
    )
