"""The searches of the floor: what a budget several times that of a suite is spent on."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from hauberk.attacks import APGD, LPA, MixturePGD, Pointwise, RandomSearch, Square
from hauberk.engine.method import Kind, Method
from hauberk.evaluation.accuracy.suites import Stage
from hauberk.threats.base import Threat

TIMES = 10
"""The floor's budget, in units of what the suite spent on a standing point."""
LEAST = 500
"""Passes under a threat that the floor spends at least: fewer hardly try a point."""


@dataclass(frozen=True, kw_only=True)
class Search:
    """One search of the floor, and how it grows with the passes that it may spend.

    Args:
        stage: the attack, whose steps, targets and restarts follow from the passes, and the
            threats that it is for.
        share: of the passes under a threat, relative to the other searches that fit it.
        steps: fewest and most steps of an attempt.
        starts: attempts for each target that are wanted before steps grow beyond the fewest.

    Example:
        >>> search = Search(stage=Stage(attack=APGD(targets=9)), steps=(30, 100), starts=2)
        >>> attack = search.sized(1080, classes=10)
        >>> attack.targets, attack.steps, attack.restarts
        (9, 30, 2)
    """

    stage: Stage
    share: float = 1.0
    steps: tuple[int, int] = (30, 100)
    starts: int = 3

    def sized(self, passes: float, classes: int) -> Method:
        """The attack that spends about so many passes on a point; at least one short attempt."""
        attack: Any = self.stage.attack
        if isinstance(attack, RandomSearch):
            return replace(attack, samples=max(1, round(passes)))
        low, high = self.steps
        each, aims = attack.passes / attack.steps, 1
        if attack.targets:
            aims = min(attack.targets, classes - 1, max(2, int(passes / (each * low))))
            attack = replace(attack, targets=aims)
        steps = min(max(int(passes / (each * aims * self.starts)), low), high)
        attack = replace(attack, steps=steps, restarts=1)
        once = attack.passes * attack.attempts(classes)
        made: Method = replace(attack, restarts=max(1, round(passes / once)))
        return made


def _only(attack: Method, *threats: str, **how: Any) -> Search:
    return Search(stage=Stage(attack=attack, threats=threats), **how)


SEARCHES: dict[str, Search] = {
    # Each class in turn, from balls far larger than the threat where it is sparse.
    "floor-targets": _only(APGD(targets=9, enlarge=(6, 3, 1)), share=3, starts=2),
    "floor-ce": _only(APGD(loss="ce", enlarge=(10, 4, 2, 1)), share=2, steps=(40, 100)),
    "floor-soft": _only(APGD(soften=0.1, targets=3, enlarge=(6, 3, 1)), share=2, starts=2),
    "floor-softer": _only(APGD(loss="ce", soften=0.3), steps=(40, 60)),
    "floor-dlr": _only(
        APGD(loss="dlr", targets=9, enlarge=(6, 3, 1)), share=2, steps=(40, 100), starts=1
    ),
    "floor-mixture": _only(MixturePGD(), "affine", share=2),
    "floor-measured": _only(LPA(), "measured", share=2, starts=2),
    "floor-square": _only(Square(), "ball", steps=(50, 5000), starts=1),
    "floor-pointwise": _only(Pointwise(), "l0", "l1", steps=(20, 100), starts=2),
    "floor-random": _only(RandomSearch(), "enumerable"),
}
"""By name, in the order in which they are run."""


def fitting(
    threat: Threat, fits: Callable[[Method], bool], gradients: bool = True
) -> dict[str, Search]:
    """The searches for a threat, by name.

    Args:
        fits: whether an attack can be run on such examples.
        gradients: whether the model has any of its own; softened ones see through what hides them.

    Example:
        >>> from hauberk import Linf
        >>> list(fitting(Linf(0.1), lambda attack: True, gradients=False))
        ['floor-soft', 'floor-softer', 'floor-square']
    """

    def sees(attack: Any) -> bool:
        return gradients or attack.kind is Kind.FREE or attack.soften > 0

    return {
        name: search
        for name, search in SEARCHES.items()
        if search.stage.fits(threat) and sees(search.stage.attack) and fits(search.stage.attack)
    }


def sized(
    rows: Mapping[str, Search], threat: Threat, passes: float, classes: int
) -> dict[str, Method]:
    """The attacks of searches that are to spend about ``passes`` on a point together.

    A search is left out whose shortest attempt takes more than twice its share.

    Example:
        >>> from hauberk import Linf
        >>> made = sized({"one": SEARCHES["floor-square"]}, Linf(0.1), 2000, 10)
        >>> made["one"].steps
        1998
    """
    while True:
        each = passes / threat.variants / sum(search.share for search in rows.values())
        made = {name: row.sized(each * row.share, classes) for name, row in rows.items()}
        spent = {
            n: a.passes * a.attempts(classes) / (each * rows[n].share) for n, a in made.items()
        }
        longest = max(spent, key=lambda name: spent[name])
        if spent[longest] <= 2 or len(rows) == 1:
            return made
        rows = {name: row for name, row in rows.items() if name != longest}
