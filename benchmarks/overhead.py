"""What the engine costs: CPU time of an APGD run over that of its bare passes.

Bare passes are what no attack can do without: the same number of forwards, losses and
input-gradients of the same batch, and nothing else. Both are timed in turns in one run; CPU time,
not wall time, and the median of the repeats, so that other work on the machine disturbs little.

    python benchmarks/overhead.py [--repeats 5] [--threads 1] [--steps 100] [--device cpu]
"""

import argparse
import time
from collections.abc import Callable
from statistics import median

import torch
from torch import Tensor, nn
from torch.nn import functional as F

import hauberk as hb
from hauberk.models import MLP, MadryCNN

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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--steps", type=int, default=100)
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--losses", nargs="+", default=["ce", "margin"])
    parser.add_argument("--only", choices=["MadryCNN", "MLP"])
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    torch.manual_seed(0)
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
