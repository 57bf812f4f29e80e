"""AVG: train on the worst point of every threat."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch.nn import functional as F

from hauberk.threats.base import Threat
from hauberk.train.strategies.adversarial import MultiThreat
from hauberk.train.strategies.base import Batch, Loss, Tables


@dataclass(frozen=True, kw_only=True)
class AVG(MultiThreat):
    """The mean of the cross-entropies at each threat's own worst point.

    Source: Tramèr & Boneh 2019, section 4 (Adv_avg); Maini et al. 2020, section 4.1.

    An example costs, in each step with K threats, the passes of K attacks and K forward and K
    backward passes.

    Args:
        threat: A union of K threats.

    Example:
        >>> import hauberk as hb
        >>> strategy = hb.train.AVG(hb.Linf(0.3) | hb.L2(2), steps=10, clean=0.5)
        >>> [str(threat) for threat in strategy.threats]
        ['linf:0.3', 'l2:2']
    """

    def attacked(self, batch: Batch, tables: Tables, threats: Sequence[Threat]) -> Loss:
        losses = []
        for stream, (named, threat) in enumerate(zip(self.threats, threats, strict=True)):
            found = batch.attack(self.attack_on(named), threat, stream=stream)
            losses.append(F.cross_entropy(batch.model(found.points), batch.y))
        each = torch.stack(losses)
        logs = {f"loss {t}": v for t, v in zip(self.threats, each.detach().unbind(), strict=True)}
        passes = len(losses) * len(batch.x)
        return Loss(each.mean(), logs, forwards=passes, backwards=passes)
