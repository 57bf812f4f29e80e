"""AVG: train on the worst point of every threat."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch.nn import functional as F

from hauberk.errors import InputError
from hauberk.threats.base import Threat
from hauberk.train.strategies.adversarial import MultiThreat
from hauberk.train.strategies.base import Batch, Loss, Tables


@dataclass(frozen=True, kw_only=True)
class AVG(MultiThreat):
    """The mean, or the sum, of the cross-entropies at each threat's own worst point.

    Source: Tramèr & Boneh 2019, section 3 (the mean); Maini et al. 2020, equation 13 (the sum, and
    so K times the gradient, beside which weight decay counts less).

    An example costs, in each step with K threats, the passes of K attacks and K forward and K
    backward passes.

    Args:
        threat: A union of K threats.
        reduce: ``mean`` or ``sum`` over the threats.

    Raises:
        InputError: for another way to reduce.

    Example:
        >>> import hauberk as hb
        >>> strategy = hb.train.AVG(hb.Linf(0.3) | hb.L2(2), steps=10, clean=0.5)
        >>> [str(threat) for threat in strategy.threats]
        ['linf:0.3', 'l2:2']
    """

    reduce: Literal["mean", "sum"] = "mean"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.reduce not in ("mean", "sum"):
            raise InputError(f"reduce is '{self.reduce}': choose mean or sum")

    def attacked(self, batch: Batch, tables: Tables, threats: Sequence[Threat]) -> Loss:
        losses = []
        for stream, (named, threat) in enumerate(zip(self.threats, threats, strict=True)):
            found = batch.attack(self.attack_on(named), threat, stream=stream)
            losses.append(F.cross_entropy(batch.model(found.points), batch.y))
        each = torch.stack(losses)
        logs = {f"loss {t}": v for t, v in zip(self.threats, each.detach().unbind(), strict=True)}
        passes = len(losses) * len(batch.x)
        value = each.sum() if self.reduce == "sum" else each.mean()
        return Loss(value, logs, forwards=passes, backwards=passes)
