"""What a training adds up over an epoch, and reports while it runs."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor


class Tally:
    """Sums over the minibatches of an epoch; tensors stay on the device until they are read.

    Args:
        device: Where the sums are kept.

    Attributes:
        forwards: Forward passes of the epoch so far.
        backwards: Backward passes, likewise.
        seconds: Time of its optimiser steps so far.
        attacking: Time of their attacks.

    Example:
        >>> tally = Tally(torch.device("cpu"))
        >>> tally.add("loss", 1.0, count=3)
        >>> tally.add("loss", 2.0, count=1)
        >>> means([tally.state()])
        {'loss': 1.25}
    """

    def __init__(self, device: torch.device) -> None:
        self._dtype = torch.float32 if device.type == "mps" else torch.float64
        self._device = device
        self.clear()

    def clear(self) -> None:
        """Begin an epoch."""
        self._sums: dict[str, Tensor] = {}
        self._counts: dict[str, int] = {}
        self.forwards = self.backwards = 0
        self.seconds = self.attacking = 0.0

    def add(self, name: str, value: Tensor | float, count: int) -> None:
        """Take in a scalar that is a mean over ``count`` examples."""
        old = self._sums.get(name)
        new = torch.as_tensor(value).detach().to(self._device, self._dtype) * count
        self._sums[name] = new if old is None else old + new
        self._counts[name] = self._counts.get(name, 0) + count

    def state(self) -> dict[str, Any]:
        """Everything as plain numbers; waits once for the device."""
        sums = torch.stack(list(self._sums.values())).tolist() if self._sums else []
        return {
            "sums": dict(zip(self._sums, sums, strict=True)),
            "counts": dict(self._counts),
            "forwards": self.forwards,
            "backwards": self.backwards,
            "seconds": self.seconds,
            "attacking": self.attacking,
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Continue from what :meth:`state` gave."""
        self._sums = {
            k: torch.tensor(v, dtype=self._dtype, device=self._device)
            for k, v in state["sums"].items()
        }
        self._counts = dict(state["counts"])
        self.forwards, self.backwards = state["forwards"], state["backwards"]
        self.seconds, self.attacking = state["seconds"], state["attacking"]


def means(states: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """Means over the examples of all processes, by name."""
    names = dict.fromkeys(name for state in states for name in state["sums"])
    found = {}
    for name in names:
        total = sum(state["sums"].get(name, 0.0) for state in states)
        found[name] = total / max(1, sum(state["counts"].get(name, 0) for state in states))
    return found


class Board:
    """TensorBoard files beside the run; does nothing without that package."""

    def __init__(self, out: Path | None, epoch: int) -> None:
        self._writer: Any = None
        if out is None:
            return
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError:
            return
        self._writer = SummaryWriter(str(out / "tensorboard"), purge_step=epoch + 1)

    def write(self, record: Mapping[str, Any]) -> None:
        """The numbers of one epoch."""
        if self._writer is not None:
            for name, value in record.items():
                self._writer.add_scalar(name, value, record["epoch"])
            self._writer.flush()

    def close(self) -> None:
        """Finish the files."""
        if self._writer is not None:
            self._writer.close()
