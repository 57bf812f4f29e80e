"""Digests of Python objects: functions, classes and what they hold, alike in every process.

A function is its code, its defaults, what its closure holds, and whatever it uses by a global name;
a class is its methods and constants; an object is its class and its attributes. Code of Python, of
torch, numpy and hauberk is its name; that of other installed packages is its name and version.
Nothing depends on where an object lies in memory, nor on the order of a set.
"""

import enum
import hashlib
import inspect
import re
import sys
from collections.abc import Iterable, Iterator, Mapping
from functools import cache, cached_property, partial
from pathlib import Path
from types import (
    BuiltinFunctionType,
    CodeType,
    FunctionType,
    MethodType,
    ModuleType,
    SimpleNamespace,
)
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.parameter import UninitializedBuffer, UninitializedParameter

LENGTH = 16
"""Hexadecimal digits of a digest: enough to tell apart, short enough to read."""

DEPTH = 50_000
"""How deep functions, classes and objects may hold each other."""

LIBRARIES = frozenset(sys.stdlib_module_names) | {"torch", "numpy", "hauberk", "builtins"}
"""Packages whose code is known by its name: versions are recorded apart."""

NOTES = frozenset({"_passes", "_double", "_units", "dtypes", "_row_bytes", "_next_look"})
"""Attributes of hauberk's own objects that change while they work: counters and copies."""

INSTALLED = frozenset({"site-packages", "dist-packages"})
"""Folders of installed packages, whose code is known by name and version."""

HOOKS = ("_forward_pre_hooks", "_forward_hooks", "_backward_pre_hooks", "_backward_hooks")
PLAIN = (type(None), bool, int, float, complex, str, bytes, type(...), range, slice)
UNSEEN = frozenset(
    {"__doc__", "__module__", "__dict__", "__weakref__", "__annotations__", "__qualname__"}
    | {"__firstlineno__", "__static_attributes__", "__abstractmethods__", "_abc_impl"}
    | {"__dataclass_fields__", "__dataclass_params__", "__parameters__", "__orig_bases__"}
    | {"__slotnames__"}  # copying an object adds it to the class
)
# torch.compile leaves notes of its own on the module that it wraps.
_COMPILED = frozenset({"_is_torch_compile", "_compiled_call_impl", "_compile_kwargs"})
_MODULE = frozenset(vars(nn.Module())) | _COMPILED


def digest(*values: Any, names: Mapping[int, str] | None = None) -> str:
    """A short hash of values of whatever kind.

    Args:
        values: numbers, texts, containers, tensors, functions, classes, modules, objects.
        names: names of tensors by ``id``; such a tensor is its name, not its values.

    Example:
        >>> def scaled(k):
        ...     return lambda x: k * x
        >>> digest(scaled(1)) == digest(scaled(1)), digest(scaled(1)) == digest(scaled(2))
        (True, False)
    """
    before = sys.getrecursionlimit()
    sys.setrecursionlimit(max(before, DEPTH))  # a large code base of one's own goes deep
    try:
        return _walked(values, names or {}, frozenset())
    finally:
        sys.setrecursionlimit(before)


def _walked(values: Iterable[Any], names: Mapping[int, str], within: frozenset[int]) -> str:
    walk = _Walk(names, within)
    for value in values:
        walk.take(value)
    return walk.hash.hexdigest()[:LENGTH]


def traits(model: nn.Module) -> dict[str, str]:
    """What a module is besides its weights: a digest of each class, setting, hook and attribute.

    Example:
        >>> sorted(traits(nn.Sequential(nn.ReLU())))
        [' class', ' settings', '0 class', '0 inplace', '0 settings']
    """
    names = {id(value): name for name, value in _tensors(model)}
    classes: dict[type, str] = {}
    found = {}
    for name, part in model.named_modules():
        kind = type(part)
        if isinstance(part, torch.jit.ScriptModule):
            code = f"{getattr(part, 'original_name', '')} {getattr(part, 'code', '')}"
            found[f"{name} class"] = digest(code)
            continue
        classes[kind] = classes.get(kind) or digest(kind)
        found[f"{name} class"] = classes[kind]
        found[f"{name} settings"] = digest(part.extra_repr())
        for key, value in _held(part):
            found[f"{name} {key}"] = digest(value, names=names)
    return found


def weights(model: nn.Module) -> str:
    """A short hash of every parameter and buffer: name, shape, dtype and values."""
    found = hashlib.sha256()
    for name, value in _tensors(model):
        if not isinstance(value, UninitializedParameter | UninitializedBuffer):
            found.update(f"{name} {tuple(value.shape)} {value.dtype}\n".encode())
            found.update(_bytes(value))
    return found.hexdigest()[:LENGTH]


def is_own(thing: Any) -> bool:
    """Whether a class, function or module is the user's own: of no library whose name suffices."""
    root = _root(thing)
    if root in LIBRARIES:
        return False
    module = sys.modules.get(root)
    places = [getattr(module, "__file__", None), *getattr(module, "__path__", ())]
    return not any(_is_installed(root, str(place)) for place in places if place)


@cache
def _is_installed(root: str, place: str) -> bool:
    """Whether a package came with a distribution, whose folder lies beside it."""
    path = Path(place)
    if INSTALLED & set(path.parts):
        return True
    homes = (path.parent, path.parent.parent)
    return any(any(home.glob(f"{root}-*.dist-info")) for home in homes)


def _root(thing: Any) -> str:
    name = thing.__name__ if isinstance(thing, ModuleType) else getattr(thing, "__module__", None)
    return str(name or "").partition(".")[0]


def _origin(thing: Any) -> str:
    """Module and version of what is not own, whose code is not looked at."""
    if is_own(thing):
        # The script that is run today is imported tomorrow: own code is known by what it does.
        return ""
    root = _root(thing)
    version = "" if root in LIBRARIES else getattr(sys.modules.get(root), "__version__", "")
    return f"{thing.__module__} {version}"


def _held(part: nn.Module) -> Iterator[tuple[str, Any]]:
    """Attributes and hooks of one module, by name in a fixed order."""
    for key, value in sorted(vars(part).items()):
        if key not in _MODULE and not _is_cached(type(part), key):
            yield key, value
    for key in HOOKS:
        for number, hook in enumerate(getattr(part, key, {}).values()):
            yield f"{key}.{number}", hook


def _is_cached(kind: type, name: str) -> bool:
    return isinstance(inspect.getattr_static(kind, name, None), cached_property)


def _tensors(model: nn.Module) -> Iterator[tuple[str, Tensor]]:
    yield from model.named_parameters()
    yield from model.named_buffers()


def _bytes(value: Tensor) -> bytes:
    value = value.detach()
    value = value.dequantize() if value.is_quantized else value
    value = value.to_dense() if value.layout != torch.strided else value
    flat = value.cpu().resolve_conj().resolve_neg().contiguous().reshape(-1)
    return flat.view(torch.uint8).numpy().tobytes()


class _Walk:
    """One digest in the making: what was seen before is its number."""

    def __init__(self, names: Mapping[int, str], within: frozenset[int] = frozenset()) -> None:
        self.hash = hashlib.sha256()
        self.names = names
        # Sets that are being walked: what they hold may hold them.
        self.within = within
        # Objects are kept, so that no other takes the id of one that is gone.
        self.seen: dict[int, tuple[int, Any]] = {}

    def note(self, *pieces: Any) -> None:
        for piece in pieces:
            data = piece if isinstance(piece, bytes) else str(piece).encode("utf-8", "replace")
            self.hash.update(b"%d:" % len(data) + data)

    def take(self, value: Any) -> None:
        """Add a value and all that it holds."""
        if isinstance(value, enum.Enum):
            self.note(type(value).__qualname__, value.name)
        elif type(value) in PLAIN or isinstance(value, np.generic):
            self.note(type(value).__name__, repr(value))
        elif isinstance(value, Tensor):
            self.tensor(value)
        elif type(value) in (tuple, list) and all(type(v) in PLAIN for v in value):
            self.note(type(value).__name__, repr(value))
        elif id(value) in self.within:
            self.note("within itself")
        elif id(value) in self.seen and not isinstance(value, tuple | frozenset):
            self.note("#", self.seen[id(value)][0])
        else:
            self.seen[id(value)] = len(self.seen), value
            self.inside(value)

    def inside(self, value: Any) -> None:
        if isinstance(value, FunctionType):
            self.function(value)
        elif isinstance(value, MethodType):
            self.note("method")
            self.take(value.__func__)
            self.take(value.__self__)
        elif isinstance(value, partial):
            self.note("partial")
            for held in (value.func, value.args, value.keywords):
                self.take(held)
        elif isinstance(value, type):
            self.kind(value)
        elif isinstance(value, ModuleType):
            self.note("module", value.__name__)
        elif isinstance(value, BuiltinFunctionType):
            self.note("builtin", value.__module__, value.__qualname__)
            if not isinstance(value.__self__, ModuleType | type | None):
                self.take(value.__self__)
        elif isinstance(value, CodeType):
            self.code(value)
        elif isinstance(value, nn.Module):
            self.note("model", weights(value), *(f"{k}={v}" for k, v in self.traits(value)))
        elif isinstance(value, np.ndarray):
            self.note("array", value.shape, value.dtype)
            self.take(value.tolist()) if value.dtype.hasobject else self.note(value.tobytes())
        else:
            self.container(value)

    def traits(self, value: nn.Module) -> Iterator[tuple[str, str]]:
        # A module that holds what is being walked already would be walked for ever.
        names = {id(tensor): name for name, tensor in _tensors(value)} | dict(self.names)
        before, self.names = self.names, names
        for name, part in value.named_modules():
            self.seen.setdefault(id(part), (len(self.seen), part))
            self.note(name)
            self.take(type(part))
            if not isinstance(part, torch.jit.ScriptModule):
                self.note(part.extra_repr())
                for key, held in _held(part):
                    self.note(key)
                    self.take(held)
            yield name, type(part).__qualname__
        self.names = before

    def tensor(self, value: Tensor) -> None:
        if id(value) in self.names:
            self.note("weight", self.names[id(value)])
            return
        self.note("tensor", tuple(value.shape), value.dtype)
        if not isinstance(value, UninitializedParameter | UninitializedBuffer):
            self.note(_bytes(value))

    def container(self, value: Any) -> None:
        self.note(type(value).__qualname__)
        if isinstance(value, Mapping):
            for key, held in value.items():
                self.take(key)
                self.take(held)
        elif isinstance(value, set | frozenset):
            within = self.within | {id(value)}
            self.note(*sorted(_walked([held], self.names, within) for held in value))
        elif isinstance(value, list | tuple) or type(value).__name__ == "deque":
            for held in value:
                self.take(held)
        if is_own(type(value)) or not isinstance(value, Mapping | set | frozenset | list | tuple):
            self.attributes(value)

    def attributes(self, value: Any) -> None:
        """The class of an object and its attributes; of Python's own kinds what they print."""
        kind = type(value)
        self.take(kind)
        held = dict(getattr(value, "__dict__", {}))
        for base in kind.__mro__:
            slots = vars(base).get("__slots__", ())
            for name in (slots,) if isinstance(slots, str) else slots:
                if name not in ("__dict__", "__weakref__") and hasattr(value, name):
                    held.setdefault(name, getattr(value, name))
        root = str(kind.__module__).partition(".")[0]
        if root in LIBRARIES - {"torch", "hauberk"} and kind is not SimpleNamespace:
            if inner := getattr(value, "__wrapped__", None):
                self.take(inner)
            self.note(_printed(value))
            return
        if not held or isinstance(value, int | float | complex | str | bytes):
            self.note(_printed(value))  # such as a dtype or a device
        notes = NOTES if any(b.__module__.startswith("hauberk.") for b in kind.__mro__) else ()
        for name, inner in sorted(held.items()):
            if name not in notes and not _is_cached(kind, name):
                self.note(name)
                self.take(inner)

    def function(self, value: FunctionType) -> None:
        self.note("function", _origin(value), value.__qualname__)
        for held in (value.__defaults__, value.__kwdefaults__):
            self.take(held)
        for cell in value.__closure__ or ():
            try:
                self.take(cell.cell_contents)
            except ValueError:
                self.note("empty")
        for name, held in sorted(vars(value).items()):
            self.note(name)
            self.take(held)
        if is_own(value):
            self.code(value.__code__)
            for name, held in _used(value):
                self.note(name)
                self.take(held)

    def code(self, value: CodeType) -> None:
        """What is executed; comments, layout and line numbers are no part of it."""
        self.note("code", value.co_code, value.co_names, value.co_varnames[: value.co_argcount])
        self.note(value.co_argcount, value.co_kwonlyargcount, value.co_flags, value.co_freevars)
        for held in value.co_consts:
            self.take(held)

    def kind(self, value: type) -> None:
        self.note("class", _origin(value), value.__qualname__)
        if not is_own(value):
            return
        for base in value.__bases__:
            self.take(base)
        for name, held in sorted(vars(value).items()):
            if name in UNSEEN:
                continue
            self.note(name)
            if isinstance(held, staticmethod | classmethod):
                self.take(held.__func__)
            elif isinstance(held, property):
                self.take((held.fget, held.fset))
            elif isinstance(held, cached_property):
                self.take(held.func)
            elif inspect.isdatadescriptor(held) and not inspect.isfunction(held):
                continue  # slots
            else:
                self.take(held)


def _printed(value: Any) -> str:
    """What an object prints, unless that is where it lies in memory."""
    try:
        text = repr(value)
    except Exception:  # noqa: BLE001  # whatever a class of the user's raises
        return ""
    return "" if re.search(r" at 0x|<.*object", text) else text


def _used(function: FunctionType) -> Iterator[tuple[str, Any]]:
    """What a function takes from its module by name, and from own modules by their names."""
    names: set[str] = set()
    codes = [function.__code__]
    while codes:
        code = codes.pop()
        names.update(code.co_names)
        codes += [held for held in code.co_consts if isinstance(held, CodeType)]
    for name in sorted(names & set(function.__globals__)):
        held = function.__globals__[name]
        yield name, held
        if isinstance(held, ModuleType) and is_own(held):
            for inner in sorted(names & set(vars(held))):
                if not inner.startswith("__"):
                    yield f"{name}.{inner}", vars(held)[inner]
