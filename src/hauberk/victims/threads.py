"""How many threads of the CPU a run takes: asked for, or found by timing a pass of its model."""

import logging
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

import torch
from torch import Tensor

from hauberk.errors import InputError
from hauberk.victims.victim import Victim

VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS")
"""Variables of the environment that decide, if one is set."""

GAIN = 0.9
"""More threads are worth taking if a pass takes at most this share of its time."""

REPEATS = 3
"""Passes timed at each number, of which the fastest counts; fewer of slow ones."""

SLOW = 0.3
"""Seconds after which a number of threads is timed no further."""

log = logging.getLogger("hauberk")


@dataclass(frozen=True)
class Threads:
    """A number of threads, and why it is that one.

    Attributes:
        number: of threads.
        why: in a few words.
        timed: seconds of a pass at each number that was tried; empty if none was.

    Example:
        >>> print(Threads(2, "timed", {1: 0.025, 2: 0.0131, 4: 0.0128}))
        2 threads (a pass takes 25 ms with 1, 13.1 ms with 2, 12.8 ms with 4)
    """

    number: int
    why: str
    timed: Mapping[int, float] = field(default_factory=dict)

    @classmethod
    def of_torch(cls) -> "Threads":
        """As many as torch is set to."""
        return cls(torch.get_num_threads(), "as torch is set")

    def __str__(self) -> str:
        times = [f"{1000 * seconds:.3g} ms with {n}" for n, seconds in self.timed.items()]
        why = f"a pass takes {', '.join(times)}" if times else self.why
        return f"{self.number} thread{'s' if self.number > 1 else ''} ({why})"

    @contextmanager
    def used(self) -> Iterator[None]:
        """Torch computes with so many within the block, and with as many as before after it."""
        before = torch.get_num_threads()
        set_threads(self.number)
        try:
            yield
        finally:
            set_threads(before)


def choose(
    victims: Sequence[Victim], x: Tensor, asked: int | None = None, kept: int | None = None
) -> Threads:
    """The number of threads for passes of models on batches of ``x`` (N, ...).

    What is asked for wins, then ``OMP_NUM_THREADS`` or ``MKL_NUM_THREADS``, then what a resumed run
    was begun with. Otherwise a pass of a batch, there and back, is timed at 1, 2, 4, ... threads,
    up to the number that torch is set to (by default all cores), until it no longer gets faster.
    Where models are not on the CPU, nothing is timed. The number of threads of torch is left as
    it is; so are its random numbers and the victims' counted passes.

    Args:
        victims: the models; all of them are run.
        x: inputs, of which one batch is taken.
        asked: the number, if one was asked for.
        kept: the number that a resumed run was begun with.

    Raises:
        InputError: for a number below 1.

    Example:
        >>> net = torch.nn.Linear(2, 2)
        >>> choose([Victim(net)], torch.rand(3, 2), asked=1)
        Threads(number=1, why='as asked', timed={})
    """
    require_threads(asked)
    most = torch.get_num_threads()
    if asked is not None:
        return Threads(asked, "as asked")
    if named := [name for name in VARIABLES if os.environ.get(name)]:
        return Threads(most, named[0])
    if any(victim.device.type != "cpu" for victim in victims):
        return Threads(most, "as torch is set: the model is on another device")
    if kept is not None and kept >= 1:
        return Threads(min(kept, most), "as the run was begun")
    if most == 1 or not len(x):
        return Threads.of_torch()
    try:
        with torch.random.fork_rng(devices=[]):
            return timed(lambda: _passes(victims, x), most)
    except Exception:  # noqa: BLE001  # whatever a model raises, the run says it better
        return Threads.of_torch()


def timed(
    work: Callable[[], object], most: int, clock: Callable[[], float] = time.perf_counter
) -> Threads:
    """The number of threads, up to ``most``, from which on work no longer gets faster.

    Args:
        work: what is timed.
        most: largest number tried; those between are the powers of two.
        clock: seconds now.
    """
    numbers = [n for n in (2**k for k in range(most.bit_length())) if n < most] + [most]
    best, found = numbers[0], {}
    before = torch.get_num_threads()
    try:
        for number in numbers:
            set_threads(number)
            found[number] = _fastest(work, clock)
            if number == best:
                continue
            if found[number] > GAIN * found[best]:
                break
            best = number
    finally:
        set_threads(before)
    return Threads(best, "timed", found)


def set_threads(number: int) -> None:
    """Let torch compute with so many threads, unless it does."""
    if torch.get_num_threads() != number:
        torch.set_num_threads(number)


def is_settled(asked: int | None) -> bool:
    """Whether the number of threads is asked for, or said by the environment."""
    return asked is not None or any(os.environ.get(name) for name in VARIABLES)


def require_threads(number: int | None) -> None:
    """Refuse what is no number of threads.

    Raises:
        InputError: for a number below 1.
    """
    if number is not None and (not isinstance(number, int) or number < 1):
        raise InputError(f"threads is {number}: give 1 or more, or leave it out")


def tell(threads: Threads) -> Threads:
    """The same, in the log, as a line that the commands print.

    What the environment says holds for whatever is run in it, and is only noted for debugging.
    """
    known = threads.why in VARIABLES
    log.log(logging.DEBUG if known else logging.INFO, "%s", threads)
    return threads


def _fastest(work: Callable[[], object], clock: Callable[[], float]) -> float:
    times: list[float] = []
    while len(times) < REPEATS and (not times or sum(times) < SLOW):
        start = clock()
        work()
        times.append(clock() - start)
    return min(times)


def _passes(victims: Sequence[Victim], x: Tensor) -> None:
    """A batch through every model and back to its input, which is counted as no pass."""
    for victim in victims:
        counts = victim.forwards, victim.backwards
        batch = x[: victim.batch_size(x[:1])].to(victim.device)
        try:
            with victim.held(), torch.enable_grad():
                u = batch.detach().clone().requires_grad_(True)
                victim.gradient(victim.logits(u).sum(), None, u)
        finally:
            victim.forwards, victim.backwards = counts
