"""What stops a training: a loss or a weight that is NaN or infinite."""

from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn

from hauberk.errors import TrainingError
from hauberk.train.loop.ema import EMA
from hauberk.train.loop.passes import all_finite

CHECK_EVERY = 20
"""Steps between checks of the losses on a device where reading them means waiting."""


class NonFinite:
    """Watches the losses and weights of a training, and ends it when one is not finite.

    Args:
        model: The model in training.
        ema: The average of its weights.
        where: The epoch (from 0) of a step, and the ids of the examples in its minibatch.
        device: Where the model is trained: on the CPU each loss is checked, elsewhere every
            ``CHECK_EVERY`` steps.
        out: Folder of the training, for the message.
    """

    def __init__(
        self, model: nn.Module, ema: EMA, where: Callable[[int], tuple[int, list[int]]],
        device: torch.device, out: Path | None,
    ) -> None:  # fmt: skip
        self.model, self.ema, self.where, self.out = model, ema, where, out
        self.check_every = 1 if device.type == "cpu" else CHECK_EVERY
        self._pending: list[tuple[int, Tensor]] = []
        # A buffer may hold infinities for good, such as a mask.
        floats = {k: v for k, v in model.state_dict().items() if v.is_floating_point()}
        self._finite = [name for name, value in floats.items() if all_finite([value])]

    def note(self, step: int, loss: Tensor) -> None:
        """Keep the loss of a step, and check those noted if it is time."""
        self._pending.append((step, loss))
        if len(self._pending) >= self.check_every:
            self.check()

    def check(self) -> None:
        """Raise `TrainingError` if a loss noted was not finite; waits for the device."""
        if not self._pending:
            return
        steps, losses = zip(*self._pending, strict=True)
        self._pending = []
        for step, value in zip(steps, torch.stack(losses).tolist(), strict=True):
            if not abs(value) < float("inf"):
                self.fail(f"the loss is {value}", step)

    def require_finite(self, step: int) -> None:
        """Raise `TrainingError` if a loss or a weight after ``step`` is not finite; waits too."""
        self.check()
        weights = self.ema.weights()
        if not all_finite([*self.model.parameters(), *map(weights.__getitem__, self._finite)]):
            self.fail("a weight of the model is NaN or infinite", step)

    def fail(self, what: str, step: int) -> None:
        """Raise `TrainingError`: where the training broke, and what is left of it."""
        epoch, ids = self.where(step)
        some = ", ".join(map(str, ids[:8])) + (f" and {len(ids) - 8} more" if ids[8:] else "")
        kept = f"; {self.out} keeps the checkpoint before" if self.out is not None else ""
        raise TrainingError(
            f"{what} at step {step + 1} (epoch {epoch + 1}, examples {some}){kept}: "
            "lower the learning rate, or clip the gradient (clip=1.0)",
            ids,
        )
