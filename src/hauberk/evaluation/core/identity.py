"""Fingerprints of models: what tells the model of a run from every other.

A run that is resumed, and the numbers it adds, are worth something only if they come from the model
that wrote the parts already there.
"""

import ast
import hashlib
import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import fields, is_dataclass
from textwrap import dedent
from types import FunctionType
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parameter import UninitializedBuffer, UninitializedParameter

from hauberk.threats.base import Threat
from hauberk.victims.averaged import Averaged
from hauberk.victims.victim import Victim

LENGTH = 16
"""Hexadecimal digits of a fingerprint: enough to tell apart, short enough to read."""


def fingerprints(models: Mapping[str, Any], settings: Any = ()) -> dict[str, dict[str, str]]:
    """The fingerprints of several models by name, and of those that a run's settings hold.

    Args:
        models: the models under attack.
        settings: attacks, threats and objectives, by name or in a list; the models and functions
            inside them (source models of a transfer, feature networks, losses, domains) get the
            name of their place.
    """
    found, seen = dict(models), {id(_inner(model)) for model in models.values()}
    for place, model in models_in(settings):
        if id(_inner(model)) not in seen:
            seen.add(id(_inner(model)))
            found[place] = model
    return {name: fingerprint(model) for name, model in found.items()}


def fingerprint(model: Any) -> dict[str, str]:
    """The ``architecture`` and the ``weights`` of a model, each as a short hash.

    The architecture is the tree of modules: their names, classes, settings (``extra_repr``, and
    attributes that are plain numbers), the functions they hold, and the code of their ``forward``;
    a comment or another layout of the code
    does not change it. The weights are every parameter and buffer: name, shape, dtype and values,
    on whatever device. A plain function has the architecture of its name, and no weights.

    Example:
        >>> from torch import nn
        >>> layer = nn.Linear(2, 2)
        >>> one, other = (fingerprint(nn.Sequential(layer, act)) for act in (nn.ReLU(), nn.GELU()))
        >>> one["weights"] == other["weights"], one["architecture"] == other["architecture"]
        (True, False)
    """
    kind = ""
    if isinstance(model, Victim):
        # A stochastic model is averaged by the run itself: its draws are recorded apart.
        own = "" if type(model) in (Victim, Averaged) else type(model).__qualname__
        kind = f"{own} {model.mode} {_sureness(model)}"
    model = _inner(model)
    if isinstance(model, Tensor):
        return {"architecture": _short([tuple(model.shape)]), "weights": _short([_bytes(model)])}
    if isinstance(model, str):
        return {"architecture": _short([model]), "weights": _short([])}
    if not isinstance(model, nn.Module):
        return {"architecture": _short([kind, _named(model)]), "weights": _short([])}
    tree = [line for name, part in model.named_modules() for line in _module(name, part)]
    return {"architecture": _short([kind, *tree]), "weights": _short(_values(model))}


def models_in(value: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    """Every model, function and tensor that attacks, threats or objectives hold, and its place.

    Looks into dataclasses, mappings and sequences, and into the public attributes of threats, whose
    numbers, not all of which stand in their notation, are one text.
    """
    if isinstance(value, nn.Module | Victim | FunctionType | Tensor):
        yield name, value
    elif isinstance(value, Mapping):
        for key, inner in value.items():
            yield from models_in(inner, f"{name}.{key}" if name else str(key))
    elif isinstance(value, Sequence) and not isinstance(value, str | bytes):
        for number, inner in enumerate(value):
            yield from models_in(inner, f"{name}.{number}" if name else str(number))
    elif isinstance(value, Threat):
        yield name, f"{type(value).__qualname__} {_scalars(value, counts=True)}"
        public = {key: inner for key, inner in vars(value).items() if not key.startswith("_")}
        yield from models_in(public, name)
    elif is_dataclass(value) and not isinstance(value, type):
        held = {field.name: getattr(value, field.name) for field in fields(value)}
        yield from models_in(held, name)


def _sureness(victim: Victim) -> str:
    return f"{victim.sure} {victim.seed}" if isinstance(victim, Averaged) else ""


def _inner(model: Any) -> Any:
    """The module itself, not the victim that wraps it, nor what compiling made of it."""
    model = model.model if isinstance(model, Victim) else model
    return getattr(model, "_orig_mod", model)


def _module(name: str, part: nn.Module) -> Iterator[str]:
    kind = type(part)
    if isinstance(part, torch.jit.ScriptModule):
        yield f"{name} {getattr(part, 'original_name', '')} {getattr(part, 'code', '')}"
        return
    yield f"{name} {kind.__module__}.{kind.__qualname__} {part.extra_repr()}"
    if not kind.__module__.startswith("torch."):
        yield _code(kind.forward)
    yield _scalars(part)
    for key, value in sorted(vars(part).items()):
        if isinstance(value, FunctionType) or inspect.isbuiltin(value):
            yield f"{name} {key} {_named(value)}"


def _scalars(part: Any, counts: bool = False) -> str:
    """Public attributes that are plain numbers; with ``counts`` also integers, which may count."""
    kinds = (bool, float, int) if counts else (bool, float)

    def plain(value: Any) -> bool:
        return isinstance(value, kinds) or (
            isinstance(value, tuple) and all(isinstance(x, bool | int | float) for x in value)
        )

    held = sorted((k, v) for k, v in vars(part).items() if not k.startswith("_") and plain(v))
    return repr([(k, v) for k, v in held if k != "training"])


def _named(function: Any) -> str:
    """The name of a function or of the class of a callable, and its code if it is to be had."""
    if not hasattr(function, "__qualname__"):
        function = type(function)
    name = f"{getattr(function, '__module__', '')}.{function.__qualname__}"
    return name if "<lambda>" in name else f"{name} {_code(function)}"


def _code(function: Callable[..., Any]) -> str:
    """The code as Python reads it, without comments and layout; nothing if it cannot be found."""
    try:
        return ast.unparse(ast.parse(dedent(inspect.getsource(function))))
    except (OSError, TypeError, SyntaxError, ValueError):
        return ""


def _values(model: nn.Module) -> Iterator[bytes]:
    for name, value in (*model.named_parameters(), *model.named_buffers()):
        if isinstance(value, UninitializedParameter | UninitializedBuffer):
            continue
        yield f"{name} {tuple(value.shape)} {value.dtype}".encode()
        yield _bytes(value)


def _bytes(value: Tensor) -> bytes:
    value = value.detach()
    value = value.dequantize() if value.is_quantized else value
    value = value.to_dense() if value.layout != torch.strided else value
    flat = value.cpu().resolve_conj().contiguous().reshape(-1)
    return flat.view(torch.uint8).numpy().tobytes()


def _short(pieces: Any) -> str:
    found = hashlib.sha256()
    for piece in pieces:
        found.update(piece if isinstance(piece, bytes) else f"{piece}\n".encode())
    return found.hexdigest()[:LENGTH]
