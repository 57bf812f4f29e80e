"""NumPy archives, without ever unpickling."""

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from hauberk.errors import InputError
from hauberk.spec.imports import one_line


def read_npz(path: Path, names: tuple[str, ...] = ()) -> dict[str, npt.NDArray[Any]]:
    """The arrays `names` of an `.npz` file, or all; `InputError` if it is missing or corrupt."""
    if not path.is_file():
        what = "is a folder, not a file" if path.is_dir() else "does not exist"
        raise InputError(f"{path} {what}")
    try:
        with np.load(path, allow_pickle=False) as archive:
            found = list(archive.files)
            lacking = [name for name in names if name not in found]
            arrays = {} if lacking else {name: archive[name] for name in names or found}
    except Exception as error:  # numpy, zipfile, zlib, lzma: each has its own
        raise InputError(
            f"{path} is no readable .npz file of plain arrays ({one_line(error)}): "
            "fetch or save it again"
        ) from error
    if lacking:
        raise InputError(
            f"{path} holds {', '.join(found[:6]) or 'nothing'}, but no {' and no '.join(lacking)}: "
            f"save it with the arrays {' and '.join(names)}"
        )
    # numpy hands out the bytes of members that are no arrays, as in any other zip file.
    if other := [name for name, value in arrays.items() if not isinstance(value, np.ndarray)]:
        raise InputError(f"{path} is no .npz file: its member {other[0]} is no array")
    return arrays
