"""Peak memory of runs on few and on many examples: it should not grow with their number.

Each run is the console command in a process of its own, on CIFAR-10 shaped images of an .npz file,
whose peak of resident memory the operating system tells.

    python benchmarks/memory.py [--few 1000] [--many 10000] [--kinds evaluate radius ...] [--plain]

`--plain` runs without a folder (--out), so that what is found goes to temporary files.
"""

import argparse
import multiprocessing
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

MODEL = """
import numpy as np
import torch
from torch import nn

def net():
    classes = np.random.default_rng(0).integers(-8, 9, (10, 32, 32, 3)).transpose(0, 3, 1, 2)
    last = nn.Linear(3072, 10)
    last.weight.data = torch.from_numpy(classes.reshape(10, -1)).float() / 100
    last.bias.data = -last.weight.data.sum(1) * 128 / 255
    return nn.Sequential(nn.Flatten(), last)
"""

KINDS = {
    "evaluate": ["evaluate", "--threat", "linf:4/255", "--threat", "l2:1", "--suite", "fast"],
    "radius": ["radius", "--metric", "l2", "--solver", "deepfool"],
    "minmax": ["minmax", "--threat", "linf:4/255", "--threat", "l2:1", "--steps", "3"],
    "transfer": ["transfer", "--threat", "linf:4/255", "--attack", "FGSM"],
    "corruptions": ["corruptions", "--kind", "brightness", "--severity", "1"],
}
"""Commands of each kind of run, with few passes."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--few", type=int, default=1000)
    parser.add_argument("--many", type=int, default=10000)
    parser.add_argument("--kinds", nargs="*", default=list(KINDS), choices=list(KINDS))
    parser.add_argument("--plain", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "small.py").write_text(MODEL)
        # In a process of its own, since a command inherits the peak of the one that starts it.
        writer = multiprocessing.get_context("spawn").Process(
            target=data, args=(Path(folder) / "data.npz", options.many)
        )
        writer.start()
        writer.join()
        print("kind          examples   MB at most   seconds")
        for kind in options.kinds:
            peaks = []
            for many in (options.few, options.many):
                out = [] if options.plain else ["--out", f"{folder}/{kind}-{many}"]
                megabytes, seconds = peak(KINDS[kind], Path(folder), many, out)
                peaks.append(megabytes)
                print(f"{kind:12} {many:9} {megabytes:12.1f} {seconds:9.1f}", flush=True)
            print(f"{'':12} {'growth':>9} {100 * (peaks[1] / peaks[0] - 1):+11.1f}%")


def data(file: Path, n: int) -> None:
    """Images that the model is right about, with room for perturbations to break half of them."""
    rng = np.random.default_rng(0)
    classes = 128 + rng.integers(-8, 9, (10, 32, 32, 3))
    labels = rng.integers(0, 10, n)
    noise = rng.integers(-60, 61, (n, 32, 32, 3))
    np.savez(file, images=(classes[labels] + noise).astype(np.uint8), labels=labels)


def peak(command: list[str], folder: Path, n: int, more: list[str]) -> tuple[float, float]:
    """Megabytes that a command held at most, and its seconds."""
    line = [sys.executable, "-m", "hauberk", *command, "--model", f"{folder}/small.py:net"]
    line += ["--data", f"npz:{folder}/data.npz", "--limit", str(n), *more]
    begun = time.perf_counter()
    process = subprocess.Popen(line, stdout=subprocess.DEVNULL, cwd=folder)
    _, status, used = os.wait4(process.pid, 0)
    if status:
        sys.exit(f"{' '.join(line)} failed")
    return used.ru_maxrss / 1024, time.perf_counter() - begun


if __name__ == "__main__":
    main()
