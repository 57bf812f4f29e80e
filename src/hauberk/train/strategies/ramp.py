"""RAMP: the worst of two threats, with outputs that agree between them."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch.nn import functional as F

from hauberk.errors import InputError
from hauberk.threats.base import Threat
from hauberk.train.strategies.base import Batch, Loss, Tables, divergence
from hauberk.train.strategies.few_steps import FewSteps, extremes


@dataclass(frozen=True, kw_only=True)
class RAMP(FewSteps):
    """Logit pairing between two threats on top of MAX (Jiang & Singh 2024, the loss of RAMP).

    The loss is the mean over the examples of the larger of the two cross-entropies, each at the
    worst point of one threat, plus ``pairing`` times the mean divergence from the output under the
    first threat to that under the second, over the examples that the model gets right under the
    first. The method's other half, natural training mixed in by gradient projection, belongs to the
    trainer, for any strategy: ``fit(..., natural=0.5)``. With several processes the mean
    divergence is that of each one's share of the batch.

    An example costs, in each step, the passes of two attacks and two forward and two backward
    passes: 46 with 10 steps.

    Args:
        threat: Two threats, the key one first; or a union with a linf and an l1 ball, which are
            attacked (``inner``), in that order.
        pairing: Weight of the divergence; the authors' 5 for training from scratch on CIFAR-10.

    Raises:
        InputError: for one threat, or more than two without an linf and an l1 ball.

    Example:
        >>> import hauberk as hb
        >>> hb.train.RAMP(hb.Linf(8 / 255) | hb.L1(12)).pairing
        5.0
    """

    pairing: float = 5.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.pairing >= 0:
            raise InputError(f"pairing is {self.pairing}: give 0 or more")
        _ = self.inner

    @property
    def inner(self) -> Sequence[Threat]:
        parts = self.threat.parts
        return parts if len(parts) == 2 else extremes(self.threat, "RAMP")

    def attacked(self, batch: Batch, tables: Tables, threats: Sequence[Threat]) -> Loss:
        points = [
            batch.attack(self.attack_on(named), threat, stream=stream).points
            for stream, (named, threat) in enumerate(zip(self.inner, threats, strict=True))
        ]
        key, other = (batch.model(x) for x in points)
        one, two = (F.cross_entropy(z, batch.y, reduction="none") for z in (key, other))
        largest = torch.maximum(one, two).mean()
        right = (key.argmax(1) == batch.y).to(key.dtype)
        apart = (divergence(key, other) * right).sum() / right.sum().clamp(min=1)
        logs = {"largest loss": largest.detach(), "divergence": apart.detach()}
        passes = 2 * len(batch.x)
        return Loss(largest + self.pairing * apart, logs, forwards=passes, backwards=passes)
