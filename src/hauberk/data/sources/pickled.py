"""Pickles of plain values and NumPy arrays, read without executing what they name."""

import pickle
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

from hauberk.errors import InputError
from hauberk.spec.imports import one_line

_HOME = "numpy.core.multiarray" if np.__version__.startswith("1.") else "numpy._core.multiarray"
_ALLOWED = {
    ("numpy", "ndarray"),
    ("numpy", "dtype"),
    ("_codecs", "encode"),
    *(
        (module, name)
        for module in ("numpy.core.multiarray", "numpy._core.multiarray")
        for name in ("_reconstruct", "scalar")
    ),
}


class _Plain(pickle.Unpickler):
    """Finds what arrays are rebuilt by, and nothing else."""

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in _ALLOWED:
            raise pickle.UnpicklingError(f"it names {module}.{name}, which is not executed")
        if name in ("_reconstruct", "scalar"):
            return getattr(import_module(_HOME), name)
        return super().find_class(module, name)


def read_pickle(path: Path) -> Any:
    """What a pickle holds: numbers, texts, lists, dictionaries and arrays; texts as Latin-1.

    Raises:
        InputError: for a broken file, and for one that names anything else.
    """
    try:
        with path.open("rb") as file:
            found = _Plain(file, encoding="latin1").load()
    except Exception as error:  # a pickle can fail in every way
        raise InputError(
            f"{path} is no readable pickle of arrays ({one_line(error)}): fetch it again"
        ) from error
    return found
