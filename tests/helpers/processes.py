"""Processes of this machine, as Linux shows them."""

import os
import subprocess
import time


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
    """Wait until something holds; fail if it does not in time."""
    late = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < late
        time.sleep(0.05)
