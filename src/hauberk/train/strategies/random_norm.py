"""Random norm: each batch, or example, is attacked in one threat, drawn at random."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from hauberk.attacks import APGD
from hauberk.attacks.base import Attack
from hauberk.errors import InputError
from hauberk.maths.rng import Draws
from hauberk.threats.ball import Ball
from hauberk.threats.base import Threat
from hauberk.train.strategies.adversarial import Several, usual_attack
from hauberk.train.strategies.base import Batch, Loss, Memory, cross_entropy


@dataclass(frozen=True, kw_only=True)
class RandomNorm(Several):
    """Cross-entropy at the worst point of one threat that is drawn at random, uniformly.

    Source: Croce & Hein 2022, "Adversarial robustness against multiple and single lp-threat models
    via quick fine-tuning of robust classifiers" (SAT).

    Per example and step: the passes of one attack, and one each way; 23 in balls with 10 steps,
    however many threats there are.

    Args:
        steps: of the usual attack: Auto-PGD in balls (the authors' choice in l1 as well), but in l1
            the steps of :func:`hauberk.train.strategies.adversarial.usual_attack`, which did as
            well.
        per: draw for each ``batch``, as published, or for each ``example``.
    """

    steps: int | None = 10
    per: Literal["batch", "example"] = "batch"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.per not in ("batch", "example"):
            raise InputError(f"per is '{self.per}': choose batch or example")

    def usual(self, threat: Threat) -> Attack:
        return few_steps(threat, self.steps or 10)

    def attacked(self, batch: Batch, memory: Memory, threats: Sequence[Threat]) -> Loss:
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
        return choice(batch, ids).integers(0, (), len(self.threats))

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


def few_steps(threat: Threat, steps: int) -> Attack:
    """Auto-PGD on cross-entropy in balls of p > 1; elsewhere, l1 included, the usual attack."""
    if isinstance(threat, Ball) and threat.p > 1:
        return APGD(loss="ce", steps=steps)
    return usual_attack(threat, steps)


def choice(batch: Batch, ids: Tensor) -> Draws:
    """Random numbers for the choice of a threat, apart from those of the attacks."""
    return Draws.of(batch.seed, ids, _CHOICE, batch.step)


_CHOICE = 0x6E6F726D
