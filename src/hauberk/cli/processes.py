"""Commands in several processes: begun here, or by torchrun; the first of them speaks to people."""

import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stdout

from hauberk.errors import InputError
from hauberk.machines import launch


def launched(argv: Sequence[str], devices: int, nodes: int) -> int | None:
    """Begin a command in several processes; their exit code. None where this one does the work.

    Args:
        argv: the words after ``hauberk``.
        devices: processes on each machine; nodes: machines.

    Raises:
        InputError: for numbers below 1.
        InputError, ProcessError: as :func:`hauberk.machines.launch.launch` does.
    """
    for name, value in (("devices", devices), ("nodes", nodes)):
        if value < 1:
            raise InputError(f"{name} is {value}: give 1 or more")
    if launch.is_begun():
        launch.end_together()
        return None
    if devices * nodes == 1:
        return None
    return launch.launch(["-m", "hauberk", *argv], devices, nodes)


def wanted(devices: int, nodes: int) -> tuple[int, int]:
    """How many processes on each machine, and machines: as torchrun has it, unless said."""
    if devices * nodes == 1 and launch.is_begun():
        world, here = (int(os.environ.get(n, "1")) for n in ("WORLD_SIZE", "LOCAL_WORLD_SIZE"))
        return here, world // here
    return devices, nodes


@contextmanager
def first_speaks() -> Iterator[None]:
    """Within the block, what other processes than the first print goes nowhere."""
    if launch.rank() == 0:
        yield
        return
    with open(os.devnull, "w", encoding="utf-8") as nowhere, redirect_stdout(nowhere):
        yield


def note(devices: int, nodes: int, shard: str | None) -> str:
    """What to add to a cost that is counted for one process and all shards."""
    alone = ", in one process" if devices * nodes > 1 else ""
    return alone + (", all shards together" if shard else "")


def say(line: str) -> None:
    """A line for people beside the results, once."""
    if launch.rank() == 0:
        print(f"hauberk: {line}", file=sys.stderr)
