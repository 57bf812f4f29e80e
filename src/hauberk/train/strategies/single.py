"""Adversarial training on one threat."""

from collections.abc import Sequence
from dataclasses import dataclass

from hauberk.attacks.base import Attack
from hauberk.errors import InputError
from hauberk.threats.base import Threat
from hauberk.train.strategies.adversarial import Adversarial, require_steps, usual_attack
from hauberk.train.strategies.base import Batch, Loss, Memory, cross_entropy


@dataclass(frozen=True, kw_only=True)
class Single(Adversarial):
    """Adversarial training on one threat (Madry et al. 2018): cross-entropy at its worst point.

    Per example and step, the attack's passes and one each way.

    Args:
        attack: the inner attack, run to its end;
        :func:`hauberk.train.strategies.adversarial.usual_attack` if left
            out, with so many ``steps``.

    Raises:
        InputError: for a union, and for steps beside an attack, which has its own.
    """

    attack: Attack | None = None
    steps: int | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        one_threat(self.threat, type(self).__name__)
        require_steps(self.steps)
        if self.attack is not None and (self.steps is not None or self.soften):
            raise InputError(
                "steps and soften are those of the usual attack: say them in the attack instead"
            )

    def attack_on(self, threat: Threat) -> Attack:
        if self.attack is not None:
            return self.attack
        return self.softened(usual_attack(threat, self.steps))

    def attacked(self, batch: Batch, memory: Memory, threats: Sequence[Threat]) -> Loss:
        found = batch.attack(self.attack_on(self.threat), threats[0])
        return cross_entropy(batch, found.points)


@dataclass(frozen=True, kw_only=True)
class PGDLS(Single):
    """:class:`Single` with a linear schedule of eps, from 0 (Ding et al. 2020, section 4.2).

    Theirs grows for 50 epochs, of about 91 on MNIST and 142 on CIFAR-10.
    """

    grow: float = 0.5


def one_threat(threat: Threat, who: str) -> None:
    """Refuse unions.

    Raises:
        InputError: saying what takes them.
    """
    if len(threat.parts) > 1:
        raise InputError(f"{who} trains on one threat, not on {threat}: use MAX, AVG or MSD")
