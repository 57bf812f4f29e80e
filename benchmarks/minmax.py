"""What min-max costs beside the plain attacks on its domains: passes, and CPU time as a ratio.

    python benchmarks/minmax.py

An attack on K models asks each of them once per step, so K plain attacks of as many steps are the
yardstick: what is above 1 is the weighing, and the bookkeeping of weights and paths.
"""

import time
from collections.abc import Callable

import torch
from torch import Tensor, nn

from hauberk.attacks import APGD, PGD
from hauberk.attacks.base import Attack
from hauberk.engine.outcome import Outcome
from hauberk.models import MLP, kwsmall_mnist
from hauberk.objectives.minmax import Average, MinMax
from hauberk.threats import Linf, Shared

STEPS = 10
REPEATS = 5


def main() -> None:
    torch.manual_seed(0)
    x, y = torch.rand(200, 1, 28, 28), torch.randint(10, (200,))
    print(f"{'models':12} {'attack':6} {'K':>3} {'F + B':>10} {'average':>8} {'minmax':>8}")
    for name, make in (("KWSmall", kwsmall_mnist), ("MLP", lambda: MLP((784, 128, 10)))):
        for attack in (PGD(loss="cw", steps=STEPS), APGD(loss="cw", steps=STEPS)):
            for k in (1, 2, 4, 8):
                row(name, [make() for _ in range(k)], attack, x, y)
    models = [kwsmall_mnist()]
    groups, labels = x.view(40, 5, 1, 28, 28), y.view(40, 5)
    plain = cpu(lambda: PGD(loss="cw", steps=STEPS)(models[0], x, y, Linf(0.1), stop=False))
    found, shared = timed(
        lambda: PGD(loss=MinMax(), steps=STEPS)(
            models[0], groups, labels, Shared(Linf(0.1)), stop=False
        )
    )
    told = f"{int(found.forwards[0])} + {int(found.backwards[0])}"
    print(f"{'groups of 5':12} {'PGD':6} {5:3} {told:>10} {'':8} {shared / plain:8.2f}")


def row(name: str, models: list[nn.Module], attack: Attack, x: Tensor, y: Tensor) -> None:
    from dataclasses import replace

    def on(objective: object, model: nn.Module) -> Callable[[], Outcome]:
        made = replace(attack, loss=objective)
        return lambda: made(model, x, y, Linf(0.1), stop=False)

    plain = sum(cpu(on("cw", model)) for model in models)
    average = cpu(on(Average(models), models[0]))
    found, minmax = timed(on(MinMax(models), models[0]))
    told = f"{int(found.forwards[0])} + {int(found.backwards[0])}"
    start = f"{name:12} {type(attack).__name__:6} {len(models):3} {told:>10}"
    print(f"{start} {average / plain:8.2f} {minmax / plain:8.2f}")


def cpu(run: Callable[[], Outcome]) -> float:
    return timed(run)[1]


def timed(run: Callable[[], Outcome]) -> tuple[Outcome, float]:
    """What a run gives, and the least CPU time of several."""
    found, best = run(), float("inf")
    for _ in range(REPEATS):
        begun = time.process_time()
        found = run()
        best = min(best, time.process_time() - begun)
    return found, best


if __name__ == "__main__":
    torch.set_num_threads(1)
    main()
