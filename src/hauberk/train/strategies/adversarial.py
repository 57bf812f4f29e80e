"""What strategies have in common: threats at their present size, and an attack for each."""

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from math import inf, nan
from typing import Any

import torch
from torch import Tensor, nn

from hauberk.attacks.base import Attack
from hauberk.engine.method import Job
from hauberk.errors import InputError
from hauberk.spec.numbers import number
from hauberk.threats.base import Box, Threat
from hauberk.train.strategies.base import (
    Batch,
    Loss,
    Strategy,
    Tables,
    cross_entropy,
    empty_loss,
    grown,
)
from hauberk.train.strategies.inner_attacks import require_steps, usual_attack
from hauberk.victims.victim import Victim


@dataclass(frozen=True, kw_only=True)
class Growing(Strategy):
    """Training against threats whose size grows: eps times ``progress / grow``, at most eps.

    Args:
        threat: A threat, or a union of threats, e.g. ``Linf(0.3) | L2(2)``; or its notation.
        grow: Share of the training over which the threats grow linearly from size 0, in [0, 1];
            0 for their full size at once. Or steps: up to which share of the training they have
            which share of their size, ``{0.1: 1 / 3}``; afterwards, their full size. At size 0
            the loss is clean cross-entropy.
        soften: Width of the sigmoids that stand in for kinks and steps in the backward passes of
            the attacks that are not named (``Attack.soften``). Attacks along exact gradients teach
            some networks to hide them rather than to resist.

    Raises:
        InputError: for a share or a width out of range.
    """

    threat: Threat = field(kw_only=False)
    grow: float | Mapping[str, float] = 0.0
    soften: float = 0.0

    def __post_init__(self) -> None:
        object.__setattr__(self, "threat", Threat.of(self.threat))
        if not isinstance(self.grow, Mapping) and not 0 <= self.grow <= 1:
            raise InputError(f"grow is {self.grow}: give a share of the training in [0, 1]")
        if not all(0 < until <= 1 and 0 <= size <= 1 for until, size in self._stages()):
            raise InputError(
                f"grow is {dict(self.grow)}: give shares of the training and of the size in "  # type: ignore[arg-type]
                "[0, 1], e.g. {0.1: 1/3}"
            )
        if not 0 <= self.soften < inf:
            raise InputError(f"soften is {self.soften}: give 0 (off) or a positive width")

    @property
    def threats(self) -> Sequence[Threat]:
        return self.threat.parts

    @property
    def inner(self) -> Sequence[Threat]:
        """Those of :attr:`threats` that the attacks of the training search: all by default."""
        return self.threats

    @property
    def softens(self) -> bool:
        return any(self.attack_on(threat).soften for threat in self.inner)

    @abstractmethod
    def attack_on(self, threat: Threat) -> Attack:
        """The inner attack on one of :attr:`inner`."""

    @abstractmethod
    def attacked(self, batch: Batch, tables: Tables, threats: Sequence[Threat]) -> Loss:
        """The loss against :attr:`inner`, at its present size, which is not 0."""

    def check(self, x: Tensor, y: Tensor, box: Box) -> None:
        for threat in self.threats:
            if threat.grouped:
                raise InputError(f"{threat} is a threat to groups: train on threats to one input")
            if not bool(threat.at(x[:1], box).radius.isfinite().all()):
                raise InputError(f"{threat} has no size: give it a finite eps to train on it")
        for threat in self.inner if len(x) else ():
            _try(self.attack_on(threat), threat, x[:1], y[:1], box)

    def loss(self, batch: Batch, tables: Tables) -> Loss:
        share = self.share(batch.progress)
        if not len(batch.x):
            return empty_loss(batch)
        if share <= 0:
            return cross_entropy(batch, batch.x)
        return self.attacked(batch, tables, [grown(threat, share) for threat in self.inner])

    def softened(self, attack: Attack) -> Attack:
        """The attack along softened gradients, if those are asked for."""
        return replace(attack, soften=self.soften) if self.soften else attack

    def share(self, progress: float) -> float:
        """Present size of the threats over their full one, at a share of the training done."""
        if isinstance(self.grow, Mapping):
            return next((size for until, size in self._stages() if progress < until), 1.0)
        return min(1.0, progress / self.grow) if self.grow else 1.0

    def _stages(self) -> list[tuple[float, float]]:
        """The steps of ``grow``: the end of each, and its size."""
        if not isinstance(self.grow, Mapping):
            return []
        steps = {number(str(until)): size for until, size in self.grow.items()}
        return sorted((nan if until is None else until, size) for until, size in steps.items())

    def describe(self) -> dict[str, Any]:
        used = {str(threat): self.attack_on(threat).describe() for threat in self.inner}
        return {**super().describe(), "attacks": used}


@dataclass(frozen=True, kw_only=True)
class Adversarial(Growing):
    """Cross-entropy at points of largest loss, with a share of clean loss.

    Args:
        clean: Weight of the clean loss, in [0, 1]; the rest is for the loss under attack. If it is
            not 0, an example costs one forward and one backward pass more.
    """

    clean: float = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 <= self.clean <= 1:
            raise InputError(f"clean is {self.clean}: give the clean loss a weight in [0, 1]")

    def loss(self, batch: Batch, tables: Tables) -> Loss:
        hard = super().loss(batch, tables)
        if not self.clean or not len(batch.x) or self.share(batch.progress) <= 0:
            return hard
        easy = cross_entropy(batch, batch.x)
        return Loss(
            value=torch.lerp(hard.value, easy.value, self.clean),
            logs={**hard.logs, "clean loss": easy.value.detach()},
            forwards=hard.forwards + easy.forwards,
            backwards=hard.backwards + easy.backwards,
        )


@dataclass(frozen=True, kw_only=True)
class MultiThreat(Adversarial):
    """Adversarial training on several threats, with an attack for each kind of them.

    Args:
        steps: Gradient steps of the attacks that are not named; the papers' numbers if left out
            (:func:`hauberk.train.strategies.inner_attacks.usual_attack`).
        attacks: An attack for all threats, or for some kinds (``{"linf": PGD(steps=20)}``, see
            ``Threat.kind``); the others get their usual one.
    """

    steps: int | None = None
    attacks: Mapping[str, Attack] | Attack | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        require_steps(self.steps)
        if isinstance(self.attacks, Attack) and self.soften:
            raise InputError("soften is that of the usual attacks: set it in the attack instead")
        if isinstance(self.attacks, Mapping):
            kinds = {threat.kind for threat in self.threat.parts}
            for kind in self.attacks:
                if kind not in kinds:
                    raise InputError(
                        f"attacks names '{kind}', but the threats are {', '.join(sorted(kinds))}"
                    )

    def attack_on(self, threat: Threat) -> Attack:
        if isinstance(self.attacks, Attack):
            return self.attacks
        named = (self.attacks or {}).get(threat.kind)
        return self.softened(self.usual(threat)) if named is None else named

    def usual(self, threat: Threat) -> Attack:
        """The attack on a threat for which none is named."""
        return usual_attack(threat, self.steps)


def one_threat(threat: Threat, strategy: str) -> None:
    """Refuse a union of several threats.

    Raises:
        InputError: saying what takes them.
    """
    if len(threat.parts) > 1:
        raise InputError(f"{strategy} trains on one threat, not on {threat}: use MAX, AVG or MSD")


class _Mean(nn.Module):
    """A stand-in for a model, to see whether an attack takes a threat at all."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.classes = max(2, classes)

    def forward(self, x: Tensor) -> Tensor:
        mean = x.flatten(1).mean(1, keepdim=True)
        return mean * torch.arange(self.classes, device=x.device)


def _try(attack: Attack, threat: Threat, x: Tensor, y: Tensor, box: Box) -> None:
    victim = Victim(_Mean(int(y.max()) + 1))
    victim.device = x.device
    attack.run(victim, Job(threat=threat, x=x, y=y, box=box, stop=False))
