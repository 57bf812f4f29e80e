"""Files of weights, read without executing code."""

import pickle
import re
import warnings
import zipfile
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from hauberk.data.sources.npz import read_npz
from hauberk.errors import InputError
from hauberk.spec.imports import one_line

TORCH_SUFFIXES = (".pt", ".pth", ".ckpt", ".bin", ".tar")
"""Endings of what `torch.save` wrote; other endings are recognised by the first bytes."""

_MOST_STAND_INS = 200
_MORE = object()
_CONVERT = "convert it to .safetensors, or save model.state_dict() alone"


@dataclass(frozen=True)
class WeightsFile:
    """What a file of weights holds.

    Attributes:
        path: the file.
        key: which of the dictionaries in it is meant; empty if none was named.
        tree: tensors in dictionaries, as they lie in the file. Objects that are no tensors,
            numbers, texts or containers are stand-ins without content.
        inert: names of what the stand-ins stand for; none of it was imported or run.
    """

    path: Path
    key: str
    tree: Mapping[Any, Any] = field(repr=False)
    inert: tuple[str, ...] = ()


def path_and_key(weights: str | Path) -> tuple[Path, str]:
    """The file and the key of `FILE` or `FILE:KEY`.

    Args:
        weights: the text; a file that is called so as a whole has no key.

    Example:
        >>> path_and_key("net.pt:ema")
        (PosixPath('net.pt'), 'ema')
    """
    path = Path(weights).expanduser()
    before, colon, key = str(path).rpartition(":")
    if colon and key and not path.exists() and (Path(before).suffix or Path(before).is_file()):
        return Path(before), key
    return path, ""


def read_weights(weights: str | Path) -> WeightsFile:
    """What a file of weights holds.

    Args:
        weights: `FILE` or `FILE:KEY`: `.npz`, `.safetensors`, or what `torch.save` wrote, with
            whatever ending. Nothing in it is executed.

    Raises:
        InputError: if it is missing, corrupt, or of another format.
    """
    path, key = path_and_key(weights)
    if not path.is_file():
        what = "is a folder, not a file" if path.is_dir() else "does not exist"
        raise InputError(f"weights {path}: the file {what}")
    suffix = path.suffix.lower()
    if suffix == ".npz":
        return WeightsFile(path, key, {k: to_tensor(v) for k, v in read_npz(path).items()})
    if suffix == ".safetensors":
        from safetensors.torch import load_file

        try:
            return WeightsFile(path, key, load_file(path))
        except Exception as error:
            raise InputError(
                f"weights {path}: no readable safetensors file ({one_line(error)}): fetch it again"
            ) from error
    if suffix in TORCH_SUFFIXES or _looks_like_torch(path):
        return _read_torch(path, key)
    raise InputError(
        f"weights {path}: unknown suffix {suffix!r}: "
        f"give .npz, .safetensors or {', '.join(TORCH_SUFFIXES)}"
    )


def to_tensor(array: Any) -> Any:
    """An array of numbers as a tensor; anything else unchanged."""
    plain = isinstance(array, np.ndarray) and array.dtype.kind in "fiub"
    if not plain or array.dtype.itemsize > 8:
        return array
    return torch.from_numpy(np.array(array, dtype=array.dtype.newbyteorder("=")))


def _looks_like_torch(path: Path) -> bool:
    with path.open("rb") as file:
        start = file.read(2)
    if start[:1] == b"\x80":  # a pickle of protocol 2 or later
        return True
    if start != b"PK" or not zipfile.is_zipfile(path):
        return False
    with zipfile.ZipFile(path) as archive:
        return any(name.endswith("data.pkl") for name in archive.namelist())


def _read_torch(path: Path, key: str) -> WeightsFile:
    inert: list[str] = []
    while (found := _attempt(path, inert)) is _MORE:
        pass
    if isinstance(found, OrderedDict) and "_modules" in vars(found):
        found = module_state(found)
    if not isinstance(found, Mapping):
        raise InputError(f"weights {path}: holds a {type(found).__name__}: {_CONVERT}")
    left = tuple(name for name in inert if not name.startswith("numpy."))
    return WeightsFile(path, key, found, left)


def _attempt(path: Path, inert: list[str]) -> Any:
    """What the file holds; or that one name more is to stand in for something."""
    try:
        with warnings.catch_warnings(), _allowed(inert):  # an error is clearer, if there is one
            warnings.simplefilter("ignore")
            return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        name = _asked_for(error)
        if name and name not in inert and len(inert) < _MOST_STAND_INS:
            inert.append(name)
            return _MORE
        raise InputError(refusal(path, name or (inert[-1] if inert else ""))) from error
    except Exception as error:
        if "TorchScript" in str(error):
            raise InputError(f"weights {path}: a TorchScript archive: {_CONVERT}") from error
        raise InputError(
            f"weights {path}: corrupt, or not written by torch.save ({one_line(error)}): "
            "fetch or save it again"
        ) from error


def refusal(path: Path, name: str) -> str:
    """The message for a file that cannot be read without executing code.

    Args:
        path: the file.
        name: what it asks for; empty if not known.
    """
    asks = f"it asks for {name}" if name else "it is no plain torch.save of tensors"
    return f"weights {path}: refused, as reading it could execute code ({asks}): {_CONVERT}"


def _asked_for(error: Exception) -> str:
    found = re.search(r"GLOBAL (\S+)", str(error))
    return found[1] if found else ""


def module_state(stand_in: Any, prefix: str = "") -> dict[str, Any]:
    """Parameters and buffers of a module that was saved whole, from what stands in for it.

    Args:
        stand_in: holds the attributes of the module, of which none was imported or run.
        prefix: of the names.
    """
    inside = vars(stand_in)
    gone = inside.get("_non_persistent_buffers_set") or ()
    found: dict[str, Any] = {}
    for kind in ("_parameters", "_buffers"):
        for name, value in (inside.get(kind) or {}).items():
            if isinstance(value, Tensor) and not (kind == "_buffers" and name in gone):
                found[prefix + name] = value.detach()
    for name, part in (inside.get("_modules") or {}).items():
        if hasattr(part, "__dict__"):
            found |= module_state(part, f"{prefix}{name}.")
    return found


@contextmanager
def _allowed(names: list[str]) -> Iterator[None]:
    """Within the block `torch.load(weights_only=True)` takes these names.

    What numpy needs for arrays is itself; anything else is a class that does nothing, whatever the
    file wants done with it.
    """
    known = torch.serialization.get_safe_globals()
    torch.serialization.add_safe_globals([allowed for n in names for allowed in _stand_ins(n)])
    try:
        yield
    finally:
        torch.serialization.clear_safe_globals()
        torch.serialization.add_safe_globals(known)


def _stand_ins(name: str) -> list[Any]:
    real = _numpy_names().get(name.replace("numpy._core.", "numpy.core."))
    if real is None:
        return [_inert(name)]
    # An array's type of numbers is rebuilt by the class of that type.
    return [(real, name), *(kind for kind in vars(np.dtypes).values() if isinstance(kind, type))]


def _numpy_names() -> dict[str, Any]:
    from numpy._core import multiarray

    return {
        "numpy.core.multiarray._reconstruct": multiarray._reconstruct,
        "numpy.core.multiarray.scalar": multiarray.scalar,
        "numpy.ndarray": np.ndarray,
        "numpy.dtype": np.dtype,
    }


class _Nothing:
    """Stands in for a class or a function that a file names: called, it gives an empty mapping."""

    def __new__(cls, *_: Any, **__: Any) -> Any:
        # Of this very type, items and attributes may be set by what torch reads.
        return OrderedDict()


def _inert(name: str) -> type:
    module, _, last = name.rpartition(".")
    module = module or "builtins"
    return type(last, (_Nothing,), {"__module__": module, "__qualname__": last})
