"""How near do the radius solvers come, against exact radii, published attacks and each other?

    python benchmarks/radius.py                        # what needs no data files
    python benchmarks/radius.py --data-dir DIR         # everything
    python benchmarks/radius.py --data-dir DIR --only lo [--models NAME ...] [--norms l2 ...]

DIR holds the data files and ``weights/*.npz``. Foolbox and pyautoattack take part in ``lo`` where
they are installed.
"""

import argparse
import time
from collections.abc import Callable
from functools import partial
from importlib import import_module
from importlib.util import find_spec
from math import inf
from pathlib import Path
from typing import Any

import torch
from small_nets import digits_mlp  # type: ignore[import-not-found]  # lies beside this file
from torch import Tensor, nn

from hauberk.attacks import LPA, PPGD, PWCF, FastLPA
from hauberk.data import load_data
from hauberk.engine.outcome import Outcome
from hauberk.exact import solve as exact
from hauberk.models.loading import load_model
from hauberk.solvers import SOLVERS, serving, solver_class
from hauberk.solvers.base import Solver
from hauberk.solvers.ddn import DDN
from hauberk.solvers.pwcf import PWCFRadius
from hauberk.threats import Measured, Perceptual, layers, metric

Points = tuple[nn.Module, Tensor, Tensor]
Runner = Callable[[nn.Module, Tensor, Tensor], list[Tensor]]
PLAIN = "mnist_smallcnn_standard"
MODELS = {
    "mnist_kwsmall_certified_linf0.1": ("kwsmall_mnist", "mnist:test"),
    "cifar10_resnet4b_linf2": ("ResNet4B", "cifar10:test"),
    "mnist_lenet5_clntrained": ("LeNet5", "mnist:test"),
    PLAIN: ("SmallCNN", "mnist:test"),
}
MASKED = {
    "mnist_kwsmall_pgd_linf": ("kwsmall_mnist", "mnist:test"),
    "mnist_smallcnn_trades_linf": ("SmallCNN", "mnist:test"),
}
PUBLISHED = {"linf": 0.112, "l2": 1.423, "l1": 7.61}
NORMS = ["linf", "l2", "l1", "l0"]
DISTANCES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "linf": lambda x0, x: (x - x0).flatten(1).abs().amax(1),
    "l2": lambda x0, x: (x - x0).flatten(1).norm(dim=1),
    "l1": lambda x0, x: (x - x0).flatten(1).abs().sum(1),
}


def right(model: nn.Module, x: Tensor, y: Tensor, n: int) -> Points:
    """The first ``n`` examples that the model gets right."""
    with torch.no_grad():
        keep = (model(x).argmax(1) == y).nonzero().squeeze(1)[:n]
    return model, x[keep], y[keep]


def stored(name: str, folder: Path, n: int) -> Points:
    factory, source = (MODELS | MASKED)[name]
    model = load_model(f"hauberk.models:{factory}", str(folder / "weights" / f"{name}.npz"))
    data = load_data(source, str(folder), limit=2 * n + 20)
    return right(model, data.images, data.labels, n)


def digits(sizes: tuple[int, ...], n: int) -> Points:
    data = load_data("digits:test")
    return right(digits_mlp(sizes), data.images, data.labels, n)


def sized(name: str, budget: int = 2000, **options: int) -> Solver:
    """A solver of that name with steps for so many passes."""
    return solver_class(name)(**options).within(budget, 10)


def radii(outcome: Outcome) -> Tensor:
    return torch.where(outcome.fooled, outcome.distance, inf)


def passes(outcome: Outcome) -> float:
    return float((outcome.forwards + outcome.backwards).double().mean())


def against(label: str, ratio: Tensor, spent: float) -> None:
    """A row of ratios to proven radii."""
    shares = torch.tensor([0.5, 0.95, 1.0], dtype=torch.float64)
    middle, tail, worst = ratio.quantile(shares, interpolation="lower").tolist()
    row = f"{middle:10.6f} {tail:10.6f} {worst:10.6f} {float(ratio.min()) - 1:10.1e}"
    print(f"  {label:12} {row} {spent:8.0f}", flush=True)


def exact_table(args: argparse.Namespace) -> None:
    """Ratios of radii found to exact ones."""
    print("exact: ratio of the radius found to the proven one")
    print(f"  {'':12} {'median':>10} {'p95':>10} {'worst':>10} {'least-1':>10} {'passes':>8}")
    for sizes in ((64, 32, 10), (64, 64, 10)):
        model, x, y = digits(sizes, args.points or 50)
        for norm in [norm for norm in args.norms if norm in DISTANCES]:
            true = exact.radius(model, x, y, norm, time_limit=20.0)
            keep, took = true.proven, f"{float(true.seconds.mean()):.2f} s an example"
            print(f"{sizes} {norm}, {int(keep.sum())} of {len(x)} proven, {took}")
            solvers = {"best 2000": sized("best"), "best 300": sized("best", 300)}
            solvers |= {kind: sized(kind) for kind in ("fab", "fmn", "pdpgd")}
            solvers |= {f"{kind} x9": sized(kind, targets=9) for kind in ("fmn", "pdpgd")}
            for label, solver in solvers.items():
                outcome = solver(model, x, y, norm)
                against(label, (radii(outcome) / true.distance)[keep], passes(outcome))


class Counted(nn.Module):
    """A model that counts the passes of whoever uses it."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model, self.passes = model, 0

    def forward(self, x: Tensor) -> Tensor:
        self.passes += len(x)
        logits: Tensor = self.model(x)
        if logits.requires_grad:
            logits.register_hook(self.back)
        return logits

    def back(self, grad: Tensor) -> None:
        self.passes += len(grad)


def published(norm: str) -> dict[str, Runner]:
    """Other people's attacks for the norm, at about 2000 passes; each gives sets of points."""
    found: dict[str, Runner] = {}
    if find_spec("foolbox") is not None:
        attacks = import_module("foolbox.attacks")
        kind = f"{'LInf' if norm == 'linf' else norm.capitalize()}FMNAttack"
        found["their fmn"] = partial(their_descent, getattr(attacks, kind))
        if norm == "l2":
            found["their ddn"] = partial(their_descent, attacks.DDNAttack)
    if find_spec("pyautoattack") is not None and norm != "l0":
        found["their fab"] = partial(their_fab, norm.capitalize())
    return found


def their_descent(kind: Callable[..., Any], net: nn.Module, x: Tensor, y: Tensor) -> list[Tensor]:
    wrapped = import_module("foolbox").PyTorchModel(net, bounds=(0, 1), device="cpu")
    return [kind(steps=1000)(wrapped, x, y, epsilons=None)[1]]


def their_fab(norm: str, net: nn.Module, x: Tensor, y: Tensor) -> list[Tensor]:
    kind = import_module("pyautoattack.fab_pt").FABAttack_PT
    attack, found = kind(net, norm=norm, n_iter=100, targeted=True, device=x.device), []
    for target in range(2, 11):
        # Its own loop over classes leaves an example at the first success.
        attack.target_class = target
        with torch.no_grad():
            found.append(attack.attack_single_run(x, y, is_targeted=True))
    return found


def nearest(model: nn.Module, x: Tensor, y: Tensor, norm: str, sets: list[Tensor]) -> Tensor:
    """The least distance of points that fool the model inside the box, ``(B,)`` float64."""
    best = torch.full((len(x),), inf, dtype=torch.float64)
    region = metric(norm).at(x)
    for points in sets:
        inside = ((points >= 0) & (points <= 1)).flatten(1).all(1)
        with torch.no_grad():
            good = (model(points).argmax(1) != y) & inside
        best = torch.where(good, region.distance(points).minimum(best), best)
    return best


def lo_table(args: argparse.Namespace) -> None:
    """Local optimality of every solver."""
    print("lo: local optimality; median of the radii; examples without a find; passes; seconds")
    absent = [package for package in ("foolbox", "pyautoattack") if find_spec(package) is None]
    print(f"not installed and left out: {', '.join(absent) or 'nothing'}")
    for name in args.models or [*MODELS, *(MASKED if args.masked else ())]:
        model, x, y = stored(name, args.data_dir, args.points or 10)
        for norm in args.norms:
            print(f"{name} {norm}, {len(x)} examples")
            solvers = {"best 2000": sized("best"), "best 300": sized("best", 300)}
            for kind in args.solvers or SOLVERS[1:]:
                if kind in serving(metric(norm)):
                    solvers[kind] = sized(kind)
                    if kind in ("fmn", "pdpgd", "sigma_zero"):
                        solvers[f"{kind} x9"] = sized(kind, targets=9)
            runs: dict[str, tuple[Tensor, float, float]] = {}
            for label, solver in solvers.items():
                begun = time.process_time()
                outcome = solver(model, x, y, norm)
                runs[label] = radii(outcome), passes(outcome), time.process_time() - begun
            for label, run in published(norm).items():
                begun, counted = time.process_time(), Counted(model).eval()
                try:
                    found = nearest(model, x, y, norm, run(counted, x, y))
                except IndexError as error:  # foolbox's FMN, where it changes all features
                    print(f"  {label:15} failed: {error}", flush=True)
                    continue
                runs[label] = found, counted.passes / len(x), time.process_time() - begun
            least = torch.stack([found for found, _, _ in runs.values()]).amin(0)
            first = least[least < inf].max()
            room = first - least.clamp(max=first).mean()
            for label, (found, spent, seconds) in runs.items():
                lo = float((first - found.minimum(first).mean()) / room)
                row = f"{lo:7.4f} {float(found.median()):10.5g} {int((found == inf).sum()):4d}"
                print(f"  {label:14} {row} {spent:7.0f} {seconds:6.1f}", flush=True)


def general_table(args: argparse.Namespace) -> None:
    """Solvers that know a distance as a function only."""
    print("general: median radius over that of best 2000, which knows the norm; at 2000 passes")
    print(f"  {'':5} {'general':>10} {'best':>10} {'pwcf':>10} {'pwcf+norm':>10}")
    cases = {"digits 64-32-10": digits((64, 32, 10), args.points or 20)}
    if args.data_dir is not None:
        cases[PLAIN] = stored(PLAIN, args.data_dir, args.points or 20)
    for name, (model, x, y) in cases.items():
        print(f"{name}, {len(x)} examples")
        for norm in [norm for norm in args.norms if norm in DISTANCES]:
            threat = Measured(DISTANCES[norm], eps=inf)
            known = radii(sized("best")(model, x, y, norm)).median()
            row, pwcf = f"  {norm:5}", (("pwcf", threat), ("pwcf", norm))
            for label, told in (("general", threat), ("best", threat), *pwcf):
                found = radii(sized(label)(model, x, y, told))
                row += f" {float(found.median() / known):10.4f}"
            print(row, flush=True)


def pwcf_table(args: argparse.Namespace) -> None:
    """PWCF's speed and accuracy on a small model."""
    model, x, y = digits((64, 32, 10), args.points or 64)
    true = exact.radius(model, x, y, "l2", time_limit=20.0)
    ddn = radii(DDN(steps=1000)(model, x, y, "l2"))
    print(f"pwcf: digits 64-32-10, l2, {len(x)} examples, {int(true.proven.sum())} proven radii")
    print(f"  {'steps':>5} {'/ exact':>9} {'/ DDN':>9} lost   grads   s each   (medians of ratios)")
    for steps in (200, 500, 1000):
        begun = time.process_time()
        outcome = PWCFRadius(steps=steps)(model, x, y, "l2")
        seconds, found = (time.process_time() - begun) / len(x), radii(outcome)
        ratios = [float((found / other).median()) for other in (true.distance, ddn)]
        print(
            f"  {steps:5d} {ratios[0]:9.5f} {ratios[1]:9.5f} {int((found == inf).sum()):4d} "
            f"{float(outcome.backwards.double().mean()):7.0f} {seconds:7.3f}",
            flush=True,
        )


def medians_table(args: argparse.Namespace) -> None:
    """Medians beside published ones."""
    model, x, y = stored("mnist_lenet5_clntrained", args.data_dir, args.points or 100)
    print(f"medians: mnist_lenet5_clntrained, {len(x)} examples, best 2000")
    for norm in [norm for norm in args.norms if norm in PUBLISHED]:
        found = float(radii(sized("best")(model, x, y, norm)).median())
        print(f"  {norm:5} {found:8.4f}   published {PUBLISHED[norm]:g}", flush=True)


def perceptual_table(args: argparse.Namespace) -> None:
    """Attacks within a perceptual distance."""
    model, x, y = stored(PLAIN, args.data_dir, args.points or 50)
    features = layers(model, ["conv1", "conv2", "conv3", "conv4"])
    radius = radii(sized("general", 1000)(model, x, y, Perceptual(features)))
    threat = Perceptual(features, eps=float(radius.median()))
    print(f"perceptual: eps {threat.eps:.4f}, the median radius found; {len(x)} examples")
    print(f"  {'violation / success, %':22} {'ce':>15} {'margin':>15}")
    for name, attack in {"FastLPA": FastLPA, "LPA": LPA, "PPGD": PPGD, "PWCF": PWCF}.items():
        row = f"  {name:22}"
        for loss in ("ce", "margin"):
            outcome = attack(loss=loss)(model, x, y, threat)
            outside = threat.exact(x, outcome.points) > threat.eps
            hits = (outside, outcome.fooled & ~outside)
            shares = [100 * float(hit.double().mean()) for hit in hits]
            row += f"  {shares[0]:5.1f} / {shares[1]:5.1f}"
        print(row, flush=True)


TABLES = {
    "exact": exact_table, "lo": lo_table, "general": general_table, "pwcf": pwcf_table,
    "perceptual": perceptual_table, "medians": medians_table,
}  # fmt: skip
NEED = ("lo", "perceptual", "medians")  # the data files


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data-dir", type=Path)
    parser.add_argument("--only", choices=list(TABLES))
    parser.add_argument("--points", type=int, help="examples; each table has its own number")
    parser.add_argument("--norms", nargs="+", default=NORMS, choices=NORMS)
    parser.add_argument("--models", nargs="+", choices=[*MODELS, *MASKED], metavar="NAME")
    parser.add_argument("--solvers", nargs="+", choices=SOLVERS[1:], help="lo: beside best")
    parser.add_argument("--masked", action="store_true", help="lo: models that mask gradients, too")
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    if args.only in NEED and args.data_dir is None:
        parser.error(f"{args.only} needs --data-dir")
    for name, table in TABLES.items():
        if name == args.only or (not args.only and (args.data_dir or name not in NEED)):
            table(args)


if __name__ == "__main__":
    main()
