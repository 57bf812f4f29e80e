"""MSD: train on the worst point that one ascent through the whole union finds."""

from collections.abc import Sequence
from dataclasses import dataclass, fields

from hauberk import attacks
from hauberk.attacks.msd import MSDSteps
from hauberk.errors import InputError
from hauberk.threats.ball import Ball
from hauberk.threats.base import Threat, Union
from hauberk.train.strategies.adversarial import Adversarial
from hauberk.train.strategies.base import Batch, Loss, Tables, cross_entropy


@dataclass(frozen=True, kw_only=True)
class MSD(MSDSteps, Adversarial):
    """Cross-entropy where multi steepest descent ends, in a union of balls (Maini et al. 2020).

    An example costs, in each step of the attack with K balls, K + 2 passes, or 2 with first order
    ranking (:class:`hauberk.attacks.MultiSteepestDescent`); then one forward and one backward
    pass. The step sizes, ``k`` and ``ranking`` are those of the attack; for CIFAR-10 the published
    steps are 0.1, 0.04 and 1/12 of the radius.

    Args:
        threat: A union of balls.
        steps: Of the ascent; 50 on CIFAR-10 and 100 on MNIST as published.

    Raises:
        InputError: for threats that are no balls.

    Example:
        >>> import hauberk as hb
        >>> strategy = hb.train.MSD(hb.Linf(0.3) | hb.L2(2), steps=9, step_linf=0.28)
        >>> strategy.attack_on(strategy.threat).passes_on(strategy.threat)
        39
    """

    steps: int = 50

    def __post_init__(self) -> None:
        super().__post_init__()
        for threat in self.threat.parts:
            if not isinstance(threat, Ball):
                raise InputError(f"MSD takes lp balls, and {threat} is none: use MAX or AVG")
            self.attack_on(threat)

    def attack_on(self, threat: Threat) -> attacks.MultiSteepestDescent:
        own = {f.name: getattr(self, f.name) for f in fields(MSDSteps)}
        return attacks.MultiSteepestDescent(steps=self.steps, soften=self.soften, **own)

    def attacked(self, batch: Batch, tables: Tables, threats: Sequence[Threat]) -> Loss:
        # Small l0 balls may have become the same one.
        union = Union(*dict.fromkeys(threats))
        found = batch.attack(self.attack_on(union), union)
        return cross_entropy(batch, found.points)
