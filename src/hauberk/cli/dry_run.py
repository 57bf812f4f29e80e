"""The one dry run: the most that a command can cost, from one timed pass; nothing is written."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor, nn

    from hauberk.data import Dataset
    from hauberk.evaluation.core.prepare import Setting
    from hauberk.victims.victim import Victim


@dataclass(frozen=True)
class Cost:
    """One line of a dry run.

    Args:
        seconds: the time of all examples together.
        passes: how many for each example, in words: ``at most 120``; None to leave them out.
        name: of what, where there are several lines.
        note: what follows, such as what makes it cheaper.
    """

    seconds: float
    passes: str | None = None
    name: str = ""
    note: str = ""

    def __str__(self) -> str:
        parts = [] if self.passes is None else [f"{self.passes} passes per example"]
        line = " and ".join([*parts, f"about {duration(self.seconds)}"])
        return (f"{self.name}: " if self.name else "") + line + self.note


@dataclass(frozen=True)
class Trial:
    """A model tried on the data as far as a run would before its first attack.

    Attributes:
        victim: the model, or its average if its outputs change between identical calls.
        x, y: inputs (N, ...) and labels (N,) as a run takes them.
        seconds: of one pass of one example.
        classes: how many the model tells apart.
        setting: what a question is asked of.
    """

    victim: "Victim"
    x: "Tensor"
    y: "Tensor"
    seconds: float
    classes: int
    setting: "Setting"


def tried(
    model: "nn.Module",
    data: "Dataset",
    box: tuple[float, float],
    seed: int,
    batch_size: int | None,
) -> Trial:
    """Check model and data, and time a pass.

    Raises:
        InputError: for what a run would refuse before its first attack.
    """
    from hauberk.evaluation.core.options import RunOptions
    from hauberk.evaluation.core.prepare import prepare

    options = RunOptions(box=box, seed=seed, batch_size=batch_size)
    setting = prepare({"model": model}, data.images, data.labels, options)
    victim, x = setting.victim, setting.x
    few = x[: victim.batch_size(x[:1])].to(victim.device)
    with victim.held():
        begun = time.perf_counter()
        u = few.clone().requires_grad_(True)
        # Moved to the host, the gradient is there: a GPU would still be computing it.
        victim.gradient(victim.logits(u).sum(), None, u).cpu()
        seconds = (time.perf_counter() - begun) / 2 / len(few)
    return Trial(victim, x, setting.y, seconds, setting.classes, setting)


def print_costs(what: str, costs: Sequence[Cost]) -> int:
    """Print what a run would do and cost; returns the exit code."""
    print(f"{what}:")
    for cost in costs:
        print(cost)
    return 0


def duration(seconds: float) -> str:
    """A time, rounded for people."""
    if seconds < 9.5:
        return f"{seconds:.2g} seconds"
    return f"{seconds:.0f} seconds" if seconds < 100 else f"{seconds / 60:.1f} minutes"
