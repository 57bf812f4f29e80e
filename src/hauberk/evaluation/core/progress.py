"""Where a run stands."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from math import inf

from hauberk.victims.victim import Victim


@dataclass(frozen=True)
class Progress:
    """Where a run stands.

    Attributes:
        done: share of its work, from 0 to 1.
        doing: what it is at, in a few words.
        forwards, backwards: passes that this process has spent so far.

    Example:
        >>> Progress(0.5, "linf:0.3 apgd", 200, 190).done
        0.5
    """

    done: float
    doing: str
    forwards: int
    backwards: int


class Reporter:
    """Adds up the shares of a run's tasks and calls ``progress`` with the sum.

    Args:
        progress: called with a :class:`Progress`; None for nobody.
        victims: whose passes count.
        total: of all weights that :meth:`finish` will get.
    """

    def __init__(
        self, progress: Callable[[Progress], None] | None, victims: Sequence[Victim], total: float
    ) -> None:
        self.progress, self.victims, self.total = progress, victims, total
        self.done, self.most = 0.0, inf
        self.doing = ""
        self.first = self.passes()

    def passes(self) -> tuple[int, int]:
        """Forwards and backwards of all victims."""
        return sum(v.forwards for v in self.victims), sum(v.backwards for v in self.victims)

    def within(self, weight: float, doing: str) -> Callable[[int, int], None]:
        """A callback for one task: called with jobs done and jobs in all."""

        def report(settled: int, jobs: int) -> None:
            self._send(self.done + weight * (settled / max(1, jobs)), doing)

        return report

    @contextmanager
    def share(self, weight: float) -> Iterator[None]:
        """Within the block, tasks finish no more than that; after it, that much is finished."""
        self.most = self.done + weight
        yield
        self.done, self.most = self.most, inf

    def finish(self, weight: float, doing: str) -> None:
        """A task of that weight is done, or was left out."""
        self.done = min(self.done + weight, self.most)
        self._send(self.done, doing)

    def again(self) -> None:
        """Report once more where the run stands: others may have gone on."""
        self._send(self.done, self.doing)

    def _send(self, done: float, doing: str) -> None:
        self.doing = doing
        if self.progress is not None:
            spent = [now - then for now, then in zip(self.passes(), self.first, strict=True)]
            self.progress(Progress(min(min(done, self.most) / self.total, 1.0), doing, *spent))
