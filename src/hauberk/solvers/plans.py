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
from hauberk.solvers.super_deepfool import SuperDeepFool
from hauberk.solvers.swap_search import SwapSearch
from hauberk.threats.base import Threat, Trait
from hauberk.threats.metric import Metric

SOFTEN = 0.1
"""Usual width of softened gradients."""
WIDE, WIDEST = 0.3, 0.5
"""Those of the first searches, which look farther."""
HALVINGS = 8
LEAST = 60
"""Passes below which there is nothing to compose."""


@dataclass(frozen=True)
class Phase:
    """One solver in a plan.

    Attributes:
        aims: so many target classes, those of the nearest points so far; 0 leaves it to the solver.
        start: ``clean``; ``best``, the nearest point so far; ``any``, that, or where there is none
            the clean input; ``last``, the nearest that the phase before found; or ``near``, a
            random point within ``radius`` times the nearest distance.
        lost: whether only examples are searched for which nothing was found yet.
        metric: another distance to search in; points count with their distance in the asked one.
        either: width that gradients are softened with where softened ones have found the nearer
            points; 0 for never.
    """

    solver: MinNormSolver
    aims: int = 0
    start: str = "clean"
    radius: float = 0.5
    either: float = 0.0
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
        shares = _balls(budget, classes, threat.p)
    phases = [_sized(phase, int(share * room)) for share, phase in shares]
    return [_softened(phase, soften) for phase in phases if phase is not None] + [end]


def _balls(budget: int, classes: int, norm: float) -> list[Share]:
    """Norms: chains of softened searches, less and less so; every class's boundary; the nearest."""
    if budget < 200:
        walk = FMN(targets=1, alpha=0.3)
        return [(0.70, Phase(PDPGD())), (0.30, Phase(walk, aims=1, start="best", either=SOFTEN))]
    first = FMN(alpha=1.0, gamma=0.1, steepest=norm == inf)
    then = replace(first, alpha=0.5, gamma=0.05)
    last = Phase(replace(then, alpha=0.3), start="best")
    few, every = min(3, classes - 1), min(9, classes - 1)
    some = few if budget < 500 else min(6, classes - 1)
    scout = SuperDeepFool if norm == 2 else PDPGD if norm in PDPGD.norms else FAB

    def softened(solver: FMN, soften: float, start: str = "last") -> Phase:
        return Phase(replace(solver, soften=soften), start=start)

    if budget < 1000:
        walks = [(0.38, Phase(then, start="best"))]
        if budget >= 500:
            towards = Phase(replace(then, targets=few), few, "best")
            walks = [(0.20, towards), (0.18, Phase(then, start="best"))]
        return [
            (0.20, softened(first, WIDEST, "clean")),
            (0.20, softened(then, WIDE)),
            (0.20, Phase(scout(targets=some), aims=some)),
            *walks,
        ]
    bisection = Phase(Bisection(attack=APGD(steps=10), soften=0.4))
    return [
        *((0.05, softened(first, WIDEST, "clean")), (0.05, softened(then, WIDE))),
        (0.05, Phase(then, start="last")),
        (0.05, softened(first, WIDE, "clean")),
        # In l1 the time is better spent on walks towards classes.
        *([] if norm == 1 else [(0.05, softened(then, SOFTEN))]),
        (0.05, Phase(then, start="last")),
        *((0.08, bisection), (0.06, Phase(then, start="last"))),
        *((0.05, softened(first, 0.2, "clean")), (0.05, Phase(then, start="last"))),
        (0.10, Phase(scout(targets=every), aims=every)),
        (0.19 if norm == 1 else 0.14, Phase(replace(last.solver, targets=few), few, "best")),
        (0.12, last),
        (0.09, Phase(FAB(targets=few, alpha=1.0, eta=1.005, beta=1.0), aims=few, start="best")),
    ]


def _sparse(budget: int, classes: int) -> list[Share]:
    """l0: sigma-zero from afar, then exchanges of features."""
    few, pair = min(3, classes - 1), min(2, classes - 1)
    if budget < 200:
        walk = Phase(SwapSearch(), start="any", either=WIDE)
        return [(0.60, Phase(SigmaZero(soften=SOFTEN, shift=0.1))), (0.39, walk)]
    far = Phase(SigmaZero(soften=WIDE, shift=0.05, tau=0.2))
    near = SigmaZero(shift=0.05, sigma=1e-2)
    swap = SwapSearch()
    if budget < 1000:
        return [
            (0.22, Phase(replace(swap, soften=0.4, tabu=25))),
            (0.32, Phase(replace(near, targets=pair), aims=pair)),
            (0.45, Phase(swap, start="any", either=WIDE)),
        ]
    # Where no few features were found, some change of all of them, to be thinned out.
    bisection = Bisection(attack=APGD(steps=10), soften=SOFTEN)
    return [
        *((0.05, far), (0.09, Phase(replace(swap, soften=WIDE), start="last"))),
        (0.08, Phase(replace(swap, soften=WIDEST, tabu=25))),
        (0.08, Phase(replace(swap, soften=0.2, tabu=25, share=0.8))),
        *((0.16, Phase(replace(near, targets=few), aims=few)), (0.09, Phase(swap, start="last"))),
        *((0.05, Phase(near)), (0.08, Phase(swap, start="last"))),
        (0.03, Phase(bisection, lost=True, metric=Metric(inf))),
        (0.14, Phase(replace(swap, targets=few), aims=few, start="best", either=WIDE)),
        (0.14, Phase(replace(swap, tabu=30), start="best", either=WIDE)),
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
        (0.55, Phase(LevelSetFMN(targets=few), aims=few, either=SOFTEN)),
        (0.27, Phase(last, aims=1, start="best", either=SOFTEN)),
    ]


def _softened(phase: Phase, soften: float) -> Phase:
    """The phase, with ``soften`` for the usual width where it softens gradients."""
    scale = soften / SOFTEN
    solver = replace(phase.solver, soften=phase.solver.soften * scale)
    return replace(phase, solver=solver, either=phase.either * scale)


def _sized(phase: Phase, passes: int) -> Phase | None:
    """The phase with as many steps as the passes allow; None if they allow none worth it."""
    solver = phase.solver
    each = passes // max(1, solver.targets)
    if isinstance(solver, Bisection):
        levels = (each - 2) // solver.attack.passes
        return replace(phase, solver=replace(solver, levels=levels)) if levels >= 2 else None
    steps = (each - 1) // 2 - (solver.passes - 2 * solver.steps - 1)
    return replace(phase, solver=replace(solver, steps=steps)) if steps >= 4 else None
