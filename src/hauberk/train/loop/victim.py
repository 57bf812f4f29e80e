"""The model under training as attacks see it: timed, and in the training's precision."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Self

import torch
from torch import Tensor, nn

from hauberk.victims.victim import Victim


class TrainVictim(Victim):
    """A victim that adds up the seconds that attacks hold it.

    Args:
        model: The model in training.
        batch_size: Most examples of one pass; None for as many as fit.
        autocast: Device type to run in bfloat16 on; None for the model's own precision.

    Attributes:
        seconds: Time inside :meth:`held` so far; on a GPU work still queued at the end is missed.

    Example:
        >>> from hauberk.models import MLP
        >>> victim = TrainVictim(MLP((4, 2)))
        >>> with victim.held():
        ...     shape = victim.predict(torch.rand(3, 4)).shape
        >>> shape, victim.seconds > 0
        (torch.Size([3, 2]), True)
    """

    def __init__(
        self, model: nn.Module, batch_size: int | None = None, autocast: str | None = None
    ) -> None:
        super().__init__(model, batch_size)
        self.autocast = autocast
        self.seconds = 0.0
        self._depth = 0

    @contextmanager
    def held(self) -> Iterator[Self]:
        """Eval mode (or as asked for) and frozen parameters for the time of the block."""
        begun = time.perf_counter()
        self._depth += 1
        try:
            with super().held():
                yield self
        finally:
            self._depth -= 1
            if not self._depth:
                self.seconds += time.perf_counter() - begun

    def logits(self, x: Tensor, soften: float = 0.0) -> Tensor:
        """``(B, ...) -> (B, C)`` in the model's dtype."""
        if self.autocast is None:
            return super().logits(x, soften)
        with torch.autocast(self.autocast, torch.bfloat16):
            return super().logits(x, soften).to(self.dtype)
