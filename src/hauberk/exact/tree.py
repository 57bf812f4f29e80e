"""Branch and bound over activation patterns, with lower bounds that hold in float64."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from time import perf_counter

import numpy as np

from hauberk.exact.bounds import Bounds, highest, size, unit_bounds
from hauberk.exact.net import Array, ReluNet

_PRICE = 1e5
"""Of the slack that keeps a linear programme feasible, in radii."""
_CHEAP = 300.0
"""How much further than a move an open unit's output goes at the same cost."""


@dataclass(frozen=True)
class Subproblem:
    """One example and one other class, whose logit is to reach the label's.

    `lo <= d <= hi` are the moves that the box allows.
    """

    net: ReluNet
    x: Array
    label: int
    target: int
    lo: Array
    hi: Array
    metric: str

    @cached_property
    def row(self) -> Array:
        """The target's logit less the label's, as weights (C,) of the logits."""
        out = np.zeros(self.net.classes)
        out[self.target], out[self.label] = 1.0, -1.0
        return out

    def margin(self, d: Array) -> float:
        """The target's logit less the label's at `x + d`."""
        z = self.net.logits((self.x + d)[None])[0]
        return float(z[self.target] - z[self.label])

    def pattern(self, d: Array) -> list[Array]:
        """1 and -1 for the active and inactive units of each layer at `x + d`."""
        pre = self.net.preactivations((self.x + d)[None])[:-1]
        return [np.where(a[0] > 0, 1, -1) for a in pre]

    def free(self) -> list[Array]:
        """No unit's state assumed."""
        return [np.zeros(len(bias), dtype=int) for _, bias in self.net.layers[:-1]]


@dataclass(frozen=True)
class Relaxed:
    """Linear conditions on a move `d` (n,) and on the outputs `h` (m,) of units of open state.

    `rows @ (d, h) >= need` and `0 <= h <= high` hold wherever the target wins within the ball.

    Attributes:
        low: lower bounds of what goes into the open units, `(m,)`.
        into: `(m, n + m)` and `(m,)`: what goes into them, as a function of (d, h).
        chords: which of `rows` bounds each open unit's output by its chord, `(m,)`.
        open: the open units' layers and places, `(m, 2)`.
    """

    rows: Array
    need: Array
    high: Array
    low: Array
    into: tuple[Array, Array]
    chords: Array
    open: Array

    def branch(self, v: Array, y: Array) -> tuple[int, int, int]:
        """Layer, place and likelier sign of the unit whose chord costs the bound the most.

        By the solution `v` and the multipliers `y` of the rows.
        """
        score = y[self.chords] * -self.low * self.high / (self.high - self.low)
        if score.max() <= 0:
            score = np.minimum(self.high, -self.low)
        at = int(score.argmax())
        layer, place = self.open[at]
        return int(layer), int(place), 1 if self.into[0][at] @ v + self.into[1][at] > 0 else -1


def relax(task: Subproblem, signs: list[Array], r: float) -> Relaxed | None:
    """Conditions within radius `r` on units of the given `signs`; None if none can hold.

    `signs` has one array a layer: 1 for active, -1 for inactive, 0 for either.
    """
    net, lo, hi = task.net, np.maximum(task.lo, -r), np.minimum(task.hi, r)
    bounds = unit_bounds(net, task.x, lo, hi, task.metric, r, signs)
    if any((low > high).any() for low, high in bounds):
        return None
    weight, bias = net.layers[-1]
    row = (task.row @ weight)[None]
    top = highest(net, row, bounds, task.x, lo, hi, task.metric, r)[0]
    return None if top + task.row @ bias < 0 else _conditions(task, signs, bounds)


def _conditions(task: Subproblem, signs: list[Array], bounds: Bounds) -> Relaxed:
    net, n = task.net, len(task.x)
    masks = [(low < 0) & (high > 0) for low, high in bounds]
    m = sum(int(mask.sum()) for mask in masks)
    # What leaves each layer, as a function of v = (d, h): matrix and offset.
    flow, offset = np.eye(n, n + m), task.x
    rows, need = [np.zeros((0, n + m))], [np.zeros(0)]
    into, chords, ends, places = list(rows), [np.zeros(0, int)], [np.zeros((0, 2))], []
    beside, count, start = list(need), 0, n
    for depth, (sign, mask, (low, high)) in enumerate(zip(signs, masks, bounds, strict=True)):
        weight, bias = net.layers[depth]
        flow, offset = weight @ flow, weight @ offset + bias
        fixed, k = np.flatnonzero(sign), int(mask.sum())
        a, c, below, above = flow[mask], offset[mask], low[mask], high[mask]
        h = np.eye(k, n + m, start)
        slope = above / (above - below)
        rows += [sign[fixed, None] * flow[fixed], h - a, slope[:, None] * a - h]
        need += [-sign[fixed] * offset[fixed], c, slope * (below - c)]
        chords.append(count + len(fixed) + k + np.arange(k))
        into.append(a)
        beside.append(c)
        ends.append(np.stack((below, above), 1))
        places += [(depth, place) for place in np.flatnonzero(mask)]
        off = (low < 0) | (sign < 0)
        flow, offset = np.where(off[:, None], 0.0, flow), np.where(off, 0.0, offset)
        flow[mask] = h
        count, start = count + len(fixed) + 2 * k, start + k
    weight, bias = net.layers[-1]
    row = task.row @ weight
    rows.append((row @ flow)[None])
    need.append(np.array([-(task.row @ bias + row @ offset)]))
    low, high = np.concatenate(ends).T
    return Relaxed(
        rows=np.concatenate(rows),
        need=np.concatenate(need),
        high=high,
        low=low,
        into=(np.concatenate(into), np.concatenate(beside)),
        chords=np.concatenate(chords),
        open=np.array(places, dtype=int).reshape(-1, 2),
    )


def least(task: Subproblem, relaxed: Relaxed, r: float) -> tuple[float, Array, Array]:
    """A lower bound of `|d|` under the conditions, at least `r` where they fail within `r`.

    Also the solution `v` and the multipliers of the rows. The bound is evaluated from the
    multipliers, as weak duality allows for any of them: it holds whatever the solver's tolerances
    are, up to rounding in float64.
    """
    solve = _least_square if task.metric == "l2" else _least_linear
    return solve(task, relaxed, r)


def _least_linear(task: Subproblem, relaxed: Relaxed, r: float) -> tuple[float, Array, Array]:
    from scipy.optimize import linprog

    n, m = len(task.x), len(relaxed.high)
    # Unknowns in units of their ranges, rows in units of what they can reach: the solver's
    # tolerances are absolute.
    lo, hi = np.maximum(task.lo / r, -1.0), np.minimum(task.hi / r, 1.0)
    units = np.r_[np.full(n, r), relaxed.high]
    rows, need, reach = _evened(relaxed.rows * units, relaxed.need)
    move, rest = rows[:, :n], rows[:, n:]
    slack = np.ones((len(move), 1))
    if task.metric == "l1":
        matrix = np.concatenate((move, -move, rest, slack), 1)
        cost = np.r_[np.ones(2 * n), np.zeros(m), _PRICE]
        ends = np.c_[np.zeros(2 * n + m), np.r_[hi, -lo, np.ones(m)]]
    else:
        one, far, side = np.eye(n), np.ones((n, 1)), np.zeros((n, m + 1))
        matrix = np.concatenate((
            np.concatenate((move, np.zeros_like(slack), rest, slack), 1),
            np.concatenate((one, far, side), 1), np.concatenate((-one, far, side), 1),
        ))  # fmt: skip
        cost = np.r_[np.zeros(n), 1.0, np.zeros(m), _PRICE]
        ends = np.c_[np.r_[lo, 0.0, np.zeros(m)], np.ones(n + 1 + m)]
        ends[:n, 1] = hi
        need = np.r_[need, np.zeros(2 * n)]
    tight = {"primal_feasibility_tolerance": 1e-10, "dual_feasibility_tolerance": 1e-10}
    found = linprog(
        cost, -matrix, -need, bounds=np.r_[ends, [[0.0, np.inf]]], method="highs-ds", options=tight
    )
    if found.x is None or found.ineqlin.marginals is None:
        return 0.0, np.zeros(n + m), np.zeros(len(relaxed.need))
    multiplier = np.maximum(-found.ineqlin.marginals, 0.0)
    multiplier /= max(1.0, float(multiplier @ matrix[:, -1]) / _PRICE)
    reduced = (cost - multiplier @ matrix)[:-1]
    bound = float(multiplier @ need + np.minimum(reduced * ends[:, 0], reduced * ends[:, 1]).sum())
    d = found.x[:n] - found.x[n : 2 * n] if task.metric == "l1" else found.x[:n]
    first = 2 * n if task.metric == "l1" else n + 1
    v = np.r_[d, found.x[first : first + m]] * units
    return max(bound, 0.0) * r, v, multiplier[: len(move)] / reach


def _least_square(task: Subproblem, relaxed: Relaxed, r: float) -> tuple[float, Array, Array]:
    from scipy.optimize import nnls

    n, m = len(task.x), len(relaxed.high)
    lo, hi = np.maximum(task.lo / r, -1.0), np.minimum(task.hi / r, 1.0)
    # Least-distance programming (Lawson & Hanson 1974). The open units' outputs are unknowns too,
    # at next to no cost: the bound is evaluated without that cost.
    weights = np.r_[np.full(n, r), relaxed.high * _CHEAP]
    edges = np.eye(n + m)
    rows, need, reach = _evened(
        np.concatenate((relaxed.rows * weights, edges, -edges)),
        np.r_[relaxed.need, lo, np.zeros(m), -hi, np.full(m, -1 / _CHEAP)],
    )
    system = np.concatenate((rows.T, need[None]))
    goal = np.r_[np.zeros(n + m), 1.0]
    try:
        y, _ = nnls(system, goal, maxiter=20 * len(need))
    except RuntimeError:
        return 0.0, np.zeros(n + m), np.zeros(len(relaxed.need))
    rest = goal - system @ y
    scale = 1.0 / max(rest[-1], 1e-12)
    k = len(relaxed.need)
    multiplier = y[:k] * scale
    pull = multiplier @ rows[:k]
    worth = multiplier @ need[:k] - np.maximum(pull[n:], 0.0).sum() / _CHEAP

    def value(scale: float) -> float:
        """A lower bound of half the squared distance, from `scale` times the multipliers."""
        d = np.clip(scale * pull[:n], lo, hi)
        return float(scale * worth + (d * d / 2 - scale * pull[:n] * d).sum())

    best = max(value(s) for s in (1.0, 0.9, 10.0))
    v = -rest[:-1] * scale * weights
    return float(np.sqrt(max(2 * best, 0.0))) * r, v, multiplier / reach[:k]


def _evened(rows: Array, need: Array) -> tuple[Array, Array, Array]:
    """Conditions `rows @ v >= need` divided by the absolute sums of the rows, and these sums."""
    reach = np.abs(rows).sum(1)
    # A row that does not depend on v stays.
    reach = np.where(reach > 1e-200, reach, 1.0)
    return rows / reach[:, None], need / reach, reach


def search(
    task: Subproblem,
    best: float,
    tolerance: float,
    deadline: float,
    found: Callable[[Array], float],
) -> float:
    """A lower bound of the least distance, or at least `best - tolerance` if that is greater.

    Args:
        best: the radius searched, an upper bound of what is looked for.
        tolerance: how far below the best a part of the search may end, times max(1, best).
        deadline: when to stop, on `time.perf_counter`.
        found: called with moves within the best radius that reach the target, up to rounding;
            returns the best distance from then on.
    """
    stack = [(0.0, task.free())]
    lower = np.inf
    while stack:
        if perf_counter() > deadline:
            return min(lower, *(bound for bound, _ in stack))
        bound, signs = stack.pop()
        relaxed = relax(task, signs, best)
        if relaxed is None:
            lower = min(lower, best)
            continue
        value, v, y = least(task, relaxed, best)
        bound = max(bound, value)
        enough = best - tolerance * max(1.0, best)
        d = np.clip(v[: len(task.x)], task.lo, task.hi)
        if bound < enough and task.margin(d) > -1e-6 and size(d[None], task.metric)[0] < best:
            best = min(best, found(d))
            enough = best - tolerance * max(1.0, best)
        if bound >= enough or not len(relaxed.high):
            lower = min(lower, bound)
            continue
        layer, place, first = relaxed.branch(v, y)
        for sign in (-first, first):
            split = [s.copy() for s in signs]
            split[layer][place] = sign
            stack.append((bound, split))
    return min(lower, best)
