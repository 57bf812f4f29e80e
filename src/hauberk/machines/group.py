"""The processes that share a run: what they say to each other, and how work is dealt to them.

They exchange words, never tensors. So they need no process group, and no backend that suits their
devices: the store of torch.distributed carries the words, beside CPUs and GPUs alike.
"""

import json
import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import timedelta
from functools import cache
from typing import Any, TypeVar

from torch import distributed

from hauberk.errors import InputError, ProcessError
from hauberk.machines.launch import is_begun

T = TypeVar("T")

PAUSE = 0.05
"""Seconds between two looks for a word."""

LAST = 60.0
"""Most seconds that the first process waits for the others to hear its last word."""


class Group:
    """The processes of a run, as one of them sees it.

    Args:
        rank: number of this process, from 0.
        world: how many there are.
        words: the store that they share; None of one process alone.
        look: called while it waits; raises if another process has gone.

    Example:
        >>> list(Group().deal("abc"))
        ['a', 'b', 'c']
    """

    def __init__(
        self,
        rank: int = 0,
        world: int = 1,
        words: Any = None,
        look: Callable[[], None] | None = None,
    ) -> None:
        self.rank, self.world = rank, world
        self._words, self._look, self._runs = words, look, 0

    @property
    def is_first(self) -> bool:
        """Whether this is the process that speaks to people."""
        return self.rank == 0

    @property
    def is_alone(self) -> bool:
        """Whether there is no other."""
        return self.world == 1

    @contextmanager
    def run(self) -> Iterator["Group"]:
        """All of them do the same run within the block: if it fails in one, it does in all."""
        self._runs += 1
        try:
            yield self
        except BaseException as error:
            with suppress(Exception):
                self.say("failed", [self.rank, str(error) or type(error).__name__])
            raise

    def say(self, name: str, value: Any = None) -> None:
        """Let the others :meth:`hear` a value that JSON can hold."""
        if not self.is_alone:
            self._words.set(self._key(name), json.dumps(value))

    def heard(self, name: str) -> list[Any]:
        """What was said under a name, as the one item of a list; none as long as nothing was.

        Raises:
            ProcessError: if the run has failed in another process, or the store is gone.
        """
        if self._look is not None:
            self._look()
        try:
            if self._words.check([self._key("failed")]):
                rank, why = json.loads(self._words.get(self._key("failed")))
                raise ProcessError(f"process {rank} of {self.world} stopped: {why}")
            key = self._key(name)
            return [json.loads(self._words.get(key))] if self._words.check([key]) else []
        except distributed.DistError as error:
            raise ProcessError(f"process 0 of {self.world} has gone") from error

    def hear(self, name: str, meanwhile: Callable[[], None] | None = None) -> Any:
        """Wait for what another process says under a name.

        Raises:
            ProcessError: as :meth:`heard` does.
        """
        while not (found := self.heard(name)):
            if meanwhile is not None:
                meanwhile()
            time.sleep(PAUSE)
        return found[0]

    def after_first(self, name: str) -> None:
        """The others wait here until the first has come here."""
        if self.is_first:
            self.say(name)
        else:
            self.hear(name)

    def deal(self, items: Sequence[T]) -> Iterator[T]:
        """The items that fall to this process: each time the next that no other has taken."""
        if self.is_alone:
            yield from items
            return
        while True:
            self.heard("")
            number = self._words.add(self._key("dealt"), 1) - 1
            if number >= len(items):
                return
            yield items[number]

    def gather(
        self, name: str, value: Any, meanwhile: Callable[[], None] | None = None
    ) -> list[Any]:
        """The values of all, in order, for the first; of the others, their own."""
        if self.is_first:
            others = range(1, self.world)
            return [value, *(self.hear(f"{name}.{rank}", meanwhile) for rank in others)]
        self.say(f"{name}.{self.rank}", value)
        return [value]

    def part(self) -> None:
        """The last of a run: the first process, which may keep the store, leaves last."""
        late = time.monotonic() + LAST
        if self.is_first:
            with suppress(ProcessError):
                self.gather("left", None, lambda: _require_before(late))
        else:
            self.say(f"left.{self.rank}")

    def _key(self, name: str) -> str:
        return f"hauberk.{self._runs}.{name}"


def together(devices: int, nodes: int = 1) -> Group:
    """The group of ``devices`` processes on each of ``nodes`` machines that torchrun began.

    Raises:
        InputError: if it began another number of processes, or none.
    """
    if devices * nodes == 1:
        return Group()
    world = int(os.environ.get("WORLD_SIZE", "1")) if is_begun() else 1
    if world != devices * nodes:
        raise InputError(
            f"{devices * nodes} processes are wanted but {world} run: start the script with "
            f"torchrun --nproc-per-node={devices}" + (f" --nnodes={nodes}" if nodes > 1 else "")
        )
    return _begun()


@cache
def _begun() -> Group:
    """The group that torchrun began."""
    rank, world = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
    there = os.environ.get("TORCHELASTIC_USE_AGENT_STORE") == "True"  # torchrun's own store
    words = distributed.TCPStore(  # type: ignore[attr-defined]
        os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"]), world,
        is_master=rank == 0 and not there, timeout=timedelta(minutes=5), wait_for_workers=False,
        multi_tenant=True,
    )  # fmt: skip
    return Group(rank, world, words)


def _require_before(late: float) -> None:
    if time.monotonic() > late:
        raise ProcessError("the others do not answer")
