"""What the projections cost and how exact they are, beside sorting and bisection.

The reference sorts the breakpoints of the piecewise linear equation for the multiplier, sums along
them and solves on the right piece: the standard exact method, for the whole batch at once. The
middle column bisects the multiplier 30 times. All three are timed in turns in one run, in float32;
CPU time (wall time on a GPU), median of the repeats. "error" is the largest distance to the
reference in float64 over the radius, "excess" the largest norm in float64 less the radius, over the
radius: it must not be positive.

    python benchmarks/projections.py [--repeats 7] [--threads 1] [--device cpu]
"""

import argparse
import time
from collections.abc import Callable
from statistics import median

import torch
from torch import Tensor

from hauberk.maths import project_l0, project_l1, project_l2, project_lp

SIZES = {(128, 64): (2.0, 0.6), (128, 784): (10.0, 2.0), (128, 3072): (12.0, 0.5)} | {
    (32, 150528): (60.0, 3.0)
}
FEW = 2_000_000  # entries up to which the slow norms are timed
Projection = Callable[[Tensor, float, Tensor, Tensor], Tensor]


def sorted_l1(a: Tensor, eps: float, lo: Tensor, hi: Tensor) -> Tensor:
    """Sum of clamp(|a| - mu, 0, bound): slope changes by 1 at |a|, back at |a| - bound."""
    size = a.abs()
    cap = torch.clamp(a, lo, hi).abs_()
    kinks, index = torch.cat((size, size - cap), 1).sort(1, descending=True)
    slope = torch.where(index < a.shape[1], 1.0, -1.0).to(a.dtype).cumsum_(1)
    value = torch.zeros_like(kinks)
    value[:, 1:] = (slope[:, :-1] * (kinks[:, :-1] - kinks[:, 1:])).cumsum_(1)
    aim = torch.full_like(value[:, :1], eps)
    after = torch.searchsorted(value, aim).clamp_(1, value.shape[1] - 1)
    before = after - 1
    mu = kinks.gather(1, before) - (eps - value.gather(1, before)) / slope.gather(1, before)
    mu = torch.where(cap.sum(1, keepdim=True) <= eps, torch.zeros_like(mu), mu)
    return torch.minimum((size - mu).clamp_min_(0), cap).copysign_(a)


def sorted_l2(a: Tensor, eps: float, lo: Tensor, hi: Tensor) -> Tensor:
    """Sum of min(q a^2, bound^2): entries saturate in the order of (bound / a)^2."""
    clipped = torch.clamp(a, lo, hi)
    square, cap = a.square(), clipped.square()
    ratio = (cap / square.clamp_min(torch.finfo(a.dtype).tiny)).masked_fill_(a == 0, 1)
    kinks, index = ratio.sort(1)
    square, cap = square.gather(1, index), cap.gather(1, index)
    held = cap.cumsum(1) - cap
    free = square.flip(1).cumsum_(1).flip(1)
    aim = torch.full_like(kinks[:, :1], eps**2)
    at = torch.searchsorted(torch.addcmul(held, kinks, free), aim).clamp_max_(a.shape[1] - 1)
    q = (eps**2 - held.gather(1, at)) / free.gather(1, at)
    q = torch.where(clipped.square().sum(1, keepdim=True) <= eps**2, torch.ones_like(q), q)
    return torch.clamp(a * q.clamp_(0, 1).sqrt_(), lo, hi)


def sorted_l0(a: Tensor, k: float, lo: Tensor, hi: Tensor) -> Tensor:
    clipped = torch.clamp(a, lo, hi)
    index = (a.square() - (a - clipped).square()).sort(1, descending=True).indices[:, : int(k)]
    return torch.zeros_like(a).scatter_(1, index, clipped.gather(1, index))


def bisected_l1(a: Tensor, eps: float, lo: Tensor, hi: Tensor) -> Tensor:
    size, cap = a.abs(), torch.clamp(a, lo, hi).abs_()
    zero, left = a.new_zeros(()), torch.empty_like(a)
    low = torch.zeros_like(a[:, :1])
    high = torch.where(cap.sum(1, keepdim=True) <= eps, low, size.amax(1, keepdim=True))
    for _ in range(30):
        middle = (low + high) / 2
        torch.clamp(torch.sub(size, middle, out=left), zero, cap, out=left)
        outside = left.sum(1, keepdim=True) > eps
        low, high = torch.where(outside, middle, low), torch.where(outside, high, middle)
    torch.clamp(torch.sub(size, high, out=left), zero, cap, out=left)
    return left.copysign_(a)


def bisected_l2(a: Tensor, eps: float, lo: Tensor, hi: Tensor) -> Tensor:
    out = torch.clamp(a, lo, hi)
    low = torch.zeros_like(a[:, :1])
    inside = torch.linalg.vector_norm(out, dim=1, keepdim=True) <= eps
    high = torch.ones_like(low)
    low = torch.where(inside, high, low)
    for _ in range(30):
        middle = (low + high) / 2
        torch.clamp(torch.mul(a, middle, out=out), lo, hi, out=out)
        outside = torch.linalg.vector_norm(out, dim=1, keepdim=True) > eps
        low, high = torch.where(outside, low, middle), torch.where(outside, middle, high)
    return torch.clamp(torch.mul(a, low, out=out), lo, hi, out=out)


def seconds(work: Callable[[], object], device: torch.device) -> float:
    """Of one call; short ones are repeated within the measurement."""
    cpu = device.type == "cpu"
    now = time.process_time if cpu else time.perf_counter
    calls = 1
    while True:
        if not cpu:
            torch.cuda.synchronize()
        start = now()
        for _ in range(calls):
            work()
        if not cpu:
            torch.cuda.synchronize()
        spent = now() - start
        if spent > 5e-3:
            return spent / calls
        calls *= 4


def problem(
    kind: str, shape: tuple[int, int], p: float, eps: float, device: torch.device
) -> tuple[Tensor, Tensor, Tensor]:
    """A perturbation of five times the radius, and the box around images: MNIST-like ones with
    four pixels in five at 0, or dense ones."""
    g = torch.Generator().manual_seed(0)
    x = torch.rand(shape, generator=g)
    if kind == "mnist":
        x = x * (torch.rand(shape, generator=g) < 0.2)
    a = torch.randn(shape, generator=g)
    a *= 5 * eps / torch.linalg.vector_norm(a, p, dim=1, keepdim=True)
    return a.to(device), (-x).to(device), (1 - x).to(device)


def row(
    name: str, ours: Projection, others: list[Projection], p: float, eps: float,
    shape: tuple[int, int], kind: str, device: torch.device, repeats: int,
) -> str:  # fmt: skip
    a, lo, hi = problem(kind, shape, max(p, 1.0), eps if p else shape[1] / 20, device)
    works = [lambda f=f: f(a, eps, lo, hi) for f in (ours, *others)]
    times: list[list[float]] = [[] for _ in works]
    for _ in range(repeats):
        for work, spent in zip(works, times, strict=True):
            spent.append(seconds(work, device))
    best = [median(spent) * 1e3 for spent in times]
    found = ours(a, eps, lo, hi).double()
    norm = torch.linalg.vector_norm(found, p, dim=1)
    excess = f"{float((norm.max() - eps) / eps):9.1e}"
    sort = f"{best[1]:10.3f}" if others else f"{'':10}"
    bisect = f"{best[2]:10.3f}" if len(others) > 1 else f"{'':10}"
    ratio = f"{best[1] / best[0]:6.1f}" if others else f"{'':6}"
    error = f"{'':9}"
    if others:
        exact = others[0](a.double(), eps, lo.double(), hi.double())
        error = f"{float((found - exact).norm(dim=1).max()) / eps:9.1e}"
    size = f"{shape[0]} x {shape[1]}"
    return f"{size:13} {kind:6} {name:7} {best[0]:9.3f} {bisect} {sort} {ratio} {error} {excess}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--device", default="cpu")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    device = torch.device(args.device)
    print(f"torch {torch.__version__}, {args.device}, {args.threads} thread(s), float32")
    print(
        f"{'size':13} {'images':6} {'p, eps':7} {'ours ms':>9} {'bisect ms':>10} {'sort ms':>10} "
        f"{'ratio':>6} {'error':>9} {'excess':>9}"
    )
    for shape, (eps1, eps2) in SIZES.items():
        for kind in ("mnist", "dense"):
            k = float(shape[1] // 20)
            todo: list[tuple[str, Projection, list[Projection], float, float]] = [
                (f"1, {eps1:g}", project_l1, [sorted_l1, bisected_l1], 1.0, eps1),
                (f"2, {eps2:g}", project_l2, [sorted_l2, bisected_l2], 2.0, eps2),
                (f"0, {k:g}", project_l0, [sorted_l0], 0.0, k),
            ]
            if shape[0] * shape[1] <= FEW:
                general: Projection = lambda a, e, lo, hi: project_lp(a, 1.5, e, lo, hi)  # noqa: E731
                todo.append((f"1.5, {eps2:g}", general, [], 1.5, eps2))
            for name, ours, others, p, eps in todo:
                repeats = args.repeats if shape[0] * shape[1] <= FEW else min(args.repeats, 5)
                print(row(name, ours, others, p, eps, shape, kind, device, repeats), flush=True)


if __name__ == "__main__":
    main()
