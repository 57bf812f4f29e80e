"""Objects named as "pkg.module:attr" or "path/to/file.py:attr", and errors in one line."""

import difflib
import importlib
import importlib.util
import inspect
import os
import sys
import traceback
from collections.abc import Callable, Mapping
from functools import reduce
from pathlib import Path
from types import ModuleType
from typing import Any

from hauberk.errors import InputError


def import_object(spec: str, what: str, known: str = "") -> object:
    """The object that a text names.

    The current directory is importable, as it is under ``python -m``, and so is the folder of a
    file; both stay so, for imports that the code makes later.

    Args:
        spec: ``pkg.module:attr`` or ``path/to/file.py:attr``; the attribute may have dots.
        what: what the object is for error messages, such as ``model``.
        known: what else could have been written, for error messages.

    Raises:
        InputError: if the module or the attribute is missing, or if importing fails.

    Example:
        >>> import_object("math:floor", "function")
        <built-in function floor>
    """
    target, _, attribute = spec.rpartition(":")
    if not target or not attribute:
        hint = known or "pkg.module:attr or path/to/file.py:attr"
        raise InputError(f"{what} {spec!r} names nothing: give {hint}")
    _make_importable(Path.cwd())
    importlib.invalidate_caches()
    try:
        module = _import(target, f"{what} {spec!r}", known)
    except InputError:
        raise
    except (Exception, SystemExit) as error:
        raise InputError(
            f"{what} {spec!r}: importing {target} failed: {one_line(error, place=True)}"
        ) from error
    try:
        return reduce(getattr, attribute.split("."), module)
    except AttributeError as error:
        names = [name for name in vars(module) if not name.startswith("_")]
        close = difflib.get_close_matches(attribute, names, n=3)
        hint = f"did you mean {' or '.join(close)}?" if close else "name one of its attributes"
        raise InputError(f"{what} {spec!r}: {target} has no {attribute!r}: {hint}") from error


def call(factory: object, spec: str, what: str) -> object:
    """What a function without arguments returns.

    Args:
        factory: the function.
        spec: the text that named it, for error messages.
        what: what it returns for error messages, such as ``model``.

    Raises:
        InputError: if it cannot be called, needs arguments or fails.

    Example:
        >>> call(dict, "builtins:dict", "data")
        {}
    """
    hint = f"name a function without arguments that returns the {what}"
    if not callable(factory):
        kind = type(factory).__name__
        raise InputError(f"{what} {spec!r} is a {kind}, which cannot be called: {hint}")
    return called(factory, {}, f"{what} {spec!r}", hint)


def called(
    function: Callable[..., object], values: Mapping[str, Any], where: str, hint: str
) -> object:
    """What a user's function returns.

    Args:
        function: the function.
        values: its arguments.
        where: the start of error messages.
        hint: what to do if it does not take these arguments.

    Raises:
        InputError: if it does not take them, or fails.

    Example:
        >>> called(dict, {"steps": 3}, "strategy dict", "name another")
        {'steps': 3}
    """
    try:
        inspect.signature(function).bind(**values)
    except TypeError as error:
        given = f"with {', '.join(values)}" if values else "without arguments"
        raise InputError(f"{where} cannot be called {given} ({error}): {hint}") from error
    except ValueError:  # a builtin without a signature
        pass
    try:
        return function(**values)
    except InputError as error:
        raise InputError(f"{where}: {error}") from error
    except (Exception, SystemExit) as error:
        raise InputError(f"{where} failed: {one_line(error, place=True)}") from error


def one_line(error: BaseException, place: bool = False) -> str:
    """An error as one line of at most some 200 characters.

    Args:
        error: the error.
        place: add the file and line where it was raised.

    Example:
        >>> one_line(ValueError("two\\nlines"))
        'ValueError: two lines'
    """
    text = ": ".join(filter(None, (type(error).__name__, " ".join(str(error).split()))))
    text = text if len(text) <= 200 else text[:200] + "..."
    if place and (frames := traceback.extract_tb(error.__traceback__)):
        text += f" ({Path(frames[-1].filename).name}, line {frames[-1].lineno})"
    return text


def _import(target: str, subject: str, known: str) -> ModuleType:
    if target.endswith(".py"):
        return _import_file(Path(target).expanduser(), subject)
    hint = f"; known are {known}" if known else ": give pkg.module:attr or path/to/file.py:attr"
    if not all(part.isidentifier() for part in target.split(".")):
        raise InputError(f"{subject}: {target!r} is no module name{hint}")
    try:
        return importlib.import_module(target)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{target}.".startswith(f"{error.name}."):
            raise
        raise InputError(
            f"{subject}: no module named {error.name!r} here or among the installed{hint}"
        ) from error


def _import_file(path: Path, subject: str) -> ModuleType:
    if not path.is_file():
        raise InputError(f"{subject}: the file {path} does not exist")
    _make_importable(path.resolve().parent)
    # Not the bare stem: a file named torch.py must not replace torch.
    name = f"hauberk_file_{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise InputError(f"{subject}: {path} is no Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module


def _make_importable(folder: Path) -> None:
    if not any(os.path.abspath(entry) == str(folder) for entry in sys.path):
        sys.path.insert(0, str(folder))
