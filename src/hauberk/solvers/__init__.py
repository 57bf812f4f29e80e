"""The least distance at which a model is fooled (problem 2), one file per method."""

from importlib import import_module
from typing import Any

from hauberk.solvers.registry import CLASSES, SOLVERS, serving, solver_class, solver_for

__all__ = ["SOLVERS", "serving", "solver_class", "solver_for"]

_PLACES = {place.partition(".")[2]: place.partition(".")[0] for place in CLASSES.values()}


def __getattr__(name: str) -> Any:
    """The solvers' classes, each loaded when it is first used."""
    more = {"EpsSearch": "eps_search", "LineSearch": "line_search", "Solver": "base"}
    module = {**_PLACES, **more}.get(name)
    if module is None:
        raise AttributeError(f"module 'hauberk.solvers' has no attribute '{name}'")
    return getattr(import_module(f"hauberk.solvers.{module}"), name)
