"""Adversarial training on one threat."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from hauberk.attacks.base import Attack
from hauberk.errors import InputError
from hauberk.threats.base import Threat
from hauberk.train.strategies.adversarial import Adversarial, one_threat
from hauberk.train.strategies.base import Batch, Loss, Tables, cross_entropy
from hauberk.train.strategies.inner_attacks import require_steps, usual_attack


@dataclass(frozen=True, kw_only=True)
class Single(Adversarial):
    """Adversarial training on one threat (Madry et al. 2018): cross-entropy at its worst point.

    An example costs, in each step, the attack's passes and one forward and one backward pass.

    Args:
        threat: One threat.
        attack: The inner attack, run to its end; if left out,
            :func:`hauberk.train.strategies.inner_attacks.usual_attack` with so many ``steps``.
        steps: Of the usual attack.

    Raises:
        InputError: for a union, and for steps beside an attack, which has its own.

    Example:
        >>> import hauberk as hb
        >>> strategy = hb.train.Single(hb.Linf(8 / 255), steps=7)
        >>> strategy.attack_on(strategy.threat).passes
        15
    """

    attack: Attack | None = None
    steps: int | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        one_threat(self.threat, type(self).__name__)
        require_steps(self.steps)
        if self.attack is not None and (self.steps is not None or self.soften):
            raise InputError(
                "steps and soften are those of the usual attack: set them in the attack instead"
            )

    def attack_on(self, threat: Threat) -> Attack:
        if self.attack is not None:
            return self.attack
        return self.softened(usual_attack(threat, self.steps))

    def attacked(self, batch: Batch, tables: Tables, threats: Sequence[Threat]) -> Loss:
        found = batch.attack(self.attack_on(self.threat), threats[0])
        return cross_entropy(batch, found.points)


@dataclass(frozen=True, kw_only=True)
class PGDLS(Single):
    """:class:`Single` with a linear schedule of eps, from 0 (Ding et al. 2020, section 4.2).

    Theirs grows for 50 epochs, of about 91 on MNIST and 142 on CIFAR-10.

    Args:
        grow: Share of the training over which eps grows.

    Example:
        >>> import hauberk as hb
        >>> strategy = hb.train.PGDLS(hb.L2(2), steps=40, grow=0.5)
        >>> strategy.share(progress=0.25)
        0.5
    """

    grow: float | Mapping[str, float] = 0.5
