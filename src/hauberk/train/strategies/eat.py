"""E-AT: random norm training on the extreme norms alone, the harder one more often."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import inf

import torch

from hauberk.attacks.base import Attack
from hauberk.errors import InputError
from hauberk.threats.ball import Ball
from hauberk.threats.base import Threat
from hauberk.train.strategies.adversarial import Several
from hauberk.train.strategies.base import Batch, Loss, Memory, cross_entropy
from hauberk.train.strategies.random_norm import choice, few_steps


@dataclass(frozen=True, kw_only=True)
class EAT(Several):
    """Extreme-norm adversarial training (Croce & Hein 2022): batches in linf or in l1, by turns.

    Of the threats only the linf and the l1 ball are attacked (``inner``): their convex hull holds
    much of the balls between. Each batch is attacked in one of them, drawn with a probability in
    proportion to its robust error. That is the share of training examples whose last attack in it
    succeeded (memory ``wrong``: (N, 2), linf first, NaN for never); the authors count all attacks
    since the start alike. Until both are known, one is as likely as the other.

    Per example and step: the passes of one attack, and one each way; 23 with 10 steps.

    Args:
        steps: of the usual attack, as in :class:`hauberk.train.RandomNorm`.

    Raises:
        InputError: unless there is one linf and one l1 ball among the threats.
    """

    steps: int | None = 10

    def __post_init__(self) -> None:
        super().__post_init__()
        _ = self.inner

    @property
    def inner(self) -> Sequence[Threat]:
        return extremes(self.threat, "EAT")

    def usual(self, threat: Threat) -> Attack:
        return few_steps(threat, self.steps or 10)

    def begin(self, examples: int, device: torch.device) -> Memory:
        return {"wrong": torch.full((examples, 2), torch.nan, device=device)}

    def attacked(self, batch: Batch, memory: Memory, threats: Sequence[Threat]) -> Loss:
        wrong = memory["wrong"]
        odds = chances(wrong.nanmean(0).tolist())
        draw = choice(batch, torch.zeros(1, dtype=torch.int64)).uniform(0, (), torch.float64)
        k = int(draw.item() >= odds[0])
        found = batch.attack(self.attack_on(self.inner[k]), threats[k], stream=k)
        wrong[batch.ids.to(wrong.device), k] = found.fooled.to(wrong)
        logs = {
            f"chance {threat}": torch.tensor(chance, device=batch.x.device)
            for threat, chance in zip(self.inner, odds, strict=True)
        }
        return cross_entropy(batch, found.points, **logs)


def chances(errors: Sequence[float]) -> list[float]:
    """Probabilities in proportion to the errors; equal ones while some are NaN, or all are 0."""
    total = sum(errors)
    if not total > 0:
        return [1 / len(errors)] * len(errors)
    return [error / total for error in errors]


def extremes(threat: Threat, who: str) -> tuple[Threat, Threat]:
    """The linf and the l1 ball of a union.

    Raises:
        InputError: unless there is one of each.
    """
    found = []
    for p in (inf, 1.0):
        balls = [part for part in threat.parts if isinstance(part, Ball) and part.p == p]
        if len(balls) != 1:
            raise InputError(
                f"{who} wants one linf and one l1 ball, and {threat} has {len(balls)} of "
                f"l{p:g}: name both, e.g. linf:0.3 | l1:10, or use RandomNorm"
            )
        found.append(balls[0])
    return found[0], found[1]
