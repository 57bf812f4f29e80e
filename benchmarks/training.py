"""What the trainer costs over the bare loop: the same attack and the same optimiser steps.

python benchmarks/training.py [--device cuda] [--steps 10] [--examples 1280] [--repeats 3]
"""

import argparse
import time
from dataclasses import dataclass

import torch
from torch.nn import functional as F

from hauberk.attacks import PGD
from hauberk.engine.method import Job
from hauberk.maths.rng import Draws
from hauberk.models import SmallCNN
from hauberk.threats import Linf
from hauberk.train.fit import fit
from hauberk.train.strategies.base import Batch, Loss, Strategy, Tables, cross_entropy
from hauberk.victims.victim import Victim


@dataclass(frozen=True, kw_only=True)
class Attacked(Strategy):
    """PGD in one threat."""

    steps: int

    def loss(self, batch: Batch, tables: Tables) -> Loss:
        return cross_entropy(batch, batch.attack(PGD(steps=self.steps), Linf(0.3)).points)


def bare(model: torch.nn.Module, x: torch.Tensor, y: torch.Tensor, steps: int, size: int) -> None:
    """The inner loop alone."""
    optimiser = torch.optim.Adam(model.parameters())
    victim, attack = Victim(model), PGD(steps=steps)
    model.train()
    ids = torch.arange(len(x), device=x.device)
    for rows in Draws.of(0, ids).key.argsort().split(size):
        job = Job(threat=Linf(0.3), x=x[rows], y=y[rows], ids=rows, stop=False)
        points = attack.run(victim, job).points
        optimiser.zero_grad()
        F.cross_entropy(model(points), y[rows]).backward()
        optimiser.step()


def main() -> None:
    """Print seconds per optimiser step of both, the least of several runs, and their ratio."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--examples", type=int, default=1280)
    parser.add_argument("--minibatch", type=int, default=128)
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    device = torch.device(options.device)
    generator = torch.Generator().manual_seed(0)
    x = torch.rand(options.examples, 1, 28, 28, generator=generator)
    y = torch.randint(10, (options.examples,), generator=generator)
    minibatches = -(-options.examples // options.minibatch)
    # On a CPU that others use too, only one's own time says anything.
    clock = time.process_time if device.type == "cpu" else time.perf_counter
    told: dict[str, list[float]] = {"bare": [], "trainer": []}
    for _ in range(options.repeats + 1):  # the first round warms up
        model = SmallCNN().to(device)
        on = x.to(device), y.to(device)
        begun = clock()
        bare(model, *on, options.steps, options.minibatch)
        if device.type == "cuda":
            torch.cuda.synchronize()
        told["bare"].append((clock() - begun) / minibatches)
        ends: list[float] = []
        fit(
            SmallCNN().to(device), (x, y), Attacked(steps=options.steps), epochs=2,
            minibatch=options.minibatch, on_epoch=lambda _, to=ends: to.append(clock()),  # type: ignore[misc]
        )  # fmt: skip
        told["trainer"].append((ends[1] - ends[0]) / minibatches)
    least = {name: min(values[1:]) for name, values in told.items()}
    for name, seconds in least.items():
        print(f"{name:8} {1e3 * seconds:8.2f} ms per step")
    print(f"overhead {100 * (least['trainer'] / least['bare'] - 1):8.1f} %")


if __name__ == "__main__":
    main()
