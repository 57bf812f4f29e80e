"""Live progress of long work: share done, time left, cost so far."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Protocol

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.text import Text


class _Event(Protocol):
    @property
    def done(self) -> float: ...
    @property
    def doing(self) -> str: ...
    @property
    def forwards(self) -> int: ...
    @property
    def backwards(self) -> int: ...


@contextmanager
def shown(every: float = 10.0) -> Iterator[Callable[[_Event], None]]:
    """A callback that shows progress on stderr: a bar on a terminal, else a line now and then.

    Args:
        every: seconds between lines when stderr is no terminal.
    """
    console = Console(stderr=True)
    begun = time.monotonic()
    if not console.is_terminal:
        last = begun

        def line(event: _Event) -> None:
            nonlocal last
            now = time.monotonic()
            if now - last >= every:
                last = now
                print(
                    f"{event.done:4.0%} {event.doing}, {_left(event.done, now - begun)}, "
                    f"{_cost(event)}",
                    file=sys.stderr,
                    flush=True,
                )

        yield line
        return
    with Progress(
        TextColumn("{task.description:24.24}"),
        BarColumn(bar_width=20),
        TextColumn("{task.percentage:3.0f}%"),
        TimeElapsedColumn(),
        TextColumn("{task.fields[left]}, {task.fields[cost]}"),
        console=console,
        transient=True,
        refresh_per_second=4,
    ) as bar:
        task = bar.add_task("clean", total=1.0, left="", cost="")

        def update(event: _Event) -> None:
            left = _left(event.done, time.monotonic() - begun)
            bar.update(
                task, completed=event.done, description=Text(event.doing).plain, left=left,
                cost=_cost(event),
            )  # fmt: skip

        yield update


def _left(done: float, seconds: float) -> str:
    """At most so long, since points that break leave early."""
    if done < 0.01:
        return "time left unknown"
    minutes, rest = divmod(int(seconds / done * (1 - done)), 60)
    return f"≤ {minutes}:{rest:02d} left"


def _cost(event: _Event) -> str:
    return f"{event.forwards + event.backwards:,} passes"
