"""Dataclasses made of mappings, such as YAML gives: every value is checked by its type hint."""

import difflib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import MISSING, Field, dataclass, fields
from inspect import isclass
from math import isnan
from types import NoneType, UnionType
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from hauberk.errors import InputError
from hauberk.spec.imports import one_line
from hauberk.spec.numbers import as_number

T = TypeVar("T")


@dataclass(frozen=True)
class Reader:
    """How a mapping becomes an object of a class.

    Args:
        read: a function of (start of error messages, mapping) that returns the object.
        one: how to write one, for error messages: ``an attack, such as {attack: PGD}``.
        several: how to write a mapping of several.
    """

    read: Callable[[str, Mapping[str, object]], object]
    one: str
    several: str = "a mapping"


Readers = Mapping[type, Reader]
"""The reader of each class that may be written as a mapping."""


def build(
    kind: type[T], given: Mapping[str, object], where: str, *, readers: Readers | None = None
) -> T:
    """An instance of a dataclass, from values by field name.

    Numbers may be written as text (``8/255``), tuples as lists, and a nested object of a class in
    ``readers`` as a mapping. An object that is of the type already is taken as it is.

    Args:
        kind: the dataclass.
        given: values of its fields; those left out keep their defaults.
        where: the start of every error message, such as ``suite own.yaml, first``.
        readers: by class, how a mapping becomes an instance of it.

    Raises:
        InputError: for an unknown field, a missing one, a value of another type, and whatever the
            dataclass itself refuses; one line that says what to write.

    Example:
        >>> from dataclasses import dataclass
        >>> @dataclass(frozen=True)
        ... class Row:
        ...     steps: int
        ...     sizes: tuple[float, ...] = (1.0,)
        >>> build(Row, {"steps": "40", "sizes": [0.5, "8/255"]}, "row 1").steps
        40
        >>> build(Row, {"step": 40}, "row 1")
        Traceback (most recent call last):
        hauberk.errors.InputError: row 1: Row has no field 'step': it has steps, sizes; did you \
mean steps?
    """
    own = {field.name: field for field in fields(kind) if field.init}  # type: ignore[arg-type]
    require_known(f"{where}: {kind.__name__}", given, own, noun="field")
    for name, field in own.items():
        if name not in given and field.default is MISSING and field.default_factory is MISSING:
            raise InputError(f"{where}: {kind.__name__} needs {name}: give it")
    hints = get_type_hints(kind)
    values = {
        name: _checked(where, name, value, _hint(own[name], hints[name]), readers or {})
        for name, value in given.items()
    }
    try:
        return kind(**values)
    except (InputError, TypeError, ValueError) as error:
        raise InputError(f"{where}: {error}") from error
    except Exception as error:
        raise InputError(f"{where} failed: {one_line(error, place=True)}") from error


def require_known(
    what: str, given: Iterable[str], known: Iterable[str], noun: str = "setting"
) -> None:
    """Refuse names that are not among the known ones.

    Args:
        what: what has these settings; the start of the message.
        given: the names to look at.
        known: the names that there are, in the order in which the message lists them.
        noun: what the message calls one of them.

    Raises:
        InputError: naming the first unknown one, all known ones, and the one most like it.

    Example:
        >>> require_known("PGD", ["steps"], ["loss", "steps"])
    """
    known = list(known)
    for name in given:
        if name not in known:
            raise InputError(
                f"{what} has no {noun} '{name}': it has {', '.join(known) or 'none'}"
                + did_you_mean(name, known)
            )


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """The end of an error message: the known names most like a wrong one, or nothing.

    Example:
        >>> did_you_mean("evalute", ["evaluate", "verify"])
        '; did you mean evaluate?'
        >>> did_you_mean("x", ["evaluate", "verify"])
        ''
    """
    close = difflib.get_close_matches(name, list(known), n=2)
    return f"; did you mean {' or '.join(close)}?" if close else ""


class _UnfitError(Exception):
    """A value that is not of the type."""


def _hint(field: Field[Any], hint: object) -> object:
    """The field's type; that of its default where the type allows everything."""
    if hint in (Any, object) and field.default not in (MISSING, None):
        return type(field.default)
    return hint


def _checked(where: str, name: str, value: object, hint: object, readers: Readers) -> object:
    try:
        return _converted(f"{where}: {name}", value, hint, readers)
    except _UnfitError:
        raise InputError(f"{where}: {name} is {value!r}: give {_wanted(hint, readers)}") from None


def _converted(where: str, value: object, hint: object, readers: Readers) -> object:
    """The value as the type has it."""
    origin, parts = get_origin(hint), get_args(hint)
    if origin in (Union, UnionType):
        for part in parts:
            try:
                return _converted(where, value, part, readers)
            except _UnfitError:
                continue
        raise _UnfitError
    if hint in readers and isinstance(value, Mapping):
        words = {str(word): each for word, each in value.items()}
        return readers[hint].read(where, words)  # type: ignore[index]
    if hint in (int, float):
        return _number(value, hint)
    if origin in (Sequence, tuple, list):
        return _sequence(where, value, origin, parts, readers)
    if origin is Mapping:
        if not isinstance(value, Mapping):
            raise _UnfitError
        return {
            str(word): _converted(f"{where} {word}", each, parts[1], readers)
            for word, each in value.items()
        }
    fits = value in parts if origin is Literal else not isclass(hint) or isinstance(value, hint)
    if not fits:
        raise _UnfitError
    return value


def _number(value: object, hint: object) -> object:
    value = as_number(value)
    allowed = int if hint is int else int | float
    if not isinstance(value, allowed) or isinstance(value, bool) or isnan(value):
        raise _UnfitError
    return value


def _sequence(
    where: str, value: object, origin: object, parts: tuple[object, ...], readers: Readers
) -> tuple[object, ...]:
    """Lists become tuples; a tuple of given length needs that many."""
    if not isinstance(value, list | tuple):
        raise _UnfitError
    alike = origin is not tuple or ... in parts
    each = parts[:1] * len(value) if alike else parts
    if len(each) != len(value):
        raise _UnfitError
    pairs = zip(value, each, strict=True)
    return tuple(_converted(where, one, hint, readers) for one, hint in pairs)


def _wanted(hint: object, readers: Readers) -> str:
    """What to write for a type, in words."""
    origin, parts = get_origin(hint), get_args(hint)
    if origin in (Union, UnionType):
        return " or ".join(_wanted(part, readers) for part in parts if part is not NoneType)
    if origin is Literal:
        return " or ".join(map(str, parts))
    if origin is Mapping:
        return readers[parts[1]].several if parts[1] in readers else "a mapping"
    if origin in (Sequence, tuple, list):
        return "a list, such as [1, 2]"
    known: dict[object, str] = {
        bool: "true or false", int: "a whole number", float: "a number, such as 0.5 or 8/255",
        str: "text",
    }  # fmt: skip
    known |= {kind: reader.one for kind, reader in readers.items()}
    return known.get(hint, getattr(hint, "__name__", str(hint)))
