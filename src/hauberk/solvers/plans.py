"""What the composition does with a budget."""

from dataclasses import dataclass, replace
from math import inf

from hauberk.attacks.apgd import APGD
from hauberk.errors import InputError
from hauberk.solvers.base import MinNormSolver
from hauberk.solvers.bisection import Bisection
from hauberk.solvers.fab import FAB
from hauberk.solvers.fmn import FMN
from hauberk.solvers.level_set import LevelSetFMN
from hauberk.solvers.line_search import LineSearch
from hauberk.solvers.pdpgd import PDPGD
from hauberk.solvers.sigma_zero import SigmaZero
from hauberk.threats.base import Threat, Trait
from hauberk.threats.metric import Metric

SOFTEN = 0.1
"""Usual width of softened gradients."""
HALVINGS = 8
LEAST = 60
"""Passes below which there is nothing to compose."""


@dataclass(frozen=True)
class Phase:
    """One solver in a plan.

    Attributes:
        aims: so many target classes, those of the nearest points so far; 0 leaves it to the solver.
        start: ``clean``; ``best``, the nearest point so far; or ``near``, a random point within
            ``radius`` times its distance.
        lost: whether only examples are searched for which nothing was found yet.
        metric: another distance to search in; points count with their distance in the asked one.
        either: whether gradients are softened where softened ones have found the nearer points.
    """

    solver: MinNormSolver
    aims: int = 0
    start: str = "clean"
    radius: float = 0.5
    either: bool = False
    lost: bool = False
    metric: Threat | None = None


Share = tuple[float, Phase]
"""A share of the budget, and what it is spent on; steps are set from the share."""


def plan(budget: int, classes: int, threat: Threat, soften: float = SOFTEN) -> list[Phase]:
    """The phases for so many passes per example, the clean one included.

    Raises:
        InputError: for a budget too small for any composition.

    Example:
        >>> [type(phase.solver).__name__ for phase in plan(100, classes=10, threat=Metric(2))]
        ['PDPGD', 'FMN', 'LineSearch']
    """
    if budget < LEAST:
        raise InputError(f"a budget of {budget} passes is too small: 'best' needs {LEAST}")
    end = Phase(LineSearch(steps=HALVINGS), start="best")
    room = budget - 2 - end.solver.passes  # the clean pass, and one that clears of rounding
    if not isinstance(threat, Metric):
        shares = _general(budget, classes)
    elif Trait.DISCRETE in threat.traits:
        shares = _sparse(budget, classes)
    else:
        shares = _balls(budget, classes, Trait.SPARSE in threat.traits)
    phases = [_sized(phase, int(share * room)) for share, phase in shares]
    return [_softened(phase, soften) for phase in phases if phase is not None] + [end]


def _balls(budget: int, classes: int, sparse: bool) -> list[Share]:
    """Norms: softened gradients first, every class's boundary, then the nearest few."""
    bisection = Phase(Bisection(attack=APGD(steps=10), soften=SOFTEN))
    few, every = min(3, classes - 1), min(9, classes - 1)
    walk = FMN(targets=few, alpha=0.3)
    last = Phase(replace(walk, targets=1), aims=1, start="best", either=True)
    if budget < 200:
        return [(0.70, Phase(PDPGD())), (0.30, last)]
    if budget < 600:
        aims = min(4, classes - 1)
        if sparse:  # these need long walks
            scouts = [(0.58, Phase(PDPGD(targets=aims)))]
        else:
            scouts = [(0.33, Phase(PDPGD(targets=aims, soften=soft))) for soft in (0, SOFTEN)]
        return [(0.16, bisection), *scouts, (0.25 if sparse else 0.17, last)]
    near = Phase(FAB(targets=few), aims=few, start="near", either=True)
    return [
        (0.08, bisection),
        (0.14, Phase(PDPGD(targets=every))),
        (0.12, Phase(PDPGD(targets=every, soften=SOFTEN))),
        (0.23, Phase(walk, aims=few, start="best", either=True)),
        (0.08, near),
        (0.08, replace(near, radius=1.0)),
        (0.08, replace(near, solver=PDPGD(targets=few))),
        (0.10, replace(last, solver=replace(walk, targets=1, alpha=0.1))),
        (0.08, Phase(FAB(targets=few, alpha=1.0, eta=1.005, beta=1.0), aims=few, start="best")),
    ]


def _sparse(budget: int, classes: int) -> list[Share]:
    """l0, where softened gradients find fewer features on most models, masked or not."""
    few, every = min(3, classes - 1), min(9, classes - 1)
    walk = Phase(FMN(targets=1, alpha=0.3), aims=1, start="best", either=True)
    # Where no few features were found, some change of all of them, to be thinned out.
    bisection = Bisection(attack=APGD(steps=10), soften=SOFTEN)
    rescue = Phase(bisection, lost=True, metric=Metric(inf))
    if budget < 200:
        return [(0.70, Phase(SigmaZero(soften=SOFTEN))), (0.30, walk)]
    if budget < 600:
        pair = min(2, classes - 1)
        return [
            (0.60, Phase(SigmaZero(targets=pair, soften=SOFTEN))),
            (0.16, rescue),
            (0.24, walk),
        ]
    return [
        (0.55, Phase(SigmaZero(targets=every, soften=SOFTEN))),
        (0.25, Phase(SigmaZero(targets=few), aims=few)),
        (0.05, rescue),
        (0.10, walk),
    ]


def _general(budget: int, classes: int) -> list[Share]:
    """Any differentiable distance; which classes are near is looked for in l2."""
    few = min(2 if budget >= 600 else 1, classes - 1)
    every = min(9 if budget >= 600 else 4, classes - 1)
    if budget < 200:
        return [(1.0, Phase(LevelSetFMN()))]
    last = LevelSetFMN(targets=1, alpha=0.5)
    return [
        (0.13, Phase(FAB(targets=every), metric=Metric(2))),
        (0.05, Phase(Bisection(attack=APGD(steps=10), soften=SOFTEN), metric=Metric(2))),
        (0.55, Phase(LevelSetFMN(targets=few), aims=few, either=True)),
        (0.27, Phase(last, aims=1, start="best", either=True)),
    ]


def _softened(phase: Phase, soften: float) -> Phase:
    """The phase, with another width where it softens gradients."""
    if not phase.solver.soften:
        return phase
    return replace(phase, solver=replace(phase.solver, soften=soften))


def _sized(phase: Phase, passes: int) -> Phase | None:
    """The phase with as many steps as the passes allow; None if they allow none worth it."""
    solver = phase.solver
    each = passes // max(1, solver.targets)
    if isinstance(solver, Bisection):
        levels = (each - 2) // solver.attack.passes
        return replace(phase, solver=replace(solver, levels=levels)) if levels >= 2 else None
    steps = (each - 1) // 2 - (solver.passes - 2 * solver.steps - 1)
    return replace(phase, solver=replace(solver, steps=steps)) if steps >= 4 else None
