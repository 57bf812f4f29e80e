"""A command in several processes, and what becomes of them."""

import os
import signal
import subprocess
import sys
import time

import pytest

from hauberk.errors import InputError
from hauberk.store.files import lock
from hauberk.train.loop.launch import launch

TRAIN = [
    *["--model", "hauberk.models:MLP", "--data", "digits:train", "--threat", "linf:0.1"],
    *["--strategy", "single", "--set", "steps=4", "--minibatch", "64", "--devices", "2"],
]


def test_several_machines_are_begun_by_hand():
    with pytest.raises(InputError, match="torchrun"):
        launch(["x.py"], 2, nodes=2)


def children(pid):
    """The processes that a process began, and those that they began."""
    found = subprocess.run(["ps", "-eo", "pid,ppid"], capture_output=True, text=True, check=True)
    pairs = [tuple(map(int, line.split())) for line in found.stdout.splitlines()[1:]]
    first = [child for child, parent in pairs if parent == pid]
    return first + [below for child in first for below in children(child)]


def ended(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    with open(f"/proc/{pid}/stat", encoding="utf-8") as stream:
        return stream.read().rpartition(")")[2].split()[0] == "Z"


def within(seconds, true):
    late = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < late
        time.sleep(0.1)


@pytest.mark.slow
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="asks Linux for processes")
@pytest.mark.parametrize("victim", ["launcher", "torchrun"])
def test_killed_processes_end_together_and_training_resumes(tmp_path, victim):
    words = [sys.executable, "-m", "hauberk", "train", *TRAIN, "--out", str(tmp_path / "run")]
    env = {**os.environ, "OMP_NUM_THREADS": "1"}
    with subprocess.Popen([*words, "--epochs", "1000"], env=env, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert b"epoch 1" in process.stdout.readline()
        below = children(process.pid)
        assert len(below) == 3  # torchrun and two that train
        os.kill(process.pid if victim == "launcher" else below[0], signal.SIGKILL)
        within(20, lambda: all(map(ended, below)))
    taken = lock(tmp_path / "run")  # a training that goes on finds the folder free
    assert taken is not None
    os.close(taken)
