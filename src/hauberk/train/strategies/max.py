"""MAX: train on the worst of several threats, per example."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from hauberk.engine.outcome import Outcome
from hauberk.errors import InputError
from hauberk.threats.base import Threat
from hauberk.train.strategies.adversarial import MultiThreat
from hauberk.train.strategies.base import Batch, Loss, Tables, cross_entropy


@dataclass(frozen=True, kw_only=True)
class MAX(MultiThreat):
    """Cross-entropy at the worst of the threats' own worst points, example by example.

    Source: Tramèr & Boneh 2019, section 4 (Adv_max); Maini et al. 2020, section 4.1.

    The attacks' losses are compared, so that all attacks must have the same one. An example costs,
    in each step with K threats, the passes of K attacks and one forward and one backward pass: 65
    for three balls with ``steps=10``.

    Args:
        threat: A union of K threats.

    Raises:
        InputError: for attacks of different losses.

    Example:
        >>> import hauberk as hb
        >>> strategy = hb.train.MAX(hb.Linf(0.3) | hb.L2(2) | hb.L1(10), steps=10)
        >>> sum(strategy.attack_on(threat).passes for threat in strategy.threats) + 2
        65
    """

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.attacks is None or len(self.threat.parts) < 2:
            return
        losses = {str(self.attack_on(threat).loss) for threat in self.threat.parts}
        if len(losses) > 1:
            raise InputError(
                f"MAX compares what the attacks maximise, but they have the losses "
                f"{', '.join(sorted(losses))}: give all of them the same, e.g. loss='ce'"
            )

    def attacked(self, batch: Batch, tables: Tables, threats: Sequence[Threat]) -> Loss:
        found = [
            batch.attack(self.attack_on(named), threat, stream=stream)
            for stream, (named, threat) in enumerate(zip(self.threats, threats, strict=True))
        ]
        points, which = worst(found)
        logs = {f"share {t}": (which == k).float().mean() for k, t in enumerate(self.threats)}
        return cross_entropy(batch, points, **logs)


def worst(outcomes: Sequence[Outcome]) -> tuple[Tensor, Tensor]:
    """The points of largest loss among several outcomes, ``(B, ...)``, and of which, (B,)."""
    which = torch.stack([outcome.loss for outcome in outcomes]).argmax(0)
    points = torch.stack([outcome.points for outcome in outcomes])
    return points[which, torch.arange(len(which), device=which.device)], which
