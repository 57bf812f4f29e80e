"""What the engine costs: CPU time of an APGD run over that of its bare passes.

Bare passes are what no attack can do without: the same number of forwards, losses and
input-gradients of the same batch, and nothing else. Both are timed in turns in one run; CPU time,
not wall time, and the median of the repeats, so that other work on the machine disturbs little.

    python benchmarks/overhead.py [--repeats 5] [--threads 1] [--steps 100] [--device cpu]

Further tables, by `--table`: `softened`, time and memory of a pass with softened gradients over a
plain one, on ResNet-18 (32 px) and ResNet-50 (224 px); `suite`, time of a suite over bare passes of
the same number; `copy`, time of a suite that searches on a faster copy over that without, beside
the ratio of bare passes (with --data-dir).
"""

import argparse
import copy
import time
import warnings
from collections.abc import Callable, Sequence
from functools import partial
from statistics import median
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

import hauberk as hb
from hauberk.data import load_data
from hauberk.models import MLP, MadryCNN, load_model
from hauberk.victims.victim import Victim

TARGETS = {("MadryCNN", "l1"): 1.08, ("MadryCNN", ""): 1.04, ("MLP", "l1"): 4.0, ("MLP", ""): 2.4}


def clock(work: Callable[[], object], device: torch.device) -> float:
    """Seconds of CPU time (wall time on a GPU, whose work the CPU clock does not see)."""
    if device.type == "cuda":
        torch.cuda.synchronize()
    now = time.process_time if device.type == "cpu" else time.perf_counter
    start = now()
    work()
    if device.type == "cuda":
        torch.cuda.synchronize()
    return now() - start


def bare(model: nn.Module, x: Tensor, y: Tensor, steps: int) -> None:
    x = x.clone()
    for _ in range(steps):
        x.requires_grad_(True)
        loss = F.cross_entropy(model(x), y, reduction="sum")
        torch.autograd.grad(loss, x)
    with torch.no_grad():
        F.cross_entropy(model(x), y, reduction="sum")


def measure(
    model: nn.Module, x: Tensor, threat: hb.Threat, loss: str, steps: int, repeats: int
) -> tuple[float, float]:
    """Median seconds of the bare passes and of the attack."""
    device = x.device
    y = model(x).argmax(1)
    attack = hb.attacks.APGD(steps=steps, loss=loss)
    bares, ours = [], []
    for _ in range(repeats):
        bares.append(clock(lambda: bare(model, x, y, steps), device))
        ours.append(
            clock(lambda: attack(model, x, y, threat, stop=False, batch_size=len(x)), device)
        )
    return median(bares), median(ours)


class Residual(nn.Module):
    """A block of ResNet-18 (two convolutions) or ResNet-50 (a bottleneck of three)."""

    def __init__(self, inside: int, width: int, stride: int, deep: bool) -> None:
        super().__init__()
        out = 4 * width if deep else width
        plan = [(1, width), (3, width), (1, out)] if deep else [(3, width), (3, width)]
        layers: list[nn.Module] = []
        channels = inside
        for place, (size, to) in enumerate(plan):
            step = stride if place == (1 if deep else 0) else 1
            layers += [nn.Conv2d(channels, to, size, step, size // 2, bias=False)]
            layers += [nn.BatchNorm2d(to), nn.ReLU()]
            channels = to
        self.main, self.last = nn.Sequential(*layers[:-1]), nn.ReLU()
        self.short: nn.Module = nn.Identity()
        if stride > 1 or inside != out:
            conv = nn.Conv2d(inside, out, 1, stride, bias=False)
            self.short = nn.Sequential(conv, nn.BatchNorm2d(out))

    def forward(self, x: Tensor) -> Tensor:
        found: Tensor = self.last(self.main(x) + self.short(x))
        return found


def resnet(deep: bool, classes: int = 10) -> nn.Module:
    """ResNet-18 for 32 pixels, or ResNet-50 for 224, with random weights."""
    stem: list[nn.Module] = [nn.Conv2d(3, 64, 3, 1, 1, bias=False)]
    if deep:
        stem = [nn.Conv2d(3, 64, 7, 2, 3, bias=False)]
    layers = [*stem, nn.BatchNorm2d(64), nn.ReLU()]
    layers += [nn.MaxPool2d(3, 2, 1)] if deep else []
    channels = 64
    for stage, blocks in enumerate((3, 4, 6, 3) if deep else (2, 2, 2, 2)):
        for block in range(blocks):
            stride = 2 if stage and not block else 1
            layers.append(Residual(channels, 64 * 2**stage, stride, deep))
            channels = 64 * 2**stage * (4 if deep else 1)
    layers += [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, classes)]
    return nn.Sequential(*layers).eval().requires_grad_(False)


def peak(work: Callable[[], object]) -> int:
    """Most bytes of tensors that work holds at once beyond what is there before, on the CPU."""
    from torch.profiler import ProfilerActivity, profile

    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as seen:
        work()
    held = most = 0
    for event in seen.profiler.kineto_results.events():
        if event.name() == "[memory]":
            held += event.nbytes()
            most = max(most, held)
    return most


def softened(args: argparse.Namespace) -> None:
    print("a pass there and back with softened gradients over a plain one")
    print(f"{'model':18} {'plain s':>8} {'ratio':>6} {'memory':>7}   (targets 1.10, 1.2)")
    for name, deep, shape in (
        ("ResNet-18, 32 px", False, (16, 3, 32, 32)), ("ResNet-50, 224 px", True, (2, 3, 224, 224))
    ):  # fmt: skip
        victim, x = Victim(resnet(deep).to(args.device)), torch.rand(shape, device=args.device)

        def work(soften: float, victim: Victim = victim, x: Tensor = x) -> None:
            u = x.clone().requires_grad_(True)
            victim.gradient(victim.logits(u, soften)[:, 0].sum(), None, u)

        times: tuple[list[float], list[float]] = ([], [])
        for _ in range(args.repeats + 1):  # the first warms up
            for kind, soften in enumerate((0.0, 0.3)):
                times[kind].append(clock(lambda s=soften: work(s), x.device))  # type: ignore[misc]
        plain, soft = (each[1:] for each in times)
        ratio = median(b / a for a, b in zip(plain, soft, strict=True))
        memory = peak(lambda: work(0.3)) / peak(lambda: work(0.0))
        print(f"{name:18} {median(plain):8.3f} {ratio:6.3f} {memory:7.3f}", flush=True)


def timed(
    model: nn.Module, x: Tensor, y: Tensor, threats: Sequence[hb.Threat], suite: str,
    on: hb.SearchOn | None = None,
) -> tuple[float, hb.Result]:  # fmt: skip
    """Seconds of an evaluation, and what it found."""
    found: list[hb.Result] = []

    def work() -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # random images, one class, balls of no size
            found.append(hb.evaluate(model, x, y, threats, suite=suite, search_precision=on))

    return clock(work, x.device), found[0]


def of_suite(
    name: str, model: nn.Module, x: Tensor, threats: Sequence[hb.Threat], suite: str
) -> None:
    """One row: a suite, and bare passes of the same number in batches as large."""
    y = model(x).argmax(1)
    seconds, found = timed(model, x, y, threats, suite)
    cost, steps = found.summary["cost"], 10
    there = clock(lambda: model(x), x.device) / len(x)
    both = (clock(lambda: bare(model, x, y, steps), x.device) / len(x) - there) / steps
    further = cost["forwards"] + cost["judge_forwards"] - cost["backwards"]
    passes = both * cost["backwards"] + there * further
    print(f"{name:18} {suite:9} {passes:8.2f} {seconds:8.2f} {seconds / passes:6.3f}", flush=True)


def suites(args: argparse.Namespace) -> None:
    print("a suite where nothing breaks, and bare passes of the same number (targets 1.10, 1.15)")
    print(f"{'model':18} {'suite':9} {'bare s':>8} {'suite s':>8} {'ratio':>6}")
    small = [hb.Linf(1e-6), hb.L2(1e-5), hb.L1(1e-4)]
    cnn = MadryCNN().eval().requires_grad_(False).to(args.device)
    x = torch.rand(args.batch, 1, 28, 28, device=args.device)
    of_suite("MadryCNN", cnn, x, small, args.suite)
    if args.only != "MadryCNN":
        x = torch.rand(16, 3, 32, 32, device=args.device)
        of_suite("ResNet-18, 32 px", resnet(False).to(args.device), x, small[:1], args.suite)


def copies(args: argparse.Namespace) -> None:
    print("a suite that searches on a bf16 copy, channels last, over that without; bare passes too")
    print(f"{'model':28} {'suite':>6} {'bare':>6}   accuracies with, without")
    on = hb.SearchOn(precision="bf16", channels_last=True)
    for weights, kind, data, threats in (
        ("mnist_smallcnn_trades_linf", "SmallCNN", "mnist:test",
         [hb.Linf(0.3), hb.L2(2), hb.L1(10)]),
        ("cifar10_resnet4b_linf2", "ResNet4B", "cifar10:test",
         [hb.Linf(2 / 255), hb.L2(0.25), hb.L1(2)]),
    ):  # fmt: skip
        model = load_model(f"hauberk.models:{kind}", f"{args.data_dir}/weights/{weights}.npz")
        model = model.eval().requires_grad_(False)
        some = load_data(data, args.data_dir, limit=args.batch)
        x, y = some.images, some.labels
        last: Any = copy.deepcopy(model).bfloat16()
        last = last.to(memory_format=torch.channels_last)
        low = x.bfloat16().contiguous(memory_format=torch.channels_last)
        passes = [
            min(clock(partial(bare, m, v, y, 5), x.device) for _ in range(args.repeats))
            for m, v in ((model, x), (last, low))
        ]
        runs = [timed(model, x, y, threats, args.suite, how) for how in (None, on)]
        times, found = zip(*runs, strict=True)
        accuracies = [
            " ".join(f"{100 * a:.1f}" for a in each.accuracy.values()) for each in reversed(found)
        ]
        print(f"{weights:28} {times[1] / times[0]:6.2f} {passes[1] / passes[0]:6.2f}   "
              f"{', '.join(accuracies)}", flush=True)  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--steps", type=int, default=100)
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--losses", nargs="+", default=["ce", "margin"])
    parser.add_argument("--only", choices=["MadryCNN", "MLP"])
    parser.add_argument("--table", choices=["apgd", "softened", "suite", "copy"], default="apgd")
    parser.add_argument("--suite", default="fast")
    parser.add_argument("--data-dir")
    args = parser.parse_args()
    if args.table == "copy" and args.data_dir is None:
        parser.error("--table copy takes trained models: give --data-dir")
    torch.set_num_threads(args.threads)
    torch.manual_seed(0)
    tables = {"softened": softened, "suite": suites, "copy": copies}
    if args.table in tables:
        tables[args.table](args)
        return
    print(f"APGD, batch {args.batch}, {args.steps} steps, {args.threads} thread(s), {args.device}")
    heads = ("model", "threat", "loss", "bare s", "ours s", "ratio", "target")
    print("{:9} {:9} {:7} {:>8} {:>8} {:>6} {:>6}".format(*heads))
    for name, model, shape in (("MLP", MLP(), (1, 8, 8)), ("MadryCNN", MadryCNN(), (1, 28, 28))):
        if args.only not in (None, name):
            continue
        model = model.eval().requires_grad_(False).to(args.device)
        # Four in five pixels are 0, as in MNIST: the box matters to the projections.
        x = torch.rand(args.batch, *shape) * (torch.rand(args.batch, *shape) < 0.2)
        x = x.to(args.device)
        for threat in (hb.Linf(0.3), hb.L2(2.0), hb.L1(10.0)):
            for loss in args.losses:
                few = args.repeats * (5 if name == "MLP" else 1)
                base, ours = measure(model, x, threat, loss, args.steps, few)
                target = TARGETS[name, "l1" if str(threat).startswith("l1") else ""]
                print(
                    f"{name:9} {threat!s:9} {loss:7} {base:8.3f} {ours:8.3f} "
                    f"{ours / base:6.3f} {target:6.2f}",
                    flush=True,
                )


if __name__ == "__main__":
    main()
