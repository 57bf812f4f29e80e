"""What a second process brings: the same training in one process and in several, a thread each.

python benchmarks/processes.py [--processes 2] [--steps 10] [--examples 2560] [--repeats 3]
    [--double]
"""

import argparse
import json
import os
import sys
import tempfile
from pathlib import Path

import torch

import hauberk as hb
from hauberk.machines.launch import launch
from hauberk.models import kwsmall_mnist
from hauberk.train import MAX, fit


def work(steps: int, examples: int, minibatch: int, dtype: torch.dtype, to: Path) -> None:
    """One process's part; the first writes down the history."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    generator = torch.Generator().manual_seed(0)
    x = torch.rand(examples, 1, 28, 28, generator=generator)
    y = torch.randint(10, (examples,), generator=generator)
    threats = hb.Union(hb.Linf(0.1), hb.L2(1))
    found = fit(
        kwsmall_mnist().to(dtype), (x, y), MAX(threats, steps=steps), epochs=3, minibatch=minibatch,
        optimiser="sgd", learning_rate=0.01,
    )  # fmt: skip
    if int(os.environ.get("RANK", 0)) == 0:
        to.write_text(json.dumps(found.history), encoding="utf-8")


def main() -> None:
    """Print seconds per epoch, the ratio, and how far the losses are apart."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--examples", type=int, default=2560)
    parser.add_argument("--minibatch", type=int, default=256)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--double", action="store_true", help="float64, which rounds less")
    parser.add_argument("--to", default=None, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.to is not None:
        dtype = torch.float64 if given.double else torch.float32
        work(given.steps, given.examples, given.minibatch, dtype, Path(given.to))
        return
    os.environ["OMP_NUM_THREADS"] = "1"
    told: dict[int, list[list[dict[str, float]]]] = {1: [], given.processes: []}
    with tempfile.TemporaryDirectory() as folder:
        for _ in range(given.repeats):
            for many, histories in told.items():
                to = Path(folder) / "history.json"
                words = [__file__, "--to", str(to), "--steps", str(given.steps)]
                words += ["--examples", str(given.examples), "--minibatch", str(given.minibatch)]
                words += ["--double"] if given.double else []
                if launch(words, many):
                    sys.exit("a training failed")
                histories.append(json.loads(to.read_text(encoding="utf-8")))
    # The first epoch warms up; of what others leave of the machine, the best moment counts.
    least = {
        many: min(e["seconds_attack"] + e["seconds_training"] for h in runs for e in h[1:])
        for many, runs in told.items()
    }
    for many, seconds in least.items():
        print(f"{many} process{'es' if many > 1 else ''}: {seconds:.2f} s an epoch")
    one, more = told[1][0], told[given.processes][0]
    apart = max(abs(a["loss"] - b["loss"]) for a, b in zip(one, more, strict=True))
    print(f"throughput {least[1] / least[given.processes]:.2f} x, losses apart {apart:.1e}")


if __name__ == "__main__":
    main()
