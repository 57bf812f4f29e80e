"""The attacks inside a training, where a strategy is not given its own."""

from hauberk.attacks import APGD, PGD, MultiSteepestDescent, RandomSearch
from hauberk.attacks.base import Attack
from hauberk.errors import InputError
from hauberk.threats.base import Threat, Trait


def usual_attack(threat: Threat, steps: int | None = None) -> Attack:
    """Projected gradient ascent on cross-entropy, as training takes it, for one threat.

    Without ``steps``, the settings of Maini et al. 2020, appendix C.2 (MNIST), relative to the
    radius: linf 50 steps of 1/30, l2 100 of 1/20, l1 50 of 1/12 that move a random number of 5 to
    20 coordinates each (multi steepest descent on one ball); 40 steps elsewhere. With ``steps``, so
    many of 2.5 / steps, in l1 of 5 / steps. Warps and finite sets: always the worst of 10 random
    points (Tramèr & Boneh 2019).

    In l1 at eps 10, 10 steps on 100 MNIST test images leave a standard network an accuracy of 33%
    and an linf-trained one 91%; as many of Auto-PGD 47% and 82%, of sparse descent 65% and 98%.
    Small networks trained with them at eps 6 kept 76%, 76% and 71% (one seed each).

    Args:
        threat: One threat, not a union.
        steps: Gradient steps; the paper's number if left out.

    Raises:
        InputError: for a threat that is given only by its distance: name an attack.

    Example:
        >>> import hauberk as hb
        >>> attack = usual_attack(hb.Linf(0.1), steps=10)
        >>> type(attack).__name__, attack.steps
        ('PGD', 10)
    """
    if Trait.ENUMERABLE in threat.traits:
        return RandomSearch(loss="ce", samples=10)
    if threat.traits & {Trait.EVALUATED, Trait.DISTANCE, Trait.SEVERAL}:
        raise InputError(f"no attack is usual on {threat}: name one, e.g. FastLPA(loss='ce')")
    if Trait.SPARSE in threat.traits:
        step = min(1.0, 5 / steps) if steps else 1 / 12
        return MultiSteepestDescent(steps=steps or 50, step_l1=step)
    published = {"l2": PGD(steps=100, step_share=1 / 20), "linf": PGD(steps=50, step_share=1 / 30)}
    return PGD(steps=steps) if steps else published.get(threat.kind, PGD(steps=40))


def apgd_or_usual(threat: Threat, steps: int) -> Attack:
    """Auto-PGD on cross-entropy in balls of p > 1; elsewhere, l1 included, the usual attack.

    Example:
        >>> import hauberk as hb
        >>> [type(apgd_or_usual(t, 10)).__name__ for t in (hb.L2(1), hb.L1(5))]
        ['APGD', 'MultiSteepestDescent']
    """
    if Trait.BALL in threat.traits and not threat.traits & {Trait.SPARSE, Trait.DISCRETE}:
        return APGD(loss="ce", steps=steps)
    return usual_attack(threat, steps)


def require_steps(steps: int | None) -> None:
    """Refuse a number of attack steps below 1."""
    if steps is not None and steps < 1:
        raise InputError(f"steps is {steps}: give 1 or more, or leave it out")
