"""TRADES: clean loss, and agreement with the clean output all over the threat."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor
from torch.nn import functional as F

from hauberk.attacks import MultiSteepestDescent
from hauberk.attacks.base import Attack
from hauberk.errors import InputError
from hauberk.maths.rows import Rows
from hauberk.objectives.base import Evaluation, Objective
from hauberk.objectives.problem import Problem
from hauberk.threats.base import Threat
from hauberk.train.strategies.adversarial import Growing, one_threat
from hauberk.train.strategies.base import Batch, Loss, Tables, divergence
from hauberk.train.strategies.inner_attacks import usual_attack
from hauberk.victims.victim import Victim


@dataclass(frozen=True, kw_only=True)
class TRADES(Growing):
    """``CE(clean) + beta * KL(clean || attacked)`` (Zhang et al. 2019).

    The attack maximises that divergence, whatever its own ``loss``. An example costs, in each step,
    the attack's passes, one forward for the clean output, and two forward and two backward passes.

    Args:
        threat: One threat.
        beta: Weight of the divergence; 6 as published for CIFAR-10, 1 for more clean accuracy.
        attack: The inner attack; if left out,
            :func:`hauberk.train.strategies.inner_attacks.usual_attack` with 10 steps from a random
            start. It must not start from the clean input, where the divergence has no slope.

    Raises:
        InputError: for a union, a negative beta, and attacks with targets or from the clean input.

    Example:
        >>> import hauberk as hb
        >>> strategy = hb.train.TRADES(hb.Linf(8 / 255), beta=6.0)
        >>> strategy.attack_on(strategy.threat).steps
        10
    """

    beta: float = 6.0
    attack: Attack | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        one_threat(self.threat, "TRADES")
        if not self.beta >= 0:
            raise InputError(f"beta is {self.beta}: give 0 or more")
        if self.attack is None:
            return
        if self.attack.targets:
            raise InputError("TRADES pulls away from the clean output: give an attack targets=0")
        clean = getattr(self.attack, "zero_start", not getattr(self.attack, "random_start", True))
        if clean:
            raise InputError(
                f"TRADES with {type(self.attack).__name__} from the clean input goes nowhere, for "
                "the divergence has no slope there: let it start at random"
            )

    def attack_on(self, threat: Threat) -> Attack:
        if self.attack is not None:
            return self.attack
        attack = self.softened(usual_attack(threat, 10))
        return (
            replace(attack, zero_start=False)
            if isinstance(attack, MultiSteepestDescent)
            else attack
        )

    def attacked(self, batch: Batch, tables: Tables, threats: Sequence[Threat]) -> Loss:
        attack = replace(self.attack_on(self.threat), loss=Divergence(victim=batch.victim))
        found = batch.attack(attack, threats[0])
        clean = batch.model(batch.x)
        natural = F.cross_entropy(clean, batch.y)
        apart = divergence(clean, batch.model(found.points)).mean()
        logs = {"clean loss": natural.detach(), "divergence": apart.detach()}
        passes = 2 * len(batch.x)
        return Loss(natural + self.beta * apart, logs, forwards=passes, backwards=passes)


@dataclass
class CleanLogits(Rows):
    """Logits at the clean inputs of the slots, ``(S, C)``."""

    logits: Tensor


@dataclass(frozen=True)
class Divergence(Objective):
    """Divergence of a victim's output from that at the clean input, in nats.

    One forward more for each attempt, which the victim counts and an outcome does not.

    Args:
        victim: the one under attack.
    """

    loss: str = "ce"
    victim: Victim | None = field(default=None, compare=False, repr=False)

    def start(self, problem: Problem) -> CleanLogits:
        assert self.victim is not None
        region = problem.region
        return CleanLogits(self.victim.predict(region.decode(region.start())))

    def __call__(
        self, victim: Victim, x: Tensor, y: Tensor, target: Tensor | None, weights: Rows | None
    ) -> Evaluation:
        assert isinstance(weights, CleanLogits)
        logits = victim.logits(x, self.soften)
        loss = divergence(weights.logits, logits)
        fooled = victim.wrong(logits.detach(), y)
        return Evaluation(loss.detach(), fooled, loss, torch.ones_like(loss), weights)
