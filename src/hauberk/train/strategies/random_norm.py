"""Random norm: each batch, or example, is attacked in one threat, drawn at random."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from hauberk.errors import InputError
from hauberk.threats.base import Threat
from hauberk.train.strategies.base import Batch, Loss, Tables, cross_entropy
from hauberk.train.strategies.few_steps import FewSteps, threat_draws


@dataclass(frozen=True, kw_only=True)
class RandomNorm(FewSteps):
    """Cross-entropy at the worst point of one threat, drawn at random and uniformly.

    Source: Croce & Hein 2022, "Adversarial robustness against multiple and single lp-threat models
    via quick fine-tuning of robust classifiers" (SAT).

    An example costs, in each step, the passes of one attack and one forward and one backward pass:
    23 in balls with 10 steps, however many threats there are.

    Args:
        threat: A union of threats.
        per: Draw one threat for each ``batch``, as published, or for each ``example``.

    Example:
        >>> import hauberk as hb
        >>> strategy = hb.train.RandomNorm(hb.Linf(0.3) | hb.L2(2) | hb.L1(10), per="example")
        >>> [type(strategy.attack_on(threat)).__name__ for threat in strategy.threats]
        ['APGD', 'APGD', 'MultiSteepestDescent']
    """

    per: Literal["batch", "example"] = "batch"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.per not in ("batch", "example"):
            raise InputError(f"per is '{self.per}': choose batch or example")

    def attacked(self, batch: Batch, tables: Tables, threats: Sequence[Threat]) -> Loss:
        which = self.drawn(batch)
        if self.per == "batch":
            k = int(which[0])
            found = batch.attack(self.attack_on(self.threats[k]), threats[k], stream=k)
            points = found.points
        else:
            points = self._points(batch, threats, which)
        which = which.to(batch.x.device)
        logs = {f"share {t}": (which == k).float().mean() for k, t in enumerate(self.threats)}
        return cross_entropy(batch, points, **logs)

    def drawn(self, batch: Batch) -> Tensor:
        """The number of the threat of each example, ``(B,)`` int64 on the host.

        It depends on the seed and the step, and per example on its id.
        """
        ids = batch.ids.cpu() if self.per == "example" else torch.zeros(len(batch.x)).long()
        return threat_draws(batch, ids).integers(0, (), len(self.threats))

    def _points(self, batch: Batch, threats: Sequence[Threat], which: Tensor) -> Tensor:
        points = batch.x.to(torch.promote_types(batch.x.dtype, torch.float32), copy=True)
        for k, (named, threat) in enumerate(zip(self.threats, threats, strict=True)):
            rows = (which == k).nonzero().squeeze(1).to(batch.x.device)
            if len(rows):
                found = batch.attack(
                    self.attack_on(named), threat, x=batch.x[rows], y=batch.y[rows],
                    ids=batch.ids[rows.to(batch.ids.device)], stream=k,
                )  # fmt: skip
                points[rows] = found.points
        return points
