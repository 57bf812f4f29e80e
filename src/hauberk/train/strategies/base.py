"""What a strategy is: it says how a batch becomes a loss. The trainer knows nothing of threats."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, fields
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from hauberk.attacks.base import Attack
from hauberk.engine.outcome import Outcome
from hauberk.threats.base import Box, Threat
from hauberk.victims.victim import Victim

Memory = dict[str, Tensor]
"""Tables with one row per training example, by example number: kept, saved and shared as one."""


@dataclass
class Batch:
    """One minibatch, and all that a strategy may want to know.

    Attributes:
        model: the model in train mode, for the loss: ``model(x)`` gives logits on the graph of the
            parameters.
        victim: the same model for attacks: eval mode (or as asked for) and frozen while they run.
        x: ``(B, ...)``, augmented; y: ``(B,)``; ids: ``(B,)`` numbers of the examples, which index
            a strategy's memory.
        step: optimiser steps done so far; epoch: epochs done; progress: share of the training done,
            in [0, 1).
        seed, box: those of the training.
    """

    model: Callable[[Tensor], Tensor]
    victim: Victim
    x: Tensor
    y: Tensor
    ids: Tensor
    step: int
    epoch: int
    progress: float
    seed: int
    box: Box

    def attack(
        self, attack: Attack, threat: Threat, *, x: Tensor | None = None, y: Tensor | None = None,
        ids: Tensor | None = None, stream: int = 0, stop: bool = False, **options: Any,
    ) -> Outcome:  # fmt: skip
        """An attack on the batch, or on other inputs; its draws change from step to step.

        ``stop=False``: every example is attacked to the end, for the largest loss.
        """
        return attack.run(
            self.victim, threat, self.x if x is None else x, self.y if y is None else y,
            box=self.box, seed=self.seed + 1_000_003 * self.step,
            ids=self.ids if ids is None else ids, stop=stop, stream=stream, **options,
        )  # fmt: skip


@dataclass
class Loss:
    """What a strategy makes of a batch.

    Attributes:
        value: a scalar on the graph, a mean over the examples of the batch.
        logs: scalars off the graph to write down, e.g. the mean weight of each threat, under names
            that the history does not use itself (``epoch``, ``step``, ``loss``, ...).
        forwards, backwards: passes of the training loss itself (not of attacks) per call. The
            trainer counts those through ``batch.model``, so that only others need telling.
    """

    value: Tensor
    logs: dict[str, Tensor] = field(default_factory=dict)
    forwards: int = 0
    backwards: int = 0


@dataclass(frozen=True, kw_only=True)
class Strategy(ABC):
    """How to train. Frozen hyper-parameters with the papers' defaults; see :meth:`loss`."""

    def check(self, x: Tensor, y: Tensor, box: Box) -> None:
        """Refuse, before epoch 0, what cannot be trained on, from a few examples.

        Raises:
            InputError: naming the threat and what to do.
        """
        for threat in self.threats:
            threat.at(x[:1], box)

    @property
    def threats(self) -> Sequence[Threat]:
        """The threats that are trained against."""
        return ()

    @property
    def softens(self) -> bool:
        """Whether attacks go by softened gradients, which must be possible with the model."""
        return False

    def begin(self, examples: int, device: torch.device) -> Memory:
        """Tables with one row for each of so many training examples; :meth:`loss` writes rows."""
        return {}

    @abstractmethod
    def loss(self, batch: Batch, memory: Memory) -> Loss:
        """The loss of one minibatch; may write the rows ``batch.ids`` of the memory."""

    def describe(self) -> dict[str, Any]:
        """Name and hyper-parameters, as the run's configuration records them."""
        told = {f.name: getattr(self, f.name) for f in fields(self)}
        return {"strategy": type(self).__name__, **{k: _plain(v) for k, v in told.items()}}


def cross_entropy(batch: Batch, x: Tensor, **logs: Tensor) -> Loss:
    """Mean cross-entropy of the model in train mode at ``x``, one pass each way per example."""
    value = F.cross_entropy(batch.model(x), batch.y)
    return Loss(value, logs, forwards=len(x), backwards=len(x))


def grown(threat: Threat, share: float) -> Threat:
    """The threat at a share of its size, for curricula."""
    return threat if share >= 1 else threat.scaled(share)


def _plain(value: Any) -> Any:
    if isinstance(value, Threat):
        return str(value)
    if isinstance(value, Attack):
        return value.describe()
    if isinstance(value, list | tuple):
        return [_plain(v) for v in value]
    return value
