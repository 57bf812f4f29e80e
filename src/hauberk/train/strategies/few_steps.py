"""What RandomNorm, EAT and RAMP share: attacks of few steps, extreme norms, random choice."""

from dataclasses import dataclass
from math import inf

from torch import Tensor

from hauberk.attacks.base import Attack
from hauberk.errors import InputError
from hauberk.maths.rng import Draws
from hauberk.threats.ball import Ball
from hauberk.threats.base import Threat
from hauberk.train.strategies.adversarial import MultiThreat
from hauberk.train.strategies.base import Batch
from hauberk.train.strategies.inner_attacks import apgd_or_usual

_STREAM = 0x6E6F726D


@dataclass(frozen=True, kw_only=True)
class FewSteps(MultiThreat):
    """Adversarial training on several threats with attacks of ten steps.

    Args:
        steps: Of the attacks that are not named: Auto-PGD in balls (the choice of Croce & Hein 2022
            in l1 as well), but in l1 the usual attack
            (:func:`hauberk.train.strategies.inner_attacks.usual_attack`), which did as well.
    """

    steps: int | None = 10

    def usual(self, threat: Threat) -> Attack:
        return apgd_or_usual(threat, self.steps or 10)


def threat_draws(batch: Batch, ids: Tensor) -> Draws:
    """Random numbers to draw a threat with, apart from those of the attacks.

    They depend on the seed, the step and ``ids`` (B,).
    """
    return Draws.of(batch.seed, ids, _STREAM, batch.step)


def extremes(threat: Threat, strategy: str) -> tuple[Threat, Threat]:
    """The linf and the l1 ball of a union.

    Args:
        threat: The union.
        strategy: Name of the strategy that asks, for the message.

    Raises:
        InputError: unless there is one of each.

    Example:
        >>> import hauberk as hb
        >>> [str(ball) for ball in extremes(hb.L1(10) | hb.L2(2) | hb.Linf(0.3), "EAT")]
        ['linf:0.3', 'l1:10']
    """
    found = []
    for p in (inf, 1.0):
        balls = [part for part in threat.parts if isinstance(part, Ball) and part.p == p]
        if len(balls) != 1:
            raise InputError(
                f"{strategy} needs one linf and one l1 ball, and {threat} has {len(balls)} of "
                f"l{p:g}: name both, e.g. linf:0.3 | l1:10, or use RandomNorm"
            )
        found.append(balls[0])
    return found[0], found[1]
