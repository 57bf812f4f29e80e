"""One run in several processes: one ledger, one progress, one summary."""

import hashlib
import logging
import pickle
import shutil
import tempfile
import time
import warnings
from base64 import b64decode, b64encode
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from hauberk.errors import HauberkWarning, InputError
from hauberk.evaluation.core.options import RunOptions
from hauberk.evaluation.core.progress import Progress, Reporter
from hauberk.machines.group import PAUSE, Group
from hauberk.store.files import read_json
from hauberk.store.ledger import MANIFEST, Ledger, MemoryLedger, Store

log = logging.getLogger("hauberk")

SEEN = 60.0
"""Seconds within which a file that one machine wrote is to be seen by the others."""

EVERY = 0.25
"""Seconds between two reports of progress from one process to another."""


@contextmanager
def quiet(group: Group) -> Iterator[None]:
    """Only the first process warns."""
    if group.is_first:
        yield
        return
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", HauberkWarning)
        yield


def note_idle(group: Group, blocks: int, size: int) -> None:
    """Say in the log, as a line that the commands print, that some processes have nothing to do."""
    if group.is_first and blocks < group.world:
        log.info(
            "%d processes share %d block%s of %d examples: a smaller --block gives all of them "
            "work",
            group.world, blocks, "" if blocks == 1 else "s", size,
        )  # fmt: skip


class Summed:
    """What a process calls with its own progress, so that people see that of all.

    Args:
        progress: called with the sum, in the first process only.
    """

    def __init__(self, progress: Callable[[Progress], None] | None, group: Group) -> None:
        self.progress, self.group = progress, group
        self.last = -EVERY
        self.others = dict.fromkeys(range(1, group.world), (0.0, 0, 0))

    def __call__(self, event: Progress) -> None:
        group, now = self.group, time.monotonic()
        if due := now - self.last >= EVERY:
            self.last = now
        if not group.is_first:
            if due:
                group.say(f"progress.{group.rank}", [event.done, event.forwards, event.backwards])
        elif self.progress is not None:
            for rank in self.others if due else ():
                for heard in group.heard(f"progress.{rank}"):
                    self.others[rank] = tuple(heard)
            theirs = zip(*self.others.values(), strict=True)
            done, forwards, backwards = (sum(column) for column in theirs)
            event = replace(
                event, done=min(1.0, event.done + done), forwards=event.forwards + forwards,
                backwards=event.backwards + backwards,
            )  # fmt: skip
            self.progress(event)

    def done(self, reporter: Reporter) -> None:
        """Pass on where the process stands now, however short ago it did so."""
        self.last = -EVERY
        reporter.again()


@contextmanager
def opened(
    group: Group, options: RunOptions, manifest: Callable[[Mapping[str, Any] | None], Any]
) -> Iterator[Store]:  # fmt: skip
    """The ledger of a run, in every process of it; the first one makes it, or resumes it.

    Where several processes have no folder to write to, they get one for the time of the run.

    Args:
        manifest: what this process would record, beside what the run's manifest says already.
    """
    if group.is_alone:
        yield open_store(manifest(recorded(options)), options)
        return
    own = options.out is None
    if not group.is_first:
        path, digest = group.hear("ledger")
        path = Path(path if own else str(options.out))
        await_seen(lambda: _digest(path) == digest, group, path / MANIFEST)
        yield Ledger.join(path, manifest(read_json(path / MANIFEST)), group.rank)
        return
    folder = tempfile.mkdtemp(prefix="hauberk-") if own else options.out
    try:
        ledger = Ledger.create(str(folder), manifest(recorded(options)), resume=options.resume)
        ledger.open_up()
        group.say("ledger", [str(ledger.path.resolve()), _digest(ledger.path)])
        yield ledger
    finally:
        if own:
            shutil.rmtree(str(folder), ignore_errors=True)


def open_store(manifest: Mapping[str, Any], options: RunOptions) -> Store:
    """The ledger of a run in one process, in ``options.out`` or in memory; new, or resumed.

    Raises:
        InputError: for another run in ``options.out``.
    """
    if options.out is None:
        return MemoryLedger(manifest)
    return Ledger.create(options.out, manifest, resume=options.resume)


def recorded(options: RunOptions) -> dict[str, Any] | None:
    """The manifest of the run that is resumed, if there is one that can be read."""
    if not options.resume or options.out is None:
        return None
    file = Path(options.out) / MANIFEST
    try:
        return read_json(file) if file.is_file() else None
    except (InputError, OSError):
        return None


def gathered(group: Group, store: Store, reporter: Reporter) -> None:
    """Wait in the first process until all have done their blocks, and all parts are seen."""
    if isinstance(reporter.progress, Summed):
        reporter.progress.done(reporter)
        every = group.gather("blocks", store.keys(), reporter.again)
        for key in {key for keys in every for key in keys}:
            await_seen(lambda: store.has(key), group, Path(str(store.path), "parts", key))  # noqa: B023
        reporter.progress.done(reporter)


def answered(
    group: Group, store: Store, options: RunOptions, summarise: Callable[[Store], dict[str, Any]]
) -> tuple[Store, dict[str, Any]]:
    """The summary, which the first process writes, and the store that a result may refer to."""
    summary: dict[str, Any] = {}
    if group.is_first:
        summary = summarise(store)
        store.write_summary(summary)
    if group.is_alone:
        return store, summary
    if group.is_first:
        group.say("summary", [len(store.keys()), b64encode(pickle.dumps(summary)).decode()])
    else:
        many, text = group.hear("summary")
        await_seen(lambda: len(store.keys()) == many, group, Path(str(store.path), "parts"))
        summary = pickle.loads(b64decode(text))
    if options.out is None and isinstance(store, Ledger):
        store = MemoryLedger.of(store)
        store.write_summary(summary)
    group.part()
    return store, summary


def await_seen(seen: Callable[[], bool], group: Group, file: Path) -> None:
    """Wait for a file of another process: file systems of several machines take their time.

    Raises:
        InputError: if it does not come.
    """
    late = time.monotonic() + SEEN
    while not seen():
        if time.monotonic() > late:
            raise InputError(
                f"process {group.rank} does not see {file}, which another one wrote: give an out= "
                "that all machines share, or run shards and merge them"
            )
        time.sleep(PAUSE)


def _digest(path: Path) -> str:
    file = path / MANIFEST
    return hashlib.sha256(file.read_bytes()).hexdigest() if file.is_file() else ""
