"""What a strategy is: how a minibatch becomes a loss. The trainer knows nothing of threats."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from hauberk.engine.method import Job, Method, WarmStart
from hauberk.engine.outcome import Outcome
from hauberk.threats.base import Box, Threat
from hauberk.victims.victim import Victim

Tables = dict[str, Tensor]
"""What a strategy keeps of the training examples: tensors with one row each, by example number."""


@dataclass
class Batch:
    """One minibatch, and what a strategy may use to make a loss of it.

    Attributes:
        model: The model in train mode, for the loss: ``model(x)`` gives logits on the graph of the
            parameters.
        victim: The same model for attacks: eval mode (or as asked for) and frozen while they run.
        x: Inputs ``(B, ...)``, augmented.
        y: Labels ``(B,)``.
        ids: Numbers of the examples ``(B,)``, which index a strategy's tables.
        step: Optimiser steps done so far.
        epoch: Epochs done so far.
        progress: Share of the training done, in [0, 1).
        seed: Seed of the training.
        box: Valid range of the inputs.

    Example:
        >>> import hauberk as hb
        >>> from hauberk.models import MLP
        >>> model = MLP((4, 2))
        >>> x, y, ids = torch.rand(3, 4), torch.tensor([0, 1, 0]), torch.arange(3)
        >>> batch = Batch(
        ...     model=model, victim=Victim(model), x=x, y=y, ids=ids,
        ...     step=0, epoch=0, progress=0.0, seed=0, box=Box(),
        ... )
        >>> batch.attack(hb.attacks.PGD(loss="ce", steps=3), hb.Linf(0.1)).points.shape
        torch.Size([3, 4])
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
        self, attack: Method, threat: Threat, *, x: Tensor | None = None, y: Tensor | None = None,
        ids: Tensor | None = None, stream: int = 0, stop: bool = False,
        warm: WarmStart | None = None,
    ) -> Outcome:  # fmt: skip
        """An attack on the batch, or on other inputs; its draws change from step to step.

        ``stop=False``: every example is attacked to the end, for the largest loss.
        """
        job = Job(
            threat=threat, x=self.x if x is None else x, y=self.y if y is None else y,
            ids=self.ids if ids is None else ids, box=self.box,
            seed=self.seed + 1_000_003 * self.step, stream=stream, stop=stop, warm=warm,
        )  # fmt: skip
        return attack.run(self.victim, job)


@dataclass
class Loss:
    """What a strategy makes of a batch.

    Attributes:
        value: A scalar on the graph, a mean over the examples of the batch.
        logs: Scalars off the graph to write down, e.g. the mean weight of each threat, under names
            that the history does not use itself (``epoch``, ``step``, ``loss``, ...).
        forwards: Forward passes of the training loss itself (not of attacks). The trainer counts
            those through ``batch.model``; only others need to be given here.
        backwards: Backward passes, likewise.

    Example:
        >>> parameter = torch.ones((), requires_grad=True)
        >>> Loss(parameter**2, logs={"weight": parameter.detach()}).value.item()
        1.0
    """

    value: Tensor
    logs: dict[str, Tensor] = field(default_factory=dict)
    forwards: int = 0
    backwards: int = 0


@dataclass(frozen=True, kw_only=True)
class Strategy(ABC):
    """How to train: frozen hyper-parameters with the papers' defaults, and the :meth:`loss`.

    A new one is a file in ``train/strategies`` and an export of ``hauberk.train``; its name then
    works in ``hauberk train --strategy`` too.

    Example:
        >>> @dataclass(frozen=True, kw_only=True)
        ... class LabelSmoothing(Strategy):
        ...     share: float = 0.1
        ...
        ...     def loss(self, batch, tables):
        ...         logits = batch.model(batch.x)
        ...         return Loss(F.cross_entropy(logits, batch.y, label_smoothing=self.share))
        >>> LabelSmoothing(share=0.2).describe()
        {'strategy': 'LabelSmoothing', 'share': 0.2}
    """

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
        """Whether attacks use softened gradients, which must be possible with the model."""
        return False

    def begin(self, examples: int, device: torch.device) -> Tables:
        """Tables with one row for each of so many training examples; :meth:`loss` writes rows."""
        return {}

    def noted(self, tables: Tables) -> dict[str, Tensor]:
        """Numbers of the examples, ``(N,)`` each, whose spread the history keeps of every epoch.

        The history has five numbers of each, under its name and ``low``, ``q1``, ``median``, ``q3``
        and ``high``: the quartiles, and the ends of the whiskers.
        """
        return {}

    @abstractmethod
    def loss(self, batch: Batch, tables: Tables) -> Loss:
        """The loss of one minibatch; may write the rows ``batch.ids`` of the tables."""

    def describe(self) -> dict[str, Any]:
        """Name and hyper-parameters, as ``config.json`` records them."""
        own = {f.name: getattr(self, f.name) for f in fields(self)}
        return {"strategy": type(self).__name__, **{k: _plain(v) for k, v in own.items()}}


def cross_entropy(batch: Batch, x: Tensor, **logs: Tensor) -> Loss:
    """Mean cross-entropy in train mode at ``x``: one forward and one backward pass an example."""
    value = F.cross_entropy(batch.model(x), batch.y)
    return Loss(value, logs, forwards=len(x), backwards=len(x))


def empty_loss(batch: Batch) -> Loss:
    """The loss of a batch without examples: 0, on the graph of the parameters."""
    return Loss(batch.model(batch.x).sum())


def divergence(clean: Tensor, other: Tensor) -> Tensor:
    """Kullback-Leibler divergence KL(softmax(clean) || softmax(other)), in nats.

    Args:
        clean: Logits ``(B, C)``.
        other: Logits ``(B, C)``.

    Returns:
        ``(B,)``, differentiable in both.

    Example:
        >>> logits = torch.tensor([[0.0, 0.0], [1.0, -1.0]])
        >>> divergence(logits, logits)
        tensor([0., 0.])
    """
    # Infinite logits would make a NaN of 0 * inf.
    p, q = (F.log_softmax(z.clamp(-1e30, 1e30), dim=1) for z in (clean, other))
    return F.kl_div(q, p, reduction="none", log_target=True).sum(1)


def grown(threat: Threat, share: float) -> Threat:
    """The threat at a share of its size, for curricula."""
    return threat if share >= 1 else threat.scaled(share)


def _plain(value: Any) -> Any:
    if isinstance(value, Threat):
        return str(value)
    if isinstance(value, Method):
        return value.describe()
    if isinstance(value, list | tuple):
        return [_plain(v) for v in value]
    if isinstance(value, Mapping):
        return {str(word): _plain(v) for word, v in value.items()}
    return value
