"""NumPy archives `.npz`, read without unpickling."""

from pathlib import Path
from typing import Any

import numpy as np

from hauberk.data.on_disk import ArrayOnDisk, member
from hauberk.data.source import DataSource, RawData, Request, in_memory
from hauberk.errors import InputError
from hauberk.spec.imports import one_line


def _open(request: Request) -> RawData:
    arrays = read_npz(request.path, ("images", "labels"), by_rows=True)
    return in_memory(arrays["images"], arrays["labels"], request.spec)


NPZ = DataSource(
    "npz",
    "npz:FILE",
    "A NumPy archive with arrays images and labels; uint8, or floats in the box.",
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
    if not path.is_file():
        what = "is a folder, not a file" if path.is_dir() else "does not exist"
        raise InputError(f"{path} {what}")
    try:
        with np.load(path, allow_pickle=False) as archive:
            found = list(archive.files)
            missing = [name for name in names if name not in found]
            arrays = {}
            for name in () if missing else names or found:
                plain = by_rows and f"{name}.npy" in archive.zip.namelist()
                arrays[name] = member(path, name) if plain else archive[name]
    except Exception as error:  # numpy, zipfile, zlib, lzma: each has its own
        raise InputError(
            f"{path} is no readable .npz file of plain arrays ({one_line(error)}): "
            "fetch or save it again"
        ) from error
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
