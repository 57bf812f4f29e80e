"""Exact radii of small ReLU networks, by branch and bound over activation patterns."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from time import perf_counter
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn

from hauberk.engine.inputs import check
from hauberk.errors import InputError
from hauberk.exact.bounds import descend, nearest, size
from hauberk.exact.net import Array, ReluNet, take_apart
from hauberk.exact.tree import Subproblem, least, relax, search
from hauberk.threats.base import Box

_FAR = 1e4
"""Where a box without an end is searched to, in units of the largest input (or 1)."""


@dataclass(frozen=True)
class Exact:
    """Radii of examples, one row each.

    Attributes:
        distance: of `points` from the inputs, ``(B,)`` float64; 0 where the model is wrong anyway,
            inf where no point fools it.
        lower: proven lower bound of the radius, ``(B,)`` float64.
        points: the nearest points that fool the model, ``(B, ...)`` float64, inside the box; the
            inputs where there is none.
        proven: whether `distance` exceeds `lower` by no more than the gap, ``(B,)`` bool.
        seconds: time spent on each example, ``(B,)`` float64.
    """

    distance: Tensor
    lower: Tensor
    points: Tensor
    proven: Tensor
    seconds: Tensor

    def __len__(self) -> int:
        return len(self.distance)

    def __repr__(self) -> str:
        return (
            f"Exact({int(self.proven.sum())} of {len(self)} proven, "
            f"{float(self.seconds.sum()):.1f} s)"
        )


def radius(
    model: nn.Module,
    images: Tensor,
    labels: Tensor,
    metric: Literal["linf", "l1", "l2"] = "linf",
    *,
    box: Box | Sequence[Any] = (0.0, 1.0),
    time_limit: float = 60.0,
    gap: float = 1e-9,
    upper: Tensor | None = None,
) -> Exact:
    """Least distance at which another class's logit reaches the label's (a tie fools).

    The model is taken in float64 and eval mode, whatever its own dtype and mode; it stays as it is.
    It must be a chain of Linear, Conv2d, AvgPool2d, BatchNorm, ReLU, Flatten and Dropout modules,
    with at most 1024 ReLU units; what decides on the time is how many of them change their state
    within the radius: up to about 30 take seconds. A radius nearly as wide as the box takes long.

    Branch and bound over the states of the ReLU units (the problem of Tjeng et al. 2019): each node
    solves a linear programme (l2: a least-distance problem). The lower bound is evaluated from the
    multipliers and does not rest on the solver's tolerances; only rounding in float64 is ignored.
    In a box with an infinite end, points further than 1e4 times the largest input (or 1) are not
    looked for.

    Args:
        images: ``(B, ...)``, floats in the box.
        labels: ``(B,)``, integer class ids.
        time_limit: seconds an example; after that it is left with the bounds found.
        gap: what `distance` may exceed `lower` by, times max(1, distance).
        upper: points ``(B, ...)`` that may fool the model (an attack's), to start from; those that
            do not, or lie outside the box, are ignored.

    Raises:
        InputError: for a model that is no such chain or is too large, and for invalid inputs.

    Example:
        >>> import torch
        >>> from hauberk import exact
        >>> model = torch.nn.Linear(2, 2)
        >>> model.weight.data, model.bias.data = torch.eye(2), torch.zeros(2)
        >>> found = exact.radius(model, torch.tensor([[0.6, 0.2]]), torch.tensor([0]), "linf")
        >>> found.distance, found.proven
        (tensor([0.2000], dtype=torch.float64), tensor([True]))
    """
    box = Box.of(box)
    x, y = check(images, labels, box)
    if metric not in ("linf", "l1", "l2"):
        raise InputError(f"unknown metric '{metric}': choose linf, l1 or l2")
    if not time_limit > 0 or not 0 < gap < 1:
        raise InputError(
            f"time_limit={time_limit}, gap={gap}: give seconds above 0 and a gap in (0, 1)"
        )
    if upper is not None and upper.shape != x.shape:
        raise InputError(
            f"upper is {tuple(upper.shape)}: give one point an input, {tuple(x.shape)}"
        )
    net, copy = take_apart(model, x)
    if len(y) and int(y.max()) >= net.classes:
        raise InputError(
            f"labels reach {int(y.max())} but the model has {net.classes} classes: labels must be "
            f"0 to {net.classes - 1}"
        )
    clean = x.detach().cpu().double()
    bound = None if upper is None else upper.detach().cpu().double().flatten(1).numpy()
    lo, hi = (edge.expand(clean.shape[1:]).flatten().numpy() for edge in box.bounds(clean))

    def logits(point: Array) -> Array:
        with torch.no_grad():
            out: Array = copy(torch.from_numpy(point).view(1, *clean.shape[1:])).numpy()[0]
        return out

    found, lowers, seconds = [], [], []
    for index, row in enumerate(clean.flatten(1).numpy()):
        begun = perf_counter()
        one = _Search(net, logits, row, int(y[index]), (lo, hi), metric)
        if bound is not None:
            one.offer(bound[index] - row)
        lowers.append(one.prove(gap, begun + time_limit))
        found.append(one)
        seconds.append(perf_counter() - begun)
    distance = torch.tensor([one.best for one in found], dtype=torch.float64)
    lower = torch.tensor(lowers, dtype=torch.float64).minimum(distance)
    near = distance.isfinite() & (distance - lower <= gap * distance.clamp(min=1.0))
    points = np.stack([one.point for one in found]) if found else clean.flatten(1).numpy()
    return Exact(
        distance=distance,
        lower=lower,
        points=torch.from_numpy(points).view(x.shape).to(x.device),
        proven=(distance == lower) | near,
        seconds=torch.tensor(seconds, dtype=torch.float64),
    )


class _Search:
    """One example: the nearest point found so far, and the proof that there is no nearer one."""

    def __init__(
        self, net: ReluNet, logits: Callable[[Array], Array], x: Array, label: int,
        box: tuple[Array, Array], metric: str,
    ) -> None:  # fmt: skip
        self.net, self.logits, self.x, self.label, self.metric = net, logits, x, label, metric
        self.box = box
        self.best, self.point = np.inf, x
        far = _FAR * max(1.0, float(np.abs(x).max(initial=0.0)))
        lo, hi = box[0] - x, box[1] - x
        self.lo, self.hi = np.maximum(lo, -far), np.minimum(hi, far)
        self.whole = bool((lo >= -far).all() and (hi <= far).all())

    def offer(self, d: Array) -> float:
        """Take the move `d` if it fools the model and is shorter than the best; the best now."""
        point = self.x + d
        inside = (point >= self.box[0]).all() and (point <= self.box[1]).all()
        if inside and (length := self._length(point)) < self.best:
            z = self.logits(point)
            if (np.delete(z, self.label) >= z[self.label]).any():
                self.best, self.point = length, point
        return self.best

    def _length(self, point: Array) -> float:
        return float(size((point - self.x)[None], self.metric)[0])

    def push(self, task: Subproblem, d: Array) -> float:
        """Offer a move that reaches the target up to rounding, lengthened until it surely does."""
        need = 0.0
        for _ in range(40):
            point = np.clip(self.x + d, *self.box)
            d = point - self.x
            if self._length(point) >= self.best:
                break
            z = self.logits(point)
            # A little more than a tie, so that another order of summation changes nothing.
            lack = float(z[task.label] - z[task.target] + 1e-13 * max(1.0, np.abs(z).max()))
            if lack <= 0:
                return self.offer(d)
            need = max(2 * need, 2 * lack, 1e-15)
            states = [(sign > 0)[None] for sign in task.pattern(d)]
            slope = self.net.slopes(states, task.row[None])
            d = d + nearest(slope, np.array([need]), task.lo - d, task.hi - d, self.metric)[0]
        return self.best

    def prove(self, gap: float, deadline: float) -> float:
        """A lower bound of the radius; finds the points on the way. inf if there is none."""
        if self.offer(np.zeros_like(self.x)) == 0:
            return 0.0
        targets = np.delete(np.arange(self.net.classes), self.label)
        moves = descend(self.net, self.x, self.label, targets, self.lo, self.hi, self.metric)
        lengths = np.nan_to_num(size(moves, self.metric), nan=np.inf)
        lower = np.inf
        # Targets in reach first: the nearer the best point, the less is left to prove.
        for at in np.argsort(lengths):
            task = Subproblem(
                self.net, self.x, self.label, int(targets[at]), self.lo, self.hi, self.metric
            )
            if lengths[at] < self.best:
                self._polish(task, moves[at])
            lower = min(lower, self._settle(task, gap, deadline))
        return lower

    def _polish(self, task: Subproblem, d: Array) -> None:
        """To the nearest point at which the units have the states they have at `d`."""
        self.push(task, d)
        r = self._length(self.x + d) * (1 + 1e-6)
        relaxed = relax(task, task.pattern(d), r)
        if relaxed is not None:
            self.push(task, least(task, relaxed, r)[1][: len(d)])

    def _settle(self, task: Subproblem, gap: float, deadline: float) -> float:
        """A lower bound of the distance to one target, at least the best distance if proven."""
        edge = float(size(np.maximum(self.hi, -self.lo)[None], self.metric)[0])
        # Beyond the box, so that a proof up to there covers the box.
        r = min(self.best, 1.01 * edge + 1e-6)
        lower = search(task, r, 0.5 * gap, deadline, partial(self.push, task))
        if self.best == np.inf and lower >= edge:
            return np.inf if self.whole else edge
        if lower < self.best * (1 - gap):
            lower = max(lower, self._certified(task, min(self.best, edge)))
        return lower

    def _certified(self, task: Subproblem, r: float) -> float:
        """A radius within which linear bounds alone rule the target out, by bisection up to r."""
        low = 0.0
        for _ in range(12):
            middle = (low + r) / 2
            low, r = (middle, r) if relax(task, task.free(), middle) is None else (low, middle)
        return low
