"""What an attack is asked to solve: regions, labels and random numbers, one row per slot."""

from dataclasses import dataclass, field

import torch
from torch import Tensor

from hauberk.maths.rng import Draws
from hauberk.maths.rows import Rows
from hauberk.maths.steps import per_example
from hauberk.threats.base import Region


@dataclass(kw_only=True)
class Problem(Rows):
    """What is asked of an attack, one row per slot.

    Attributes:
        region: the threat around the clean inputs.
        y: labels, ``(S,)`` int64.
        target: target classes, ``(S,)`` int64, or None.
        draws: each slot's own random numbers.
        warm: inputs ``(S, ...)`` to start from, which may lie outside the threat, for the slots
            whose ``has_warm`` (S,) is set; None for none. They are there in ``init`` only.
        index: each slot's row of the batch that the attack was called on, ``(S,)`` int64, to look
            up what the caller knows of it; None where there is no batch.
    """

    region: Region
    y: Tensor
    target: Tensor | None
    draws: Draws
    warm: Tensor | None = field(default=None, repr=False)
    has_warm: Tensor | None = None
    index: Tensor | None = None

    def start(self, random: bool = False, region: Region | None = None) -> Tensor:
        """Where to start: the projected warm start, else the clean input.

        Args:
            random: a random point of the threat instead of the clean input.
            region: another size of the threat, its own by default.
        """
        region = self.region if region is None else region
        return self.start_from(region.random(self.draws, 0) if random else region.start(), region)

    def start_from(self, u: Tensor, region: Region | None = None) -> Tensor:
        """``u`` (S, ...), but the projected warm start where there is one."""
        region = self.region if region is None else region
        if self.warm is None or self.has_warm is None:
            return u
        near = region.encode(self.warm)
        if near is None:
            return u
        near = region.project_(near.to(u, copy=True))
        return torch.where(per_example(self.has_warm, u), near, u)

    def if_warm(self, warm: Tensor, otherwise: Tensor) -> Tensor:
        """``warm`` (S,) for the slots that have a warm start, ``otherwise`` (S,) for the rest."""
        return otherwise if self.has_warm is None else torch.where(self.has_warm, warm, otherwise)
