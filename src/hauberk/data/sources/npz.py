"""NumPy archives `.npz`, read without unpickling."""

import zipfile
from pathlib import Path
from typing import Any

import numpy as np

from hauberk.data.naming import pair_of
from hauberk.data.objects import with_names
from hauberk.data.on_disk import ArrayOnDisk, header, member
from hauberk.data.source import DataSource, RawData, Request, in_memory
from hauberk.errors import InputError
from hauberk.spec.imports import one_line


def _open(request: Request) -> RawData:
    """Images and labels by their usual names, or those that are named behind the file."""
    path, words = request.located
    shapes = _shapes(path)
    if not words and {"images", "labels"} <= shapes.keys():
        words = ("images", "labels")
    names = pair_of(shapes, f"{request.name}:{path}", words, shapes=shapes)
    arrays = read_npz(path, tuple(names), by_rows=True)
    raw = in_memory(arrays[names.images], arrays[names.labels], request.spec)
    return with_names(raw, request)


NPZ = DataSource(
    "npz",
    "npz:FILE[:IMAGES:LABELS]",
    "A NumPy archive: images and labels, x_test and y_test, or the like; npz:FILE:test of several.",
    _open,
)


def read_npz(path: Path, names: tuple[str, ...] = (), *, by_rows: bool = False) -> dict[str, Any]:
    """The arrays `names` of an `.npz` file, or all of them.

    Args:
        path: the file.
        names: which arrays; all if empty.
        by_rows: leave large ones where they are, as :class:`~hauberk.data.on_disk.ArrayOnDisk`.

    Raises:
        InputError: if the file is missing or corrupt, lacks a name, or holds anything but arrays.
    """
    _require_file(path)
    try:
        with np.load(path, allow_pickle=False) as archive:
            found = list(archive.files)
            missing = [name for name in names if name not in found]
            arrays = {}
            for name in () if missing else names or found:
                plain = by_rows and f"{name}.npy" in archive.zip.namelist()
                arrays[name] = member(path, name) if plain else archive[name]
    except Exception as error:  # numpy, zipfile, zlib, lzma: each has its own
        raise _unreadable(path, error) from error
    if missing:
        raise InputError(
            f"{path} holds {', '.join(found[:6]) or 'nothing'}, but no {' and no '.join(missing)}: "
            f"save it with the arrays {' and '.join(names)}"
        )
    # numpy hands out the bytes of members that are no arrays, as in any other zip file.
    if other := [
        name for name, value in arrays.items() if not isinstance(value, np.ndarray | ArrayOnDisk)
    ]:
        raise InputError(f"{path} is no .npz file: its member {other[0]} is no array")
    return arrays


def _require_file(path: Path) -> None:
    if not path.is_file():
        what = "is a folder, not a file" if path.is_dir() else "does not exist"
        raise InputError(f"{path} {what}")


def _unreadable(path: Path, error: Exception) -> InputError:
    return InputError(
        f"{path} is no readable .npz file of plain arrays ({one_line(error)}): "
        "fetch or save it again"
    )


def _shapes(path: Path) -> dict[str, tuple[int, ...]]:
    """The shape of each array."""
    _require_file(path)
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
            members = [name for name in names if name.endswith(".npy")]
            found = {}
            for name in members:
                with archive.open(name) as file:
                    found[name.removesuffix(".npy")] = header(file)[0]
    except Exception as error:  # numpy, zipfile, zlib, lzma: each has its own
        raise _unreadable(path, error) from error
    if not members and names:
        raise InputError(f"{path} is no .npz file: its member {names[0]} is no array")
    return found
