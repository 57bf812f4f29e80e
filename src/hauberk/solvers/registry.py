"""The solvers by name, and which of them serves a metric."""

from dataclasses import replace
from importlib import import_module

from hauberk.errors import InputError
from hauberk.solvers.base import Solver
from hauberk.spec.build import did_you_mean
from hauberk.threats.base import Threat

CLASSES = {
    "best": "portfolio.Portfolio", "fmn": "fmn.FMN", "ddn": "ddn.DDN", "fab": "fab.FAB",
    "bisection": "bisection.Bisection", "deepfool": "deepfool.DeepFool",
    "super_deepfool": "super_deepfool.SuperDeepFool", "cw": "cw.CW",
    "ead": "ead.EAD", "pdpgd": "pdpgd.PDPGD", "sigma_zero": "sigma_zero.SigmaZero",
    "swap_search": "swap_search.SwapSearch", "anpgd": "anpgd.ANPGD",
    "general": "level_set.LevelSetFMN", "pwcf": "pwcf.PWCFRadius",
}  # fmt: skip
"""Module and class of each solver, by the name that a run asks for it."""

SOLVERS = tuple(CLASSES)
"""Names of the solvers that a run can be asked for."""


def solver_for(
    solver: str | Solver,
    metric: Threat,
    budget: int,
    classes: int,
    soften: float | None = None,
) -> Solver:
    """A solver that serves the metric: a name with steps for the budget, an instance as it is.

    Args:
        solver: a name of :data:`SOLVERS`, or a solver.
        budget: passes per example, forwards and backwards together, for a solver given by name.
        soften: width of softened gradients; None leaves it to the solver.

    Raises:
        InputError: for an unknown name, a metric that the solver does not serve, or a budget that
            is too small for it.

    Example:
        >>> from hauberk.threats.metric import Metric
        >>> solver_for("fmn", Metric(2), budget=201, classes=10).steps
        100
    """
    if not isinstance(solver, str | Solver):
        raise InputError(
            f"the solver is a {type(solver).__name__}: give a name ({', '.join(SOLVERS)}) or a "
            "solver such as hauberk.solvers.fmn.FMN(steps=100)"
        )
    made = solver_class(solver)() if isinstance(solver, str) else solver
    try:
        made.serve(metric)
    except InputError as error:
        others = ", ".join(serving(metric)) or "none"
        own = type(made).__name__
        text = str(error).replace(own, f"{solver} ({own})", 1) if solver is not made else str(error)
        raise InputError(f"{text}; solvers for {metric}: {others}") from error
    if isinstance(solver, str):
        made = made.within(budget, classes)
    return made if soften is None else replace(made, soften=soften)


def solver_class(name: str) -> type[Solver]:
    """The class that a name of :data:`SOLVERS` stands for.

    Raises:
        InputError: for any other name.

    Example:
        >>> solver_class("fmn").__name__
        'FMN'
    """
    if name not in SOLVERS:
        raise InputError(
            f"unknown solver '{name}': choose one of {', '.join(SOLVERS)}"
            f"{did_you_mean(name, SOLVERS)}"
        )
    module, _, cls = CLASSES[name].partition(".")
    found: type[Solver] = getattr(import_module(f"hauberk.solvers.{module}"), cls)
    return found


def serving(metric: Threat) -> list[str]:
    """Names of the solvers that can measure in this metric.

    Example:
        >>> from hauberk.threats.metric import Metric
        >>> serving(Metric(0))
        ['best', 'fmn', 'fab', 'bisection', 'deepfool', 'pdpgd', 'sigma_zero', 'swap_search']
    """
    names = []
    for name in SOLVERS:
        try:
            solver_class(name)().serve(metric)
        except InputError:
            continue
        names.append(name)
    return names
