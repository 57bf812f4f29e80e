"""How strong are the suites, and what do they cost? Against the published AutoAttack ensemble.

For each model: accuracy under each threat and under the union, after our suite and after AutoAttack
"standard" (APGD-CE, APGD-T, FAB-T, Square; per norm, seed 0) on the same points, and the passes
(forwards + backwards) that a point costs us which nothing breaks under any threat. The suites were
made on the first four models; the others were looked at once, when they were done.

    python benchmarks/strength.py --data-dir DIR [--suite standard fast] [--models NAME ...] [--n N]
    python benchmarks/strength.py --data-dir DIR --reference     # run AutoAttack itself (hours)
    python benchmarks/strength.py --data-dir DIR --designs       # other ways to spend passes

DIR holds the data files and ``weights/*.npz``; pyautoattack is needed for --reference only, whose
results lie in ``strength.json``: for each example, 1 where AutoAttack left it standing.
"""

import argparse
import json
import time
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

import hauberk as hb
from hauberk.data import load_data
from hauberk.evaluation import SUITES, Result, Stage, Suite
from hauberk.models.loading import load_model

HERE = Path(__file__).parent
REFERENCE = HERE / "strength.json"
FEW = 20
"""Cost is told of models that leave at least so many points."""


@dataclass(frozen=True)
class Case:
    """A model, its data, and the sizes of linf, l2 and l1."""

    factory: str
    data: str
    sizes: tuple[float, float, float]
    n: int = 200
    weights: str | None = None

    @property
    def threats(self) -> list[hb.Threat]:
        """The threats of the case."""
        names = zip(("linf", "l2", "l1"), self.sizes, strict=True)
        return [hb.threat(f"{norm}:{size!r}") for norm, size in names]


MNIST, CIFAR = "mnist:test", "cifar10:test"
UNION = str(HERE.parent / "recipes/train/weights/mnist-union/best.safetensors")
DESIGN = {
    "cifar10_resnet4b_linf2": Case("ResNet4B", CIFAR, (3 / 255, 0.4, 3.0)),
    "cifar10_cnn_a_adv_linf": Case("cnn_a_cifar10", CIFAR, (2 / 255, 0.25, 2.0)),
    "mnist_kwsmall_pgd_linf": Case("kwsmall_mnist", MNIST, (0.3, 1.0, 4.0)),
    "mnist_smallcnn_trades_linf": Case("SmallCNN", MNIST, (0.3, 1.5, 6.0)),
}
ONCE = {
    "cifar10_kwsmall_certified_l2_36_stage1": Case("kwsmall_cifar10", CIFAR, (3 / 255, 0.4, 8.0)),
    "mnist_kwsmall_certified_linf0.1": Case("kwsmall_mnist", MNIST, (0.1, 1.0, 4.0)),
    "mnist_madrytiny_linf": Case("madry_tiny", MNIST, (0.2, 0.8, 2.5)),
    "mnist-union": Case("kwwide_mnist", MNIST, (0.3, 2.0, 10.0), weights=UNION),
}
CASES = DESIGN | ONCE


def get(name: str, folder: Path, n: int | None) -> tuple[nn.Module, Tensor, Tensor]:
    """Model, images and labels of a case."""
    case = CASES[name]
    weights = case.weights or str(folder / "weights" / f"{name}.npz")
    model = load_model(f"hauberk.models:{case.factory}", weights)
    data = load_data(case.data, str(folder), limit=n or case.n)
    return model, data.images, data.labels


@dataclass(frozen=True)
class Row:
    """What a suite left of a model's examples, in percent, and what it cost.

    Attributes:
        found: accuracies, per threat and then the union.
        robust: passes of a point that stands under the union; NaN without one.
        mean: of all points.
        stands: how many points stand.
        escalated: whether the run saw signs of masked gradients.
    """

    found: list[float]
    robust: float
    mean: float
    stands: int
    seconds: float
    escalated: bool


def spent(result: Result) -> tuple[float, float]:
    """Passes of a point that stands under the union, and of any."""
    rows = result.store.rows("attack-")
    stands = result.ids.numpy()[result.robust().numpy()]
    each = rows["forwards"] + rows["backwards"]
    mine = each[np.isin(rows["id"], stands)].sum()
    return float(mine / len(stands)) if len(stands) else float("nan"), each.sum() / len(result.ids)


def ours(name: str, suite: str | Suite, args: argparse.Namespace) -> Row:
    """A suite of ours on a case."""
    model, x, y = get(name, args.data_dir, args.n)
    begun = time.perf_counter()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        result = hb.evaluate(model, x, y, CASES[name].threats, suite=suite, seed=args.seed)
    found = [100 * a for a in [*result.accuracy.values(), result.union_accuracy or 0.0]]
    robust, mean = spent(result)
    seconds = time.perf_counter() - begun
    stands = int(result.robust().sum())
    return Row(found, robust, mean, stands, seconds, bool(result.summary["escalated"]))


def published(name: str, n: int | None) -> list[float] | None:
    """What AutoAttack leaves of the first ``n`` examples, in percent, if it was run on them."""
    known: Mapping[str, Any] = json.loads(REFERENCE.read_text(encoding="utf-8"))
    if name not in known or (n or CASES[name].n) > known[name]["n"]:
        return None
    stands = [
        np.array([bit == "1" for bit in known[name][norm]][: n or CASES[name].n])
        for norm in ("Linf", "L2", "L1")
    ]
    stands.append(np.logical_and.reduce(stands))
    return [100 * float(one.mean()) for one in stands]


def line(label: str, found: list[float], more: str = "") -> None:
    """One line of the table."""
    print(f"{label:42} {' '.join(f'{v:6.1f}' for v in found)} {more}", flush=True)


def table(suites: Mapping[str, str | Suite], args: argparse.Namespace) -> None:
    """All models by all suites, and how each suite does against AutoAttack."""
    print(
        "accuracies in percent; robust: F + B of a point that nothing breaks; mean: of all points"
    )
    print(
        f"{'':42} {'linf':>6} {'l2':>6} {'l1':>6} {'union':>6} {'robust':>8} {'mean':>8} {'s':>6}"
    )
    above: dict[str, list[float]] = {label: [] for label in suites}
    cost: dict[str, list[float]] = {label: [] for label in suites}
    for name in args.models:
        once = " (looked at once)" if name in ONCE else ""
        print(f"{name}, {args.n or CASES[name].n} points{once}")
        reference = published(name, args.n)
        if reference is not None:
            line("  AutoAttack", reference)
        for label, suite in suites.items():
            row = ours(name, suite, args)
            more = f"{row.robust:8.0f} {row.mean:8.0f} {row.seconds:6.0f}"
            line(f"  {label}", row.found, more + ("  escalated" if row.escalated else ""))
            if reference is not None:
                above[label] += [a - b for a, b in zip(row.found, reference, strict=True)]
            if row.stands >= FEW and not row.escalated:
                cost[label].append(row.robust)
    for label in suites:
        worst = f"{max(above[label]):+.1f}" if above[label] else "unknown"
        passes = f"{np.mean(cost[label]):.0f}" if cost[label] else "unknown"
        print(
            f"{label}: at most {worst} points above AutoAttack; a robust point costs {passes} "
            f"passes (mean of {len(cost[label])} models without signs of masked gradients)"
        )


def designs(args: argparse.Namespace) -> dict[str, Suite]:
    """Other ways to spend passes on the attacks of `standard`."""
    suite = SUITES["standard"]
    stages = suite.stages

    def spend(change: Mapping[str, Any]) -> Suite:
        mine = {
            name: replace(stage, **change) if stage.adaptive else stage
            for name, stage in stages.items()
        }
        return replace(suite, attacks=mine)

    return {
        "every stage on all points": spend({"adaptive": False}),
        "nearest 10% first, until none breaks": spend({"adaptive": False, "portion": 0.1}),
        "best half by loss (A3), until none breaks": spend({"adaptive": False, "portion": 0.5}),
        "greedy on recorded runs (AutoAE)": greedy(suite, args),
        "scheduler": suite,
    }


def greedy(suite: Suite, args: argparse.Namespace) -> Suite:
    """Stages in the order of new breaks per pass, as recorded on the design models.

    Liu et al. 2023: the attack that adds most per pass comes next, until none adds one break for
    the suite's price. Every chosen stage is run on all points that stand.
    """
    found: dict[str, dict[tuple[str, int, str], tuple[bool, float]]] = {}
    for name in DESIGN if args.greedy is None else args.greedy:
        model, x, y = get(name, args.data_dir, args.n)
        own = {k: replace(v, adaptive=False, when="always") for k, v in suite.stages.items()}
        own = {k: v for k, v in own.items() if not v.carry and v.portion == 1}
        result = hb.evaluate(
            model, x, y, CASES[name].threats, suite=own, seed=args.seed + 1, all_attacks=True
        )
        parts = result.store.rows("attack-")
        columns = (parts[k].tolist() for k in ("id", "threat", "task", "broken"))
        each = (parts["forwards"] + parts["backwards"]).tolist()
        for id_, threat, task, broken, passes in zip(*columns, each, strict=True):
            found.setdefault(task, {})[name, id_, threat] = (bool(broken), passes)
    chosen: dict[str, Stage] = {}
    stands = {key for rows in found.values() for key in rows}
    for _ in range(len(found)):
        gains = {}
        for task, rows in found.items():
            left = [rows[key] for key in stands if key in rows]
            gains[task] = sum(b for b, _ in left) / max(1.0, sum(p for _, p in left))
        best = max(gains, key=lambda task: gains[task])
        if gains[best] * suite.price < 1:
            break
        chosen[best] = replace(suite.stages[best], adaptive=False, when="always")
        stands = {key for key in stands if not found[best].get(key, (False, 0))[0]}
        del found[best]
    print("greedy order:", ", ".join(chosen), flush=True)
    return replace(suite, attacks=chosen)


def reference(name: str, args: argparse.Namespace) -> dict[str, Any]:
    """Run the published ensemble; for each norm, which examples it leaves."""
    from pyautoattack import AutoAttack

    model, x, y = get(name, args.data_dir, args.n)
    counted = 0

    class Counted(nn.Module):
        def forward(self, inputs: Tensor) -> Tensor:
            nonlocal counted
            counted += len(inputs)
            logits: Tensor = model(inputs)
            return logits

    def bits(stands: Tensor) -> str:
        return "".join("01"[int(one)] for one in stands)

    with torch.no_grad():
        clean = model(x).argmax(1) == y
    found: dict[str, Any] = {"n": len(x), "sizes": list(CASES[name].sizes), "clean": bits(clean)}
    forwards = []
    for norm, eps in zip(("Linf", "L2", "L1"), CASES[name].sizes, strict=True):
        counted = 0
        attack = AutoAttack(Counted().eval(), norm=norm, eps=eps, version="standard", seed=0)
        points = attack.run_standard_evaluation(x, y, batch_size=len(x))
        points = points[0] if isinstance(points, tuple) else points
        with torch.no_grad():
            found[norm] = bits((model(points).argmax(1) == y) & clean)
        forwards.append(round(counted / len(x)))
    return found | {"forwards": forwards}


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
    parser.add_argument(
        "--greedy", nargs="+", default=None, choices=list(CASES),
        help="models whose runs the greedy design goes by; else all design models",
    )  # fmt: skip
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    if args.reference:
        for name in args.models:
            known = json.loads(REFERENCE.read_text(encoding="utf-8"))
            known[name] = reference(name, args)
            REFERENCE.write_text(json.dumps(known, indent=1) + "\n", encoding="utf-8")
    elif args.designs:
        args.models = [name for name in args.models if name in DESIGN]
        table(designs(args), args)
    else:
        table({f"{name} {SUITES[name].version}": name for name in args.suite}, args)


if __name__ == "__main__":
    main()
