"""The one dry run: the most that a command can cost, from one timed pass; nothing is written."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hauberk.data.dataset import OpenDataset
    from hauberk.evaluation.core.options import RunOptions
    from hauberk.evaluation.core.prepare import Model, Setting
    from hauberk.evaluation.core.question import Question
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
    """A question tried on models and data as far as a run would go before its first attack.

    Attributes:
        question: bound to them; None if there was none to bind.
        setting: models and data as the run takes them.
        seconds: of one pass of one example through all models.
    """

    question: Any
    setting: "Setting"
    seconds: float

    @property
    def n(self) -> int:
        """Examples that the run takes."""
        return self.setting.y.numel()

    def cost(self, passes: int, name: str = "", note: str = "", *, limit: str = "at most") -> Cost:
        """What so many passes per example through each model cost; ``limit`` says how certainly."""
        draws = sum(victim.draws for victim in self.setting.victims.values())
        return Cost(passes * self.seconds * self.n, f"{limit} {passes * draws}", name, note)


def tried(
    question: "Question[Any] | None",
    models: "Mapping[str, Model]",
    data: "OpenDataset",
    options: "RunOptions",
) -> Trial:
    """Check models, data and question, and time a pass.

    Raises:
        InputError: for what a run would refuse before its first attack.
    """
    from hauberk.evaluation.core.prepare import prepare, with_sizes

    setting = prepare(models, data.images, data.labels, options)
    seconds = sum(_seconds(victim, setting.x) for victim in setting.victims.values())
    if question is not None:
        setting = with_sizes(setting, question.sizes())
        question, setting = question.bind(setting)
        for task in question.tasks(setting):
            task.check(setting)
    return Trial(question, setting, seconds)


def print_costs(what: str, costs: Sequence[Cost]) -> int:
    """Print what a run would do and cost; returns the exit code."""
    print(f"{what}:", *costs, sep="\n")
    return 0


def duration(seconds: float) -> str:
    """A time, rounded for people."""
    if seconds < 9.5:
        return f"{seconds:.2g} seconds"
    return f"{seconds:.0f} seconds" if seconds < 100 else f"{seconds / 60:.1f} minutes"


def _seconds(victim: "Victim", x: Any) -> float:
    """The time of one pass of one example."""
    few = x[: victim.batch_size(x[:1])].to(victim.device)
    with victim.held():
        begun = time.perf_counter()
        u = few.clone().requires_grad_(True)
        # Moved to the host, the gradient is there: a GPU would still be computing it.
        victim.gradient(victim.logits(u).sum(), None, u).cpu()
        return (time.perf_counter() - begun) / 2 / len(few)
