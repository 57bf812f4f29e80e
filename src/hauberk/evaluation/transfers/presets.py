"""Which attacks a transfer run crafts its points by: restarts of several losses, and a protocol."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import inf
from typing import Any

from hauberk.attacks.base import Attack
from hauberk.attacks.pgd import PGD
from hauberk.errors import InputError
from hauberk.objectives.votes import VoteState, VoteSum
from hauberk.threats.ball import Ball
from hauberk.threats.base import Threat

RUNS = {"mnist": 50, "cifar10": 10}
"""Runs on every model, N, by data set (Ding et al. 2020, section 3.2 and appendix D)."""

STEP_SHARES = {
    ("mnist", inf): 0.0075 / 0.3,
    ("cifar10", inf): 2 / 8,
    ("mnist", 2.0): 0.25 / 1.0,
    ("cifar10", 2.0): 0.25 / 1.0,
}
"""Step by eps, by data set and norm: 0.0075 at 0.3, 2/255 at 8/255, and 0.25 at 1 (appendix D)."""


@dataclass(frozen=True)
class Crafting:
    """How points are crafted.

    Args:
        attacks: on every model; each gives a point for each example.
        vote_attacks: on models that vote, instead of ``attacks``; those if empty.
    """

    attacks: tuple[Attack[Any], ...]
    vote_attacks: tuple[Attack[Any], ...] = ()


def ding2020(
    data: str, threats: Sequence[Threat], *, runs: int | None = None, steps: int = 100
) -> Crafting:
    """The attacks of Ding et al. 2020: random-start PGD, half with CE, half with the C&W loss.

    On majority votes as many runs on the sum of the members' losses, half with CE, half with C&W,
    and as many further ones on the state-dependent loss as printed.

    Args:
        data: ``mnist`` or ``cifar10``: they have other steps under linf and other numbers of runs.
        threats: linf or l2 balls of any sizes, which the steps are proportional to, but of one
            norm.
        runs: N, on every model; 50 for MNIST and 10 for CIFAR-10 by default.
        steps: of every run.

    Raises:
        InputError: for other data and threats, and for fewer than two runs.

    Source: Ding et al. 2020, section 3.2 and appendix D.

    Example:
        >>> from hauberk import Linf
        >>> found = ding2020("mnist", [Linf(0.3)])
        >>> len(found.attacks), found.attacks[0].loss, found.attacks[-1].loss
        (50, 'ce', 'cw')
    """
    if data not in RUNS:
        raise InputError(f"the preset ding2020 is for {' and '.join(RUNS)}, not for {data}")
    norms = {part.p if isinstance(part, Ball) else None for t in threats for part in t.parts}
    share = STEP_SHARES.get((data, norms.pop())) if len(norms) == 1 else None  # type: ignore[arg-type]
    if share is None:
        named = ", ".join(map(str, threats))
        raise InputError(
            f"the preset ding2020 has steps for balls of one norm, linf or l2, not for {named}: "
            "give one norm in a run, or attacks of your own"
        )
    base = PGD(steps=steps, step_share=share, random_start=True)
    n = RUNS[data] if runs is None else runs
    printed = replace(base, loss=VoteState("cw", sign="printed"))
    return Crafting(
        tuple(halves(base, n)),
        tuple(replace(one, loss=VoteSum(one.loss)) for one in halves(base, n)) + (printed,) * n,
    )


def on_votes(attacks: Sequence[Attack[Any]]) -> tuple[Attack[Any], ...]:
    """The attacks on majority votes that go with attacks on single models, twice as many.

    Each climbs the sum of the members' losses; then each once more, the loss chosen anew at every
    step (:class:`~hauberk.objectives.votes.VoteState`, with the sign that unites the wrong votes).

    Source: Ding et al. 2020, appendix D.

    Example:
        >>> [type(one.loss).__name__ for one in on_votes([PGD(loss="ce")])]
        ['VoteSum', 'VoteState']
    """
    sums = [replace(one, loss=VoteSum(one.loss)) for one in attacks]
    return (*sums, *(replace(one, loss=VoteState("cw")) for one in attacks))


def halves(attack: Attack[Any], runs: int, losses: Sequence[str] = ("ce", "cw")) -> list[Any]:
    """So many runs of an attack, shared out evenly among several losses, in their order.

    Runs differ in their random numbers alone; what cannot be shared out goes to the first losses.

    Args:
        attack: any that takes a loss.
        runs: in all.
        losses: names of losses.

    Raises:
        InputError: if there are fewer runs than losses.

    Example:
        >>> [one.loss for one in halves(PGD(), 5)]
        ['ce', 'ce', 'ce', 'cw', 'cw']
    """
    if not losses or runs < len(losses):
        raise InputError(
            f"runs is {runs}: give at least one for each loss ({', '.join(losses) or 'none'})"
        )
    each, over = divmod(runs, len(losses))
    return [
        replace(attack, loss=loss)
        for place, loss in enumerate(losses)
        for _ in range(each + (place < over))
    ]
