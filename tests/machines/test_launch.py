"""A command in several processes, and what becomes of them."""

import os
import signal
import subprocess
import sys
import time

import pytest
from helpers.processes import children, ended, within

from hauberk.errors import InputError, ProcessError, TrainingError
from hauberk.machines import launch
from hauberk.machines.launch import cores, is_begun, rank
from hauberk.store.files import lock

TRAIN = [
    *["--model", "hauberk.models:MLP", "--data", "digits:train", "--threat", "linf:0.1"],
    *["--strategy", "single", "--set", "steps=4", "--minibatch", "64", "--devices", "2"],
]

LINUX = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="asks Linux for processes")


def script(code):
    """Arguments of Python for a process that is begun with others, and ends with them."""
    head = "import os, signal, time\nfrom hauberk.machines import launch\nlaunch.end_together()\n"
    return ["-c", head + code]


def test_several_machines_are_begun_by_hand():
    with pytest.raises(InputError, match="torchrun"):
        launch.launch(["x.py"], 2, nodes=2)


def test_every_process_knows_its_number_and_its_share_of_the_cores(tmp_path, monkeypatch):
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    names = "RANK", "LOCAL_RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE", "OMP_NUM_THREADS"
    code = f"""
assert launch.is_begun()
told = " ".join(os.environ[name] for name in {names!r})
open({str(tmp_path)!r} + f"/{{launch.rank()}}", "w").write(told)"""
    assert launch.launch(script(code), 2) == 0
    share = max(1, cores() // 2)
    for number in (0, 1):
        assert (tmp_path / str(number)).read_text() == f"{number} {number} 2 2 {share}"
    assert rank() == 0
    assert not is_begun()


@pytest.mark.parametrize(
    ("code", "error", "words"),
    [
        ("os.kill(os.getpid(), signal.SIGKILL)", ProcessError, "process 1 of 2 .* by SIGKILL"),
        ("from hauberk.errors import *\nlaunch.leave(InputError('give less'))", InputError, "less"),
        ("from hauberk.errors import *\nlaunch.leave(TrainingError('nan'))", TrainingError, "nan"),
    ],
)  # fmt: skip
def test_one_that_ends_badly_ends_all_and_says_why(code, error, words):
    # The other one would go on for a minute; what it says of the first is not what matters.
    other = "from hauberk.errors import ProcessError\nlaunch.leave(ProcessError('1 stopped'))\n"
    other = "time.sleep(60)" if "SIGKILL" in code else other + "time.sleep(60)"
    branch = f"if launch.rank() == 0:\n {other.replace(chr(10), chr(10) + ' ')}\n"
    begun = time.monotonic()
    with pytest.raises(error, match=words):
        launch.launch(script(f"{branch}time.sleep(0.5)\n{code}\nos._exit(1)"), 2)
    assert time.monotonic() - begun < 10


def test_the_exit_code_is_that_of_the_processes():
    assert launch.launch(script("os._exit(3 * launch.rank())"), 2) == 3


@LINUX
@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM", "SIGKILL"])
def test_what_ends_the_first_process_ends_all_within_two_seconds(name):
    # One of the two does not listen: it is killed.
    deaf = "signal.signal(signal.SIGTERM, signal.SIG_IGN)\nprint('up', flush=True)\ntime.sleep(60)"
    code = f"from hauberk.machines import launch; launch.launch({script(deaf)!r}, 2)"
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE,
                          stderr=subprocess.DEVNULL) as process:  # fmt: skip
        assert process.stdout is not None
        assert [process.stdout.readline() for _ in range(2)] == [b"up\n"] * 2
        below = children(process.pid)
        assert len(below) == 2
        process.send_signal(signal.Signals[name])
        within(2, lambda: all(map(ended, below)))


@pytest.mark.slow
@LINUX
def test_killed_processes_end_together_and_training_resumes(tmp_path):
    words = [sys.executable, "-m", "hauberk", "train", *TRAIN, "--out", str(tmp_path / "run")]
    env = {**os.environ, "OMP_NUM_THREADS": "1"}
    with subprocess.Popen([*words, "--epochs", "1000"], env=env, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert b"epoch 1" in process.stdout.readline()
        below = children(process.pid)
        assert len(below) == 2
        os.kill(process.pid, signal.SIGKILL)
        within(20, lambda: all(map(ended, below)))
    taken = lock(tmp_path / "run")  # a training that goes on finds the folder free
    assert taken is not None
    os.close(taken)
