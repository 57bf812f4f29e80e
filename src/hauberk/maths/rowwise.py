"""What all projections share: blocks of rows, the working dtype, radii, and strictness.

A solver sees examples as the rows of a matrix, in blocks whose temporaries stay in the cache of
the processor, in float32 or float64 and free of NaN.
"""

import threading
from collections.abc import Callable
from math import inf
from typing import NamedTuple

import torch
from torch import Tensor

BLOCK = 400_000  # elements of a block on a CPU
KEPT = 32 << 20  # bytes of memory that a thread keeps at most
SUBTLE = 1e-12  # below this radius squares of float32 coordinates may vanish


class Precision(NamedTuple):
    """How the rounding of a working dtype is kept away from the radius, relative."""

    guard: Tensor  # 1 less the roundings of the last scaling and of the norm that it rests on
    trust: float  # 1 less a bound on the rounding of a norm in the working dtype
    fine: float  # solvers aim to end this close to their aim
    good: float  # and may end this close, if rounding keeps them from better
    floor: float  # a radius below this, absolute, counts as 0


def _precision(guard: float, trust: float, fine: float, good: float, floor: float) -> Precision:
    # A tensor, since torch multiplies small tensors by those much faster than by floats.
    return Precision(torch.tensor(1 - guard, dtype=torch.float64), 1 - trust, fine, good, floor)


PRECISION = {
    torch.float32: _precision(2e-7, 5e-6, 4e-7, 1e-6, 1e-30),
    torch.float64: _precision(1e-14, 2e-14, 2e-15, 2e-14, 1e-140),
}


class Radius(NamedTuple):
    """Radii of a block, each (n, 1)."""

    exact: Tensor
    """Float64; 0 where it is too small to matter."""
    aim: Tensor
    """The same in the working dtype, but infinite where ``exact`` is 0: solvers have nothing to do
    there, since the last scaling makes those rows 0."""
    unit: Tensor
    """One over ``aim``."""
    positive: bool
    """Whether none is 0, as far as the host knows."""

    def of(self, rows: slice | Tensor) -> "Radius":
        return Radius(self.exact[rows], self.aim[rows], self.unit[rows], self.positive)


class ReadyRadii:
    """The radii of a batch, checked and converted once for many projections of it.

    The projections take it wherever they take ``eps``.

    Args:
        eps: one radius, or one of each example, ``(B,)``; 0 and inf included.
        batch: B.
        device: where the projections run.

    Raises:
        ValueError: for radii of another shape, or negative or NaN ones that the host can see.

    Example:
        >>> from hauberk.maths import project_l2
        >>> radii = ReadyRadii(1.0, 1, torch.device("cpu"))
        >>> project_l2(torch.tensor([[3.0, 4.0]]), radii, -inf, inf).mul(10).round()
        tensor([[6., 8.]])
    """

    def __init__(self, eps: float | Tensor, batch: int, device: torch.device) -> None:
        self.radii, self.least = _radii(eps, batch, device)
        self._aims: dict[torch.dtype, Radius] = {}

    def aims(self, dtype: torch.dtype) -> Radius:
        """The radii for a working dtype."""
        if dtype not in self._aims:
            self._aims[dtype] = _aims(self.radii, dtype, self.least)
        return self._aims[dtype]


Solve = Callable[[Tensor, Radius, Tensor, Tensor, Tensor, list[Tensor]], None]
"""From x (n, d), its radii, its bounds (n, d) or (): fills out (n, d); x and spares are its own."""


def on_rows(
    solve: Solve,
    a: Tensor,
    eps: float | Tensor | ReadyRadii,
    lo: float | Tensor,
    hi: float | Tensor,
    *,
    spares: int = 0,
    double: bool = False,
) -> Tensor:
    """Run a solver on the blocks of ``a`` (B, ...); the result has the shape and dtype of ``a``.

    The solver gets as many ``spares`` like x to work in. ``double`` asks for float64 whatever the
    dtype of ``a``.
    """
    if not a.is_floating_point() or a.dim() == 0:
        raise ValueError(f"a is {a.dtype} of shape {tuple(a.shape)}: give floats (B, ...)")
    batch = len(a)
    reach = eps if isinstance(eps, ReadyRadii) else ReadyRadii(eps, batch, a.device)
    if a.numel() == 0:
        return a.clone()
    flat = a.reshape(batch, -1)
    double = double or a.dtype == torch.float64 or 0 < reach.least < SUBTLE
    dtype = torch.float64 if double else torch.float32
    radius = reach.aims(dtype)
    lo, hi = _bound(lo, a, dtype), _bound(hi, a, dtype)
    out = torch.empty(flat.shape, dtype=dtype, device=a.device)
    size = max(1, BLOCK // flat.shape[1]) if cheap_to_read(a) else batch
    if size >= batch:
        x, *rest = _scratch(out, 1 + spares)
        solve(_clean(flat, x), radius, lo, hi, out, rest)
    else:
        for start in range(0, batch, size):
            rows = slice(start, start + size)
            low, high = (b[rows] if b.dim() else b for b in (lo, hi))
            part = out[rows]
            x, *rest = _scratch(part, 1 + spares)
            solve(_clean(flat[rows], x), radius.of(rows), low, high, part, rest)
    return toward_zero(out, a.dtype).view(a.shape)


def cheap_to_read(x: Tensor) -> bool:
    """Whether the host can read numbers without waiting for a device."""
    return x.is_cpu


def all_inside(norm: Tensor, radius: Radius, dtype: torch.dtype) -> bool:
    """Whether rows of this ``norm`` (n, 1) are all inside; False if it is not read."""
    if not (cheap_to_read(norm) and radius.positive):
        return False
    worst: float = (norm * radius.unit).max().item()
    return worst <= PRECISION[dtype].trust


def shrink(norm: Tensor, radius: Radius, dtype: torch.dtype) -> Tensor:
    """The factor (n, 1), at most 1, that takes rows of this float64 ``norm`` strictly inside.

    It pays for roundings, no more, and spares the constraint a tolerance. The box survives it.
    """
    if not radius.positive:
        norm = norm.clamp_min(1e-300)
    goal = radius.exact * PRECISION[dtype].guard
    return goal.div_(norm).clamp_max_(1.0).to(dtype)


def toward_zero(x: Tensor, dtype: torch.dtype) -> Tensor:
    """``x`` in another floating dtype, every number rounded toward zero: no bound is crossed."""
    if x.dtype == dtype:
        return x
    y = x.to(dtype)
    wide = torch.promote_types(x.dtype, dtype)
    over = y.to(wide).abs() > x.to(wide).abs()
    # The next number toward zero is the next smaller integer, whatever the sign bit says.
    bits = ints(dtype)
    return (y.view(bits) - over.to(bits)).view(dtype)


def ints(dtype: torch.dtype) -> torch.dtype:
    """The integers as wide as a floating dtype."""
    return {2: torch.int16, 4: torch.int32, 8: torch.int64}[dtype.itemsize]


def _scratch(like: Tensor, count: int) -> tuple[Tensor, ...]:
    """Uninitialised tensors like ``like`` (n, d), which serve again at the next call.

    On a CPU, memory fresh from the system costs more than all arithmetic of a projection, so each
    thread keeps some.
    """
    need = count * like.numel() * like.element_size()
    if not cheap_to_read(like) or need > KEPT:
        return torch.empty((count, *like.shape), dtype=like.dtype, device=like.device).unbind()
    key = (count, like.shape, like.dtype)
    if _kept.key != key:
        if _kept.memory is None or _kept.memory.numel() < need:
            with torch.inference_mode(False):  # in it, what is made can only be written to in it
                _kept.memory = torch.empty(need, dtype=torch.uint8)
        flat = _kept.memory[:need].view(like.dtype)
        _kept.key, _kept.tensors = key, flat.view(count, *like.shape).unbind()
    return _kept.tensors


class _Kept(threading.local):
    key: tuple[int, torch.Size, torch.dtype] | None = None
    memory: Tensor | None = None
    tensors: tuple[Tensor, ...] = ()


_kept = _Kept()


def _clean(x: Tensor, out: Tensor) -> Tensor:
    return torch.nan_to_num(x.to(out.dtype), 0.0, out=out)  # infinities become the largest numbers


def _radii(eps: float | Tensor, batch: int, device: torch.device) -> tuple[Tensor, float]:
    """Radii as (B, 1), and the least of them, or inf where that needs a sync."""
    if isinstance(eps, Tensor):
        if eps.numel() not in (1, batch):
            raise ValueError(f"eps is of shape {tuple(eps.shape)}: give one number, or ({batch},)")
        radii = eps.to(device).reshape(-1, 1).expand(batch, 1)
        least = float(radii.min().item()) if cheap_to_read(radii) and batch else inf
    else:
        radii = torch.full((batch, 1), eps, dtype=torch.float64, device=device)
        least = float(eps)
    if not least >= 0:
        raise ValueError(f"eps is {least}: radii must be at least 0")
    return radii, least


def _aims(radii: Tensor, dtype: torch.dtype, least: float) -> Radius:
    exact, aim = radii.double(), radii.to(dtype)
    positive = PRECISION[dtype].floor <= least
    if not (positive and cheap_to_read(radii)):
        none = exact < PRECISION[dtype].floor
        exact, aim = exact.masked_fill(none, 0.0), aim.masked_fill(none, inf)
    return Radius(exact, aim, aim.reciprocal(), positive)


def _bound(bound: float | Tensor, a: Tensor, dtype: torch.dtype) -> Tensor:
    """A bound as (B, d) or (), in the working dtype."""
    if not isinstance(bound, Tensor):
        bound = torch.full((), bound, dtype=torch.float64, device=a.device)
    bound = toward_zero(bound, dtype) if bound.is_floating_point() else bound.to(dtype)
    if bound.dim() == 0:
        return bound
    return (bound if bound.shape == a.shape else bound.expand(a.shape)).reshape(len(a), -1)
