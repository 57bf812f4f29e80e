"""What a second process brings to a run: the same evaluation by one process and by several.

python benchmarks/scaling.py [--processes 2] [--examples 800] [--block 50] [--suite standard]
    [--repeats 2] [--model hauberk.demo:digits_net]

Each process has one thread. Wall-clock times count where nothing else runs; where other programs
take the cores, compare the CPU times: what several processes spend beyond one is what sharing the
work costs, and the throughput on free cores follows from it.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

WORDS = ["--data", "digits:train", "--threat", "linf:0.1", "--threat", "l2:0.5"]


def cpu() -> float:
    """Seconds of CPU that processes begun here and now ended have spent."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def measured(words: list[str], out: Path) -> tuple[float, float]:
    """Seconds of one command: by the clock, and of CPU."""
    begun, spent = time.perf_counter(), cpu()
    subprocess.run(
        [sys.executable, "-m", "hauberk", "evaluate", *words, "--out", str(out)],
        check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    return time.perf_counter() - begun, cpu() - spent


def numbers(out: Path) -> object:
    """What a run found: its summary without times."""
    found = json.loads((out / "summary.json").read_text(encoding="utf-8"))
    found["cost"].pop("seconds")
    return found


def main() -> None:
    """Print times and the throughput of several processes against that of one."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--examples", type=int, default=800)
    parser.add_argument("--block", type=int, default=50)
    parser.add_argument("--suite", default="standard")
    parser.add_argument("--repeats", type=int, default=2)
    parser.add_argument("--model", default="hauberk.demo:digits_net")
    parser.add_argument("--weights", default=None)
    given = parser.parse_args()
    os.environ |= {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
    words = [*WORDS, "--model", given.model, "--suite", given.suite, "--device", "cpu"]
    words += ["--block", str(given.block)]
    words += ["--weights", given.weights] if given.weights else []
    full = [*words, "--limit", str(given.examples)]
    few = [*words, "--limit", str(given.processes), "--block", "1"]
    found: dict[str, list[tuple[float, float]]] = {}
    with tempfile.TemporaryDirectory() as folder:
        for k in range(given.repeats):
            for many in (1, given.processes):
                more = ["--devices", str(many)]
                for name, some in (("start", few), ("run", full)):
                    out = Path(folder, f"{name}-{many}-{k}")
                    found.setdefault(f"{name} {many}", []).append(measured([*some, *more], out))
            runs = [numbers(Path(folder, f"run-{many}-{k}")) for many in (1, given.processes)]
            if runs[0] != runs[1]:
                sys.exit("the numbers differ")
    # Of what others leave of the machine, the best moment counts.
    best = {
        name: [min(column) for column in zip(*rows, strict=True)] for name, rows in found.items()
    }
    for name, (wall, spent) in best.items():
        print(f"{name}: {wall:.1f} s by the clock, {spent:.1f} s of CPU")
    for what, less in (("whole command", 0), ("without starting", 1)):
        one, more = (
            [best[f"run {many}"][k] - less * best[f"start {many}"][k] for k in (0, 1)]
            for many in (1, given.processes)
        )
        print(
            f"{what}: {one[0] / more[0]:.2f} x by the clock, "
            f"{given.processes * one[1] / more[1]:.2f} x on free cores"
        )


if __name__ == "__main__":
    main()
