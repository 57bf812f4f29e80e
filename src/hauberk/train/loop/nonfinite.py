"""What stops a training: a loss or a weight that is NaN or infinite."""

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from hauberk.errors import TrainingError
from hauberk.train.loop.passes import all_finite

if TYPE_CHECKING:
    from hauberk.train.loop.trainer import Run

LOOK_EVERY = 20
"""Steps between looks at the losses on a device where looking means waiting."""


class Guard:
    """Looks at the losses and weights of a run.

    Attributes:
        look_every: steps between looks at the losses.
    """

    def __init__(self, run: "Run") -> None:
        self.run = run
        self.look_every = 1 if run.device.type == "cpu" else LOOK_EVERY
        self.pending: list[tuple[int, Tensor]] = []
        # A buffer may hold infinities for good, such as a mask.
        floats = {k: v for k, v in run.model.state_dict().items() if v.is_floating_point()}
        self.finite = [name for name, value in floats.items() if all_finite([value])]

    def note(self, value: Tensor) -> None:
        """Keep the loss of the current step, and look if it is time."""
        self.pending.append((self.run.step, value))
        if len(self.pending) >= self.look_every:
            self.look()

    def look(self) -> None:
        """Stop if a loss since the last look was not finite; waits for the device."""
        if not self.pending:
            return
        steps, losses = zip(*self.pending, strict=True)
        self.pending = []
        for step, value in zip(steps, torch.stack(losses).tolist(), strict=True):
            if not abs(value) < float("inf"):
                self.fail(f"the loss is {value}", step)

    def require_finite(self) -> None:
        """Stop if a loss or a weight is not finite; waits for the device."""
        self.look()
        run = self.run
        weights = run.model.state_dict() if run.average is None else run.average.state
        if not all_finite([*run.model.parameters(), *map(weights.__getitem__, self.finite)]):
            self.fail("a weight of the model is NaN or infinite", run.step - 1)

    def fail(self, what: str, step: int) -> None:
        """Say where a training broke, and what is left of it."""
        run = self.run
        epoch, index = divmod(step, run.loader.steps)
        ids = run.ids[run.loader.rows(epoch, index).cpu()].tolist()
        some = ", ".join(map(str, ids[:8])) + (f" and {len(ids) - 8} more" if ids[8:] else "")
        kept = f"; {run.out} keeps the checkpoint before" if run.out is not None else ""
        raise TrainingError(
            f"{what} at step {step + 1} (epoch {epoch + 1}, examples {some}){kept}: "
            "lower the learning rate, or clip the gradient (clip=1.0)",
            ids,
        )
