"""A command in several processes of this machine, which end when the one that began them does."""

import os
import shlex
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory

from hauberk.errors import InputError, ProcessError, TrainingError

ERRORS = "HAUBERK_ERRORS"
"""Where the processes of :func:`launch` leave what went wrong; set for them alone."""

GRACE = 1.5
"""Seconds that processes have to end by themselves."""

_KINDS = {"input": InputError, "training": TrainingError, "process": ProcessError}


def launch(arguments: Sequence[str], devices: int, nodes: int = 1) -> int:
    """Run ``python ARGUMENTS`` in ``devices`` processes of this machine; their exit code.

    Each finds its number and how many there are in the variables that torchrun sets. When one ends
    with an error, or this process ends in whatever way, all end.

    Raises:
        InputError, TrainingError, ProcessError: what a process left by :func:`leave`.
        InputError: if ``nodes`` is not 1.
        ProcessError: if a process was killed.
    """
    if nodes > 1:
        raise InputError(
            f"nodes is {nodes}: start this command on each machine with torchrun "
            f"--nnodes={nodes} --nproc-per-node={devices} --rdzv-backend=c10d "
            f"--rdzv-endpoint=HOST:PORT {shlex.join(arguments)}"
        )
    with TemporaryDirectory() as folder:
        # Nothing is ever written to this pipe: it ends when this process does.
        theirs, ours = os.pipe()
        children: list[subprocess.Popen[bytes]] = []
        try:
            shared = {**os.environ, ERRORS: folder, **_variables(devices)}
            for rank in range(devices):
                own = {"RANK": str(rank), "LOCAL_RANK": str(rank), "ROLE_RANK": str(rank)}
                children.append(
                    subprocess.Popen(
                        [sys.executable, *arguments], env=shared | own, stdin=theirs,
                        start_new_session=True,
                    )
                )  # fmt: skip
            codes = _wait(children)
        finally:
            os.close(theirs)
            os.close(ours)
            _end(children)
        left = [file.read_text(encoding="utf-8") for file in sorted(Path(folder).iterdir())]
    # That a process stopped is said by the others too: why it did, by itself alone.
    for kind, error in _KINDS.items():
        for text in left:
            if text.startswith(f"{kind}:"):
                raise error(text.removeprefix(f"{kind}:"))
    for rank, code in enumerate(codes):
        if code is not None and code < 0:
            why = signal.Signals(-code).name if -code in set(signal.Signals) else f"signal {-code}"
            raise ProcessError(f"process {rank} of {devices} was ended by {why}")
    return max((code or 0 for code in codes), default=0)


def is_begun() -> bool:
    """Whether torchrun, or :func:`launch`, began this process."""
    return "LOCAL_RANK" in os.environ and "TORCHELASTIC_RUN_ID" in os.environ


def rank() -> int:
    """The number of this process among those that were begun together; 0 of one alone."""
    return int(os.environ.get("RANK", "0")) if is_begun() else 0


def local_rank() -> int:
    """The number of this process among those of its machine; 0 of one alone."""
    return int(os.environ.get("LOCAL_RANK", "0")) if is_begun() else 0


def leave(error: Exception) -> bool:
    """Tell the process that began this one; False if :func:`launch` did not."""
    folder = os.environ.get(ERRORS)
    if folder is None:
        return False
    kind = next((kind for kind, own in _KINDS.items() if isinstance(error, own)), "process")
    file = Path(folder, f"{time.time_ns()}-{os.getpid()}")
    with suppress(OSError):  # the one that began this process may have gone
        file.write_text(f"{kind}:{error}", encoding="utf-8")
    return True


def end_together() -> None:
    """End this process as soon as the one that called :func:`launch` does, however it ends."""
    if ERRORS in os.environ:
        threading.Thread(target=_follow, daemon=True).start()


def cores() -> int:
    """Cores that this process may use.

    Example:
        >>> cores() >= 1
        True
    """
    affinity = getattr(os, "sched_getaffinity", None)
    return len(affinity(0)) if affinity else os.cpu_count() or 1


def _variables(devices: int) -> dict[str, str]:
    """What torchrun tells all processes of one machine."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    many = str(devices)
    threads = os.environ.get("OMP_NUM_THREADS") or str(max(1, cores() // devices))
    return {
        "WORLD_SIZE": many, "LOCAL_WORLD_SIZE": many, "ROLE_WORLD_SIZE": many, "GROUP_RANK": "0",
        "GROUP_WORLD_SIZE": "1", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port),
        "TORCHELASTIC_RUN_ID": "hauberk", "TORCHELASTIC_RESTART_COUNT": "0",
        "TORCHELASTIC_MAX_RESTARTS": "0", "OMP_NUM_THREADS": threads,
    }  # fmt: skip


def _wait(children: Sequence[subprocess.Popen[bytes]]) -> list[int | None]:
    """The exit codes once all have ended well, or one has not; None of those that go on."""
    while True:
        codes = [child.poll() for child in children]
        if any(codes) or None not in codes:
            return codes
        time.sleep(0.05)


def _end(children: Sequence[subprocess.Popen[bytes]]) -> None:
    """Wait for processes that are about to end, and kill those that do not, and theirs."""
    late = time.monotonic() + GRACE
    for child in children:
        try:
            child.wait(max(0.0, late - time.monotonic()))
        except subprocess.TimeoutExpired:
            with suppress(OSError):
                os.killpg(child.pid, signal.SIGKILL)
            child.wait()


def _follow() -> None:
    while os.read(0, 1):
        pass
    os._exit(1)
