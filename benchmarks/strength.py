"""How strong are the suites, and what do they cost? Against the published AutoAttack ensemble.

For each third-party model: accuracy under each threat and under the union, after our suite and
after AutoAttack "standard" (APGD-CE, APGD-T, FAB-T, Square; per norm, seed 0) on the same points,
and the passes (forwards + backwards) that a point costs us which nothing breaks under any threat.

    python benchmarks/strength.py --data-dir DIR [--suite standard fast] [--models NAME ...] [--n N]
    python benchmarks/strength.py --data-dir DIR --reference     # run AutoAttack itself (hours)
    python benchmarks/strength.py --data-dir DIR --designs       # schedules that we tried

DIR holds the data files and ``weights/*.npz``; pyautoattack is needed for --reference only.
"""

import argparse
import time
import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

import hauberk as hb
from hauberk.attacks import APGD, Attack, Square
from hauberk.data import load_data
from hauberk.evaluation import SUITES, Result, Stage, Suite
from hauberk.models.loading import load_model

MNIST = {"linf:0.3": ("Linf", 0.3), "l2:2": ("L2", 2.0), "l1:10": ("L1", 10.0)}
CIFAR = {"linf:2/255": ("Linf", 2 / 255), "l2:0.25": ("L2", 0.25), "l1:2": ("L1", 2.0)}


@dataclass(frozen=True)
class Case:
    """A model, its data, and what AutoAttack leaves of the first ``n`` test images, in percent."""

    factory: str
    data: str
    n: int
    reference: tuple[float, ...]  # per threat, then the union

    @property
    def threats(self) -> dict[str, tuple[str, float]]:
        return MNIST if self.data.startswith("mnist") else CIFAR


CASES = {
    "mnist_smallcnn_trades_linf": Case("SmallCNN", "mnist:test", 100, (92, 14, 4, 4)),
    "mnist_madrytiny_linf": Case("madry_tiny", "mnist:test", 100, (85, 1, 0, 0)),
    "mnist_kwsmall_pgd_linf": Case("kwsmall_mnist", "mnist:test", 100, (89, 5, 1, 1)),
    "mnist_smallcnn_standard": Case("SmallCNN", "mnist:test", 50, (0, 10, 18, 0)),
    "cifar10_resnet4b_linf2": Case("ResNet4B", "cifar10:test", 200, (64, 66.5, 63, 60)),
    "cifar10_cnn_a_adv_linf": Case("cnn_a_cifar10", "cifar10:test", 100, (48, 49, 52, 48)),
}

SOFT: dict[str, Attack | Stage] = {
    "apgd-soft": APGD(steps=30, soften=0.05),
    "apgd-softer": APGD(steps=30, loss="ce", soften=0.3),
}
CARRIED: dict[str, Attack | Stage] = {
    "carried": Stage(attack=APGD(steps=30, soften=0.1), carry=True)
}
WIDE = APGD(steps=60, loss="ce", restarts=2, enlarge=(10, 4, 2, 1))
DESIGNS: dict[str, dict[str, Attack | Stage]] = {
    "exact, long: CE 100, nine targets x 100": {
        "apgd-ce": APGD(steps=100, loss="ce"),
        "apgd-t": APGD(steps=100, loss="dlr", targets=9),
    },
    "exact, short: margin 20, three targets x 50": {
        "apgd": APGD(steps=20),
        "apgd-t": APGD(steps=50, targets=3),
    },
    "exact, short, then Square 300": {
        "apgd": APGD(steps=20),
        "apgd-t": APGD(steps=50, targets=3),
        "square": Square(steps=300),
    },
    "softened 0.3 alone, CE 50": {"apgd-softer": APGD(steps=50, loss="ce", soften=0.3)},
    "softened 0.05 and 0.3": SOFT,
    "+ carried points": SOFT | CARRIED,
    "+ carried, exact targets 3 x 40": SOFT | CARRIED | {"apgd-t": APGD(steps=40, targets=3)},
    "+ carried, deep on the nearest 10%": SOFT
    | CARRIED
    | {"deep": Stage(attack=APGD(steps=100, targets=9), portion=0.1)},
    "+ carried, targets, wide balls in l1": SOFT
    | CARRIED
    | {
        "apgd-t": APGD(steps=40, targets=3),
        "wide": Stage(attack=WIDE, threats=("l1",)),
    },
}


def get(name: str, case: Case, folder: Path, n: int | None) -> tuple[nn.Module, Tensor, Tensor]:
    model = load_model(f"hauberk.models:{case.factory}", str(folder / "weights" / f"{name}.npz"))
    data = load_data(case.data, str(folder), limit=n or case.n)
    return model, data.images, data.labels


def passes(result: Result) -> float:
    """Passes of a point that stands under the union."""
    rows = result.store.rows("attack-")
    stands = result.ids.numpy()[result.robust().numpy()]
    mine = np.isin(rows["id"], stands)
    spent = rows["forwards"][mine].sum() + rows["backwards"][mine].sum()
    return float(spent / len(stands)) if len(stands) else float("nan")


def ours(name: str, suite: str | Suite, args: argparse.Namespace) -> tuple[list[float], str]:
    """Accuracies in percent (threats, union), and the rest of the table's row."""
    case = CASES[name]
    model, x, y = get(name, case, args.data_dir, args.n)
    begun = time.perf_counter()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        threats = [hb.threat(t) for t in case.threats]
        result = hb.evaluate(model, x, y, threats, suite=suite, seed=args.seed)
    found = [100 * a for a in [*result.accuracy.values(), result.union_accuracy or 0.0]]
    spent = result.summary["per_example"]
    told = f"{passes(result):8.0f} {spent['forwards'] + spent['backwards']:8.0f}"
    told += f" {time.perf_counter() - begun:6.0f}"
    return found, told + ("  escalated" if result.summary["escalated"] else "")


def row(label: str, found: list[float], more: str) -> None:
    print(f"{label:42} {' '.join(f'{v:6.1f}' for v in found)} {more}", flush=True)


def head() -> None:
    print(
        f"{'':42} {'linf':>6} {'l2':>6} {'l1':>6} {'union':>6} {'robust':>8} {'mean':>8} {'s':>6}"
    )


def reference(name: str, args: argparse.Namespace) -> None:
    """Run the published ensemble."""
    from pyautoattack import AutoAttack

    case = CASES[name]
    model, x, y = get(name, case, args.data_dir, args.n)
    counted = 0

    def count(*_: object) -> None:
        nonlocal counted
        counted += len(x)

    class Counted(nn.Module):
        def forward(self, inputs: Tensor) -> Tensor:
            nonlocal counted
            counted += len(inputs)
            logits: Tensor = model(inputs)
            return logits

    with torch.no_grad():
        union = model(x).argmax(1) == y
    found = []
    for norm, eps in case.threats.values():
        attack = AutoAttack(Counted().eval(), norm=norm, eps=eps, version="standard", seed=0)
        points = attack.run_standard_evaluation(x, y, batch_size=len(x))
        points = points[0] if isinstance(points, tuple) else points
        with torch.no_grad():
            stands = model(points).argmax(1) == y
        union &= stands
        found.append(100 * float(stands.float().mean()))
    found.append(100 * float(union.float().mean()))
    row(f"{name} AutoAttack", found, f"{counted / len(x):8.0f} F per image")


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data-dir", type=Path, required=True)
    parser.add_argument("--suite", nargs="+", default=["standard", "fast"])
    parser.add_argument("--models", nargs="+", default=list(CASES), choices=list(CASES))
    parser.add_argument("--n", type=int, default=None, help="other than the reference's")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--reference", action="store_true")
    parser.add_argument("--designs", action="store_true")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    print(
        "accuracies in percent; robust: F + B of a point that nothing breaks; mean: of all points"
    )
    head()
    for name in args.models:
        if args.reference:
            reference(name, args)
            continue
        n = args.n or CASES[name].n
        print(f"{name}, {n} points")
        if n == CASES[name].n:
            row("  AutoAttack", list(CASES[name].reference), "")
        if args.designs:
            for label, attacks in DESIGNS.items():
                row(f"  {label}", *ours(name, Suite(label, 0, "", attacks), args))
        for suite in args.suite:
            row(f"  {suite} {SUITES[suite].version}", *ours(name, suite, args))


if __name__ == "__main__":
    main()
