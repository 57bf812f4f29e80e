"""The least distance at which a model is fooled, example by example.

The package is also a function: ``hauberk.radius(model, x, y, "l2")`` calls
:func:`hauberk.evaluation.radii.radius`, which measures, judges and keeps the results.
"""

import sys
from dataclasses import replace
from importlib import import_module
from inspect import Signature, signature
from types import ModuleType
from typing import TYPE_CHECKING, Any

from hauberk.errors import InputError

if TYPE_CHECKING:
    from hauberk.radius.base import Solver
    from hauberk.threats.base import Threat

_CLASSES = {
    "best": "Best", "fmn": "FMN", "ddn": "DDN", "fab": "FAB", "bisection": "Bisection",
    "deepfool": "DeepFool", "cw": "CW", "ead": "EAD", "pdpgd": "PDPGD",
    "sigma_zero": "SigmaZero", "anpgd": "ANPGD", "general": "General", "pwcf": "PWCF",
}  # fmt: skip

SOLVERS = tuple(_CLASSES)
"""Names of the solvers that a run can be asked for, which are those of their modules."""

__all__ = ["SOLVERS", "serving", "solver_class", "solver_for"]


def solver_for(
    solver: "str | Solver",
    metric: "Threat",
    budget: int,
    classes: int,
    soften: float | None = None,
) -> "Solver":
    """A solver that serves the metric: a name with steps for the budget, an instance as it is.

    Args:
        solver: a name of :data:`SOLVERS`, or a solver.
        budget: passes per example, forwards and backwards together; only names heed it.
        soften: width of softened gradients; None leaves it to the solver.

    Raises:
        InputError: for an unknown name, a metric that the solver does not serve, or a budget that
            is too small for it.
    """
    from hauberk.radius.base import Solver

    if not isinstance(solver, str | Solver):
        raise InputError(
            f"the solver is a {type(solver).__name__}: give a name ({', '.join(SOLVERS)}) or a "
            "solver such as hauberk.radius.fmn.FMN(steps=100)"
        )
    made = solver_class(solver)() if isinstance(solver, str) else solver
    try:
        made.serve(metric)
    except InputError as error:
        others = ", ".join(serving(metric)) or "none"
        raise InputError(f"{error}; solvers for {metric}: {others}") from error
    if isinstance(solver, str):
        made = made.within(budget, classes)
    return made if soften is None else replace(made, soften=soften)


def solver_class(name: str) -> "type[Solver]":
    """The class that a name of :data:`SOLVERS` stands for.

    Raises:
        InputError: for any other name.
    """
    if name not in SOLVERS:
        raise InputError(f"unknown solver '{name}': choose one of {', '.join(SOLVERS)}")
    found: type[Solver] = getattr(import_module(f"hauberk.radius.{name}"), _CLASSES[name])
    return found


def serving(metric: "Threat") -> list[str]:
    """Names of the solvers that can measure in this metric."""
    names = []
    for name in SOLVERS:
        try:
            solver_class(name)().serve(metric)
        except InputError:
            continue
        names.append(name)
    return names


def __getattr__(name: str) -> Any:
    """The solvers' classes, each loaded when it is first used."""
    for module, known in {**_CLASSES, "refine": "Refine", "base": "Solver"}.items():
        if known == name:
            return getattr(import_module(f"hauberk.radius.{module}"), name)
    if name == "exact":
        return import_module("hauberk.radius.exact")
    raise AttributeError(f"module 'hauberk.radius' has no attribute '{name}'")


class _Callable(ModuleType):
    """A package that can be called."""

    # The one import that goes up: what is called here is the evaluation of radii.

    def __call__(self, *args: Any, **options: Any) -> Any:
        from hauberk.evaluation.radii import radius

        return radius(*args, **options)

    @property
    def __signature__(self) -> Signature:
        from hauberk.evaluation.radii import radius

        return signature(radius)


sys.modules[__name__].__class__ = _Callable
