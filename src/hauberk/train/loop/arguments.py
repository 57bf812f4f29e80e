"""Refusals of arguments of the wrong kind, before anything is done with them."""

import os
from collections.abc import Sequence
from typing import Any

from hauberk.errors import InputError


def shown(value: object) -> str:
    """A value in one short line."""
    text = " ".join(repr(value).split())
    return text if len(text) <= 40 else f"a {type(value).__name__}"


def require_number(name: str, value: Any, whole: bool = False) -> None:
    """`InputError` unless it is a Python number, or a whole one."""
    if isinstance(value, bool) or not isinstance(value, int if whole else int | float):
        wanted = "a whole number (int)" if whole else "a number (int or float)"
        raise InputError(f"{name} is {shown(value)}: give {wanted}")


def require_callable(name: str, value: Any) -> None:
    """`InputError` unless it can be called, or is None."""
    if value is not None and not callable(value):
        raise InputError(f"{name} is a {type(value).__name__}: give a function, or leave it out")


def require_path(name: str, value: Any) -> None:
    """`InputError` unless it is a path, or None."""
    if value is not None and not isinstance(value, str | os.PathLike):
        raise InputError(f"{name} is a {type(value).__name__}: give the path of a folder")


def require_whole(name: str, value: Any) -> None:
    """`InputError` unless it is a whole number of 1 or more, or None."""
    if value is not None and (type(value) is not int or value < 1):
        raise InputError(f"{name} is {value!r}: give a whole number of 1 or more")


def require_among(name: str, value: Any, choices: Sequence[str]) -> None:
    """`InputError` unless it is one of the choices."""
    if value not in choices:
        raise InputError(f"unknown {name} {value!r}: choose {', '.join(choices)}")
