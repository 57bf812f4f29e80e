"""The moving average of a model's weights."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor, nn


class EMA:
    """Exponential moving average of a model: ``a <- decay * a + (1 - decay) * w`` each step.

    Floating-point buffers (running statistics) are averaged alike; other entries are copied. It
    starts at the initial weights.

    Args:
        model: The model in training.
        decay: Between 0 and 1; None for no average: :meth:`weights` are then those of the model.

    Example:
        >>> layer = nn.Linear(1, 1, bias=False)
        >>> ema = EMA(layer, decay=0.75)
        >>> before = layer.weight.item()
        >>> _ = nn.init.constant_(layer.weight, before + 4.0)
        >>> ema.update()
        >>> round(ema.weights()["weight"].item() - before, 4)
        1.0
    """

    def __init__(self, model: nn.Module, decay: float | None) -> None:
        self.model, self.decay = model, decay
        own = {} if decay is None else model.state_dict()
        self._average = {k: v.detach().clone() for k, v in own.items()}

    @torch.no_grad()
    def update(self) -> None:
        """Take in the weights as they are now."""
        if self.decay is None:
            return
        averages: list[Tensor] = []
        weights: list[Tensor] = []
        for name, value in self.model.state_dict().items():
            if value.is_floating_point():
                averages.append(self._average[name])
                weights.append(value)
            else:
                self._average[name].copy_(value)
        torch._foreach_lerp_(averages, weights, 1 - self.decay)

    def weights(self) -> dict[str, Tensor]:
        """The state dict to validate and keep: the average, or the model's own without one."""
        return self.model.state_dict() if self.decay is None else self._average

    @contextmanager
    def applied(self) -> Iterator[None]:
        """The model with :meth:`weights` for the time of the block."""
        if self.decay is None:
            yield
            return
        own = {k: v.detach().clone() for k, v in self.model.state_dict().items()}
        self.model.load_state_dict(self._average)
        try:
            yield
        finally:
            self.model.load_state_dict(own)

    def state(self) -> dict[str, Tensor] | None:
        """What a checkpoint keeps."""
        return None if self.decay is None else self._average

    def restore(self, state: Mapping[str, Tensor] | None) -> None:
        """Continue from what :meth:`state` gave."""
        for name, value in (state or {}).items():
            self._average[name].copy_(value)
