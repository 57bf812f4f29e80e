"""Quick bounds on both sides: of ReLU units over a ball, and of the radius from above."""

import numpy as np

from hauberk.exact.net import Array, ReluNet

Bounds = list[tuple[Array, Array]]
"""Lower and upper bounds of what enters each ReLU layer."""


def unit_bounds(
    net: ReluNet, x: Array, lo: Array, hi: Array, metric: str, r: float, signs: list[Array]
) -> Bounds:
    """Bounds (units,) a layer over `x + d`, `lo <= d <= hi`, `|d| <= r`.

    Each layer's bounds come from linear bounds pushed back to the input (CROWN, Zhang et al.
    2018). Units of sign 1 are taken as active, of sign -1 as inactive; where that cannot be, a
    lower bound exceeds its upper one.
    """
    bounds: Bounds = []
    for depth, (weight, bias) in enumerate(net.layers[:-1]):
        rows = np.concatenate((weight, -weight))
        top = highest(net, rows, bounds[:depth], x, lo, hi, metric, r)
        upper, lower = np.split(top, 2)
        low, high = bias - lower, bias + upper
        low = np.where(signs[depth] > 0, np.maximum(low, 0.0), low)
        high = np.where(signs[depth] < 0, np.minimum(high, 0.0), high)
        bounds.append((low, high))
        if (low > high).any():
            break
    return bounds


def highest(
    net: ReluNet, rows: Array, bounds: Bounds, x: Array, lo: Array, hi: Array, metric: str, r: float
) -> Array:
    """Upper bounds (N,) of `rows` (N, units) times the last bounded layer's ReLU outputs."""
    total = np.zeros(len(rows))
    for (weight, bias), (low, high) in zip(
        net.layers[: len(bounds)][::-1], bounds[::-1], strict=True
    ):
        off, on = high <= 0, low >= 0
        width = np.where(off | on, 1.0, high - low)
        chord = np.where(on, 1.0, np.where(off, 0.0, high / width))
        under = np.where(on, 1.0, np.where(off, 0.0, (high > -low).astype(float)))
        lift = np.where(off | on, 0.0, -low * high / width)
        up, down = np.maximum(rows, 0.0), np.minimum(rows, 0.0)
        total = total + up @ lift
        rows = up * chord + down * under
        total = total + rows @ bias
        rows = rows @ weight
    out: Array = total + rows @ x + _support(rows, lo, hi, metric, r)
    return out


def _support(rows: Array, lo: Array, hi: Array, metric: str, r: float) -> Array:
    """Upper bound (N,) of `rows @ d` over the ball inside the box; exact for linf and l1."""
    room = np.where(rows > 0, np.minimum(hi, r), np.minimum(-lo, r))
    gain = np.abs(rows)
    if metric == "l1":
        order = np.argsort(-gain, axis=1)
        gain, room = (np.take_along_axis(v, order, 1) for v in (gain, room))
        left = np.maximum(r - np.cumsum(room, 1) + room, 0.0)
        room = np.minimum(room, left)
    best: Array = (gain * room).sum(1)
    if metric == "l2":
        best = np.minimum(best, r * np.linalg.norm(rows, axis=1))
    return best


def size(d: Array, metric: str) -> Array:
    """Norms (N,) of `d` (N, n)."""
    order = {"linf": np.inf, "l1": 1, "l2": 2}[metric]
    out: Array = np.linalg.norm(d, order, axis=1)
    return out


def nearest(slope: Array, need: Array, lo: Array, hi: Array, metric: str) -> Array:
    """Shortest `d` (N, n) with `lo <= d <= hi` and `slope . d >= need`; the largest gain if none.

    `lo <= 0 <= hi`. A row whose need is not positive stays 0.
    """
    room = np.where(slope == 0, 0.0, np.where(slope > 0, hi, -lo))
    gain, sign = np.abs(slope), np.sign(slope)
    need = np.maximum(need, 0.0)[:, None]
    if metric == "l1":
        order = np.argsort(-gain, axis=1)
        back = np.argsort(order, axis=1)
        gain_, room_ = (np.take_along_axis(v, order, 1) for v in (gain, room))
        worth = gain_ * room_
        before = np.cumsum(worth, 1) - worth
        part = np.maximum(need - before, 0.0) / np.where(gain_ > 0, gain_, 1.0)
        found: np.ndarray = np.take_along_axis(np.minimum(part, room_) * (gain_ > 0), back, 1)
        return np.asarray(sign * found)
    rate = gain if metric == "l2" else np.ones_like(gain)
    # Where the box stops a coordinate, the gain per multiplier changes: sort those places.
    stop = np.where(room > 0, room / np.where(rate > 0, rate, 1.0), 0.0)
    order = np.argsort(stop, axis=1)
    stop_, pace, worth = (
        np.take_along_axis(v, order, 1) for v in (stop, gain * rate * (room > 0), gain * room)
    )
    full = np.cumsum(worth, 1) - worth
    running = np.cumsum(pace[:, ::-1], 1)[:, ::-1]
    reached = full + stop_ * running
    at = np.minimum((reached < need).sum(1), gain.shape[1] - 1)[:, None]
    pick = [np.take_along_axis(v, at, 1) for v in (full, running)]
    multiplier = (need - pick[0]) / np.where(pick[1] > 0, pick[1], 1.0)
    multiplier = np.where(reached[:, -1:] < need, stop_[:, -1:], np.maximum(multiplier, 0.0))
    return np.asarray(sign * np.minimum(multiplier * rate, room))


def descend(
    net: ReluNet,
    x: Array,
    label: int,
    targets: Array,
    lo: Array,
    hi: Array,
    metric: str,
    steps: int = 40,
) -> Array:
    """Short `d` (T, n) that bring each target's logit up to the label's; NaN where none is found.

    Linearises the margin, goes to the nearest point of its zero set, pulls back (the idea of FAB,
    Croce & Hein 2020), and ends with a bisection towards `x`.
    """  # fmt: skip
    number = len(targets)
    rows = np.zeros((number, net.classes))
    rows[np.arange(number), targets] = 1.0
    rows[:, label] -= 1.0
    d = np.zeros((number, len(x)))
    best = np.full_like(d, np.nan)
    length = np.full(number, np.inf)

    def margin(d: Array) -> Array:
        out: Array = (net.logits(x + d) * rows).sum(1)
        return out

    for step in range(steps):
        pre = net.preactivations(x + d)
        gap = (pre[-1] * rows).sum(1)
        slope = net.slopes([a > 0 for a in pre[:-1]], rows)
        need = (slope * d).sum(1) - gap
        over = 1.05 if step % 2 else 1.005
        d = np.clip(nearest(slope, need, lo, hi, metric) * over, lo, hi)
        hit = (margin(d) >= 0) & (size(d, metric) < length)
        if hit.any():
            near, far = np.zeros(number), np.ones(number)
            for _ in range(20):
                half = (near + far) / 2
                inside = margin(d * half[:, None]) >= 0
                near, far = np.where(inside, near, half), np.where(inside, half, far)
            best[hit] = (d * far[:, None])[hit]
            length = np.where(hit, size(d, metric) * far, length)
            d = np.where(hit[:, None], d * 0.9, d)
    return best
