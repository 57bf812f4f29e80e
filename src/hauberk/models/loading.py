"""Models and weights of users: every failure is an `InputError` of one line."""

import copy
import pickle
import re
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from hauberk.data.sources.npz import read_npz
from hauberk.errors import InputError
from hauberk.models.routed import Routed
from hauberk.models.saved import resolve_model, routed_parts
from hauberk.spec.imports import call, import_object, one_line

_TORCH_SUFFIXES = (".pt", ".pth", ".ckpt", ".bin")
_PREFIXES = ("module.", "model.", "_orig_mod.")
_FLOATS = (torch.float16, torch.bfloat16, torch.float32, torch.float64)


def load_model(spec: str, weights: str | Path | None = None) -> nn.Module:
    """The model that `spec` names, in eval mode.

    Args:
        spec: "pkg.module:attr" or "path/to/file.py:attr", where `attr` is an `nn.Module` (a copy is
            returned) or a callable without arguments that returns one; or the `model.yaml` of a
            training, or its folder, which names weights too; or the file of a
            :class:`~hauberk.models.Routed`. The current directory is importable;
            naming a module runs its code.
        weights: a file, as for `load_weights`.

    Raises:
        InputError: if there is no such model, or if its code fails.

    Example:
        >>> from hauberk.models import load_model
        >>> type(load_model("hauberk.models:SmallCNN")).__name__
        'SmallCNN'
    """
    spec, weights = resolve_model(spec, weights)
    if routed := routed_parts(spec):
        parts, width = routed
        return Routed(**{role: load_model(*one) for role, one in parts.items()}, width=width).eval()
    found = import_object(spec, "model")
    if isinstance(found, nn.Module):
        try:
            model: object = copy.deepcopy(found)
        except Exception as error:
            raise InputError(
                f"model {spec!r} cannot be copied ({one_line(error)}): "
                "name a function that returns it instead"
            ) from error
    else:
        model = call(found, spec, "model")
    if not isinstance(model, nn.Module):
        raise InputError(
            f"model {spec!r} gave a {type(model).__name__}, not a torch.nn.Module: "
            "name a module, or a callable that returns one"
        )
    return model.eval() if weights is None else load_weights(model, weights)


def load_weights(model: nn.Module, path: str | Path) -> nn.Module:
    """Load a file of weights into `model` and return that model in eval mode; strict.

    Dictionaries around the state dict and the prefixes "module.", "model." and "_orig_mod." are
    removed if the keys then fit. `num_batches_tracked` may be missing. If all floating-point
    weights share one dtype (float16, bfloat16, float32, float64) the model is cast to it; if not,
    the model keeps its own.

    Args:
        model: takes the weights; unchanged if there is an error.
        path: `.npz`, `.safetensors`, or `.pt`, `.pth`, `.ckpt` or `.bin` of `torch.save`; read
            without executing code.

    Raises:
        InputError: if the file is missing, corrupt, refused or ambiguous, if the keys, shapes or
            types do not fit, or if a weight is NaN or infinite.

    Example:
        >>> import tempfile
        >>> from pathlib import Path
        >>> import numpy as np, torch
        >>> from hauberk.models import load_weights
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = Path(folder) / "linear.npz"
        ...     np.savez(path, weight=np.ones((2, 3), np.float32), bias=np.zeros(2, np.float32))
        ...     model = load_weights(torch.nn.Linear(3, 2), path)
        >>> model(torch.ones(1, 3))
        tensor([[3., 3.]], grad_fn=<AddmmBackward0>)
    """
    path = Path(path).expanduser()
    own = model.state_dict()
    tried = [(_Misfit.of(own, c.weights), c) for c in _candidates(_read(path))]
    if not tried:
        raise InputError(f"weights {path}: the file holds no weights")
    fits = [candidate for misfit, candidate in tried if not misfit]
    if not fits:
        misfit, _ = max(tried, key=lambda pair: pair[0].overlap)
        raise InputError(f"weights {path} do not fit {type(model).__name__}: {misfit}")
    chosen = fits[0]
    for other in fits[1:]:
        if not _same(chosen.weights, other.weights):
            raise InputError(
                f"weights {path}: both {chosen.name!r} and {other.name!r} fit and they differ: "
                "save the one that you mean on its own"
            )
    _check_values(path, chosen.weights, own)
    dtypes = {v.dtype for v in chosen.weights.values() if _is_float(v)}
    if len(dtypes) == 1:
        model.to(dtypes.pop())
    # Not strict: only the BatchNorm counters can still be missing.
    try:
        model.load_state_dict(chosen.weights, strict=False)
    except RuntimeError as error:  # a module with a loading function of its own
        raise InputError(f"weights {path} do not load: {one_line(error)}") from error
    return model.eval()


def _read(path: Path) -> Mapping[Any, Any]:
    if not path.is_file():
        what = "is a folder, not a file" if path.is_dir() else "does not exist"
        raise InputError(f"weights {path}: the file {what}")
    suffix = path.suffix.lower()
    if suffix == ".npz":
        return {key: _to_tensor(value) for key, value in read_npz(path).items()}
    if suffix == ".safetensors":
        from safetensors.torch import load_file

        try:
            return load_file(path)
        except Exception as error:
            raise InputError(
                f"weights {path}: no readable safetensors file ({one_line(error)}): fetch it again"
            ) from error
    if suffix in _TORCH_SUFFIXES:
        return _read_torch(path)
    raise InputError(
        f"weights {path}: unknown suffix {suffix!r}: "
        f"give .npz, .safetensors or {', '.join(_TORCH_SUFFIXES)}"
    )


def _read_torch(path: Path) -> Mapping[Any, Any]:
    convert = "convert it to .safetensors, or save model.state_dict() alone"
    try:
        with warnings.catch_warnings():  # an error is clearer, if there is one
            warnings.simplefilter("ignore")
            found = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        name = re.search(r"GLOBAL (\S+)", str(error))
        asks = f"it asks for {name[1]}" if name else "it is no plain torch.save of tensors"
        raise InputError(
            f"weights {path}: refused, as reading it could execute code ({asks}): {convert}"
        ) from error
    except Exception as error:
        if "TorchScript" in str(error):
            raise InputError(f"weights {path}: a TorchScript archive: {convert}") from error
        raise InputError(
            f"weights {path}: corrupt, or not written by torch.save ({one_line(error)}): "
            "fetch or save it again"
        ) from error
    if not isinstance(found, Mapping):
        raise InputError(f"weights {path}: holds a {type(found).__name__}: {convert}")
    return found


def _to_tensor(array: np.ndarray[Any, Any]) -> object:
    if array.dtype.kind not in "fiub" or array.dtype.itemsize > 8:
        return array
    return torch.from_numpy(np.array(array, dtype=array.dtype.newbyteorder("=")))


@dataclass(frozen=True)
class _Candidate:
    name: str
    weights: dict[str, Any]


def _candidates(tree: Mapping[Any, Any], name: str = "", depth: int = 0) -> Iterator[_Candidate]:
    """Each dictionary of the file, outermost first, as it is and without its prefixes."""
    if tree and all(isinstance(key, str) for key in tree):
        weights = dict(tree)
        if any(isinstance(value, Tensor) for value in weights.values()):
            yield _Candidate(name, weights)
            while prefix := next(
                (p for p in _PREFIXES if all(k.startswith(p) for k in weights)), ""
            ):
                weights = {key.removeprefix(prefix): value for key, value in weights.items()}
                yield _Candidate(name, weights)
    if depth < 3:
        for key, value in tree.items():
            if isinstance(value, Mapping):
                yield from _candidates(value, f"{name}.{key}" if name else str(key), depth + 1)


@dataclass(frozen=True)
class _Misfit:
    """The differences between a state dict and a model; false if there are none."""

    missing: list[str]
    unexpected: list[str]
    wrong: list[str]
    overlap: int

    @classmethod
    def of(cls, own: Mapping[str, Any], weights: Mapping[str, Any]) -> "_Misfit":
        common = [key for key in own if key in weights]
        return cls(
            missing=[k for k in own if k not in weights and not k.endswith("num_batches_tracked")],
            unexpected=[key for key in weights if key not in own],
            wrong=[note for key in common if (note := _difference(key, own[key], weights[key]))],
            overlap=len(common),
        )

    def __bool__(self) -> bool:
        return bool(self.missing or self.unexpected or self.wrong)

    def __str__(self) -> str:
        parts = (("missing", self.missing), ("unexpected", self.unexpected), ("wrong", self.wrong))
        return "; ".join(f"{len(keys)} {what}: {_few(keys)}" for what, keys in parts if keys)


def _difference(key: str, own: object, given: object) -> str:
    if not isinstance(own, Tensor):  # a module's extra state, which only it understands
        return ""
    if not isinstance(given, Tensor):
        return f"{key} is a {type(given).__name__}, not a tensor"
    if own.shape != given.shape:
        return f"{key} has shape {tuple(given.shape)}, the model {tuple(own.shape)}"
    if _is_float(own) != _is_float(given) and not key.endswith("num_batches_tracked"):
        return f"{key} has type {given.dtype}, the model {own.dtype}"
    if _is_float(given) and given.dtype not in _FLOATS:
        return f"{key} has type {given.dtype}, which torch cannot compute with"
    return ""


def _is_float(value: object) -> bool:
    return isinstance(value, Tensor) and value.is_floating_point()


def _few(names: list[str], most: int = 3) -> str:
    rest = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + rest


def _same(a: Mapping[str, Any], b: Mapping[str, Any]) -> bool:
    tensors = [key for key, value in a.items() if isinstance(value, Tensor)]
    return all(
        key in b and a[key].dtype == b[key].dtype and torch.equal(a[key], b[key]) for key in tensors
    )


def _check_values(path: Path, weights: Mapping[str, Any], own: Mapping[str, Tensor]) -> None:
    """Infinite values are accepted where the model itself has the same, as in a mask."""

    def bad_in(key: str, v: Tensor) -> bool:
        mine = own.get(key)
        if mine is None or mine.shape != v.shape:
            return not bool(v.isfinite().all())
        return bool((~v.isfinite() & (v != mine.to(v))).any())

    bad = [key for key, v in weights.items() if _is_float(v) and bad_in(key, v)]
    if bad:
        raise InputError(
            f"weights {path}: NaN or infinite values in {_few(bad)}: use another checkpoint"
        )
