"""What a training returns."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torch import nn


@dataclass(frozen=True)
class Trained:
    """The result of :func:`hauberk.train.fit`.

    Attributes:
        model: The model that was passed in, in eval mode, with the selected weights.
        history: One record of numbers per epoch: loss, logs, accuracies, learning rate, passes,
            seconds.
        summary: The selected epoch and its accuracies; passes and seconds of the whole training.
        paths: The files written, by what they are; empty without ``out``.

    Example:
        >>> import torch
        >>> import hauberk as hb
        >>> from hauberk.models import MLP
        >>> data = torch.rand(8, 4), torch.arange(8) % 2
        >>> trained = hb.train.fit(MLP((4, 2)), data, hb.train.Standard(), epochs=2)
        >>> len(trained.history), trained.summary["forwards"], trained.paths
        (2, 16, {})
    """

    model: nn.Module
    history: list[dict[str, Any]]
    summary: dict[str, Any]
    paths: dict[str, Path] = field(default_factory=dict)
