"""A command in several processes of this machine, which end when the one that began them does."""

import os
import shlex
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from hauberk.errors import InputError, TrainingError

ERRORS = "HAUBERK_TRAIN_ERRORS"
"""Where the processes of :func:`launch` leave what went wrong; set for them alone."""

_TORCHRUN = """
import logging, sys
from torch.distributed.run import main
logging.disable(logging.ERROR)
try:
    main(sys.argv[1:])
except BaseException as error:
    if type(error).__name__ in ("ChildFailedError", "SignalException", "KeyboardInterrupt"):
        sys.exit(1)
    raise
"""
"""torchrun without its own report of a process that failed, which has printed its error."""


def launch(arguments: Sequence[str], devices: int, nodes: int = 1) -> int:
    """Run ``python ARGUMENTS`` in ``devices`` processes of this machine; the exit code, 0 or 1.

    Raises:
        InputError, TrainingError: what a process left by :func:`leave`, or if ``nodes`` is not 1.
    """
    if nodes > 1:
        raise InputError(
            f"nodes is {nodes}: start this command on each machine with torchrun "
            f"--nnodes={nodes} --nproc-per-node={devices} --rdzv-backend=c10d "
            f"--rdzv-endpoint=HOST:PORT {shlex.join(arguments)}"
        )
    with TemporaryDirectory() as folder:
        env = {**os.environ, ERRORS: folder}
        env.setdefault("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 1) // devices)))
        command = [sys.executable, "-c", _TORCHRUN, "--standalone", f"--nproc-per-node={devices}"]
        # Nothing is ever written to this pipe: it ends when this process does.
        process = subprocess.Popen([*command, *arguments], env=env, stdin=subprocess.PIPE)
        try:
            code = process.wait()
        except BaseException:
            process.terminate()
            process.wait()
            raise
        left = sorted(Path(folder).iterdir())
        if left:
            kind, _, text = left[0].read_text(encoding="utf-8").partition(":")
            raise InputError(text) if kind == "input" else TrainingError(text)
        return 1 if code else 0


def is_begun() -> bool:
    """Whether torchrun, or :func:`launch`, began this process."""
    return "LOCAL_RANK" in os.environ and "TORCHELASTIC_RUN_ID" in os.environ


def leave(error: Exception) -> bool:
    """Tell the process that began this one; False if :func:`launch` did not."""
    folder = os.environ.get(ERRORS)
    if folder is None:
        return False
    kind = "input" if isinstance(error, InputError) else "training"
    file = Path(folder, f"{time.time_ns()}-{os.getpid()}")
    file.write_text(f"{kind}:{error}", encoding="utf-8")
    return True


def end_together() -> None:
    """End this process as soon as the one that called :func:`launch` does, however it ends.

    torchrun puts its processes into sessions of their own: killed without notice, it or its caller
    would leave them running, and holding the folder of the training.
    """
    if ERRORS in os.environ:
        threading.Thread(target=_wait, daemon=True).start()


def _wait() -> None:
    while os.read(0, 1):
        pass
    os._exit(1)
