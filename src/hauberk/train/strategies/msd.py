"""MSD: train on the worst point that one ascent through the whole union finds."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from hauberk import attacks
from hauberk.errors import InputError
from hauberk.threats.ball import Ball
from hauberk.threats.base import Threat, Union
from hauberk.train.strategies.adversarial import Adversarial
from hauberk.train.strategies.base import Batch, Loss, Tables, cross_entropy


@dataclass(frozen=True, kw_only=True)
class MSD(Adversarial):
    """Cross-entropy where multi steepest descent ends, in a union of balls (Maini et al. 2020).

    Per example and step of the attack with K balls: K + 2 passes, or 2 with first order ranking
    (:class:`hauberk.attacks.MSD`); then one each way.

    Args:
        steps: of the ascent; 50 on CIFAR-10 and 100 on MNIST as published.
        ranking: how the candidates of the balls are compared: by their ``loss``, as published, or
            to ``first_order``.
        step_linf, step_l2, step_l1, step_other: step sizes relative to the radius, those for MNIST
            by default; for CIFAR-10 0.1, 0.04 and 1/12.
        k: least and most coordinates that an l1 step moves; for 784 features.

    Raises:
        InputError: for threats that are no balls.
    """

    steps: int = 50
    ranking: Literal["loss", "first_order"] = "loss"
    step_linf: float = 0.01 / 0.3
    step_l2: float = 0.1 / 2.0
    step_l1: float = 0.8 / 10.0
    step_other: float = 0.1 / 2.0
    k: tuple[int, int] = (5, 20)

    def __post_init__(self) -> None:
        super().__post_init__()
        for threat in self.threat.parts:
            if not isinstance(threat, Ball):
                raise InputError(f"MSD takes lp balls, and {threat} is none: use MAX or AVG")
            self.attack_on(threat)

    def attack_on(self, threat: Threat) -> attacks.MSD:
        return attacks.MSD(
            steps=self.steps, ranking=self.ranking, step_linf=self.step_linf, step_l2=self.step_l2,
            step_l1=self.step_l1, step_other=self.step_other, k=self.k, soften=self.soften,
        )  # fmt: skip

    def attacked(self, batch: Batch, tables: Tables, threats: Sequence[Threat]) -> Loss:
        # Small l0 balls may have become the same one.
        union = Union(*dict.fromkeys(threats))
        found = batch.attack(self.attack_on(union), union)
        return cross_entropy(batch, found.points)
