"""Refusals of arguments of the wrong kind, before anything is done with them."""

import os
from typing import Any

from hauberk.errors import InputError
from hauberk.threats.base import Threat
from hauberk.train.strategies.base import Strategy


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


def require_words(out: Any, every_minutes: Any) -> None:
    """`InputError` unless the folder is a path, or None, and the interval a number."""
    if out is not None and not isinstance(out, str | os.PathLike):
        raise InputError(f"out is a {type(out).__name__}: give the path of a folder")
    require_number("every_minutes", every_minutes)


def require_strategy(strategy: Any) -> None:
    """`InputError` unless it is a strategy, with what to write instead."""
    if isinstance(strategy, Strategy):
        return
    if isinstance(strategy, type):
        said, instead = f"the class {strategy.__name__}", f"make one, {strategy.__name__}(...)"
    elif isinstance(strategy, Threat):
        said, instead = f"the threat {strategy}", "say how to train on it, e.g. Single(threat)"
    else:
        said, instead = shown(strategy), "make one, e.g. hauberk.train.Single(hb.Linf(0.1))"
    raise InputError(f"the strategy is {said}: {instead}")
