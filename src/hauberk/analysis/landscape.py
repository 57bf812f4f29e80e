"""The loss around an example: on the plane of two attacks' points, and along a segment to one."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from math import inf
from typing import Any, Unpack

import torch
from torch import Tensor, nn

from hauberk.analysis.runs import How
from hauberk.attacks.base import Attack
from hauberk.attacks.boundary import Boundary
from hauberk.attacks.pgd import PGD, SparseL1Descent
from hauberk.attacks.pointwise import Pointwise
from hauberk.attacks.search import RandomSearch
from hauberk.attacks.square import Square
from hauberk.engine.method import Method
from hauberk.errors import InputError
from hauberk.maths.losses import LOSSES, wrong
from hauberk.maths.steps import per_example
from hauberk.store.files import plain
from hauberk.threats.base import Box, Threat
from hauberk.victims.victim import Victim


@dataclass(frozen=True, eq=False, kw_only=True)
class Plane:
    """The loss at ``x + a r + b s``: r leads to a gradient attack's point, s to that of a free one.

    Attributes:
        threat: what was allowed.
        example: place of the example in the data given.
        label: its class.
        a, b: shares of r and s, ``(K,)`` and ``(L,)`` float64.
        loss: by name, ``(K, L)`` float64: row i is at ``a[i]``, column j at ``b[j]``.
        predicted: classes there, ``(K, L)``.
        ends: the loss by name at the clean example and at the two points themselves, three each.
        fooled: whether the model is wrong at those three.
        cosine: of the angle between r and s; NaN if one of them is zero.
        clipped: whether the points of the grid are clipped to the box.

    Example:
        >>> model, x = torch.nn.Linear(2, 2), torch.full((1, 2), 0.5)
        >>> found = plane(model, x, torch.tensor([0]), x + 0.1, x - 0.1, points=3)
        >>> found.loss["ce"].shape, round(found.cosine, 6)
        (torch.Size([3, 3]), -1.0)
    """

    threat: str
    example: int
    label: int
    a: Tensor = field(repr=False)
    b: Tensor = field(repr=False)
    loss: dict[str, Tensor] = field(repr=False)
    predicted: Tensor = field(repr=False)
    ends: dict[str, list[float]]
    fooled: list[bool]
    cosine: float
    clipped: bool = True

    def jump(self, loss: str = "ce") -> dict[str, float]:
        """How much like a step the loss is along r and along s, from 0 to 1.

        The largest change between neighbours over the sum of all changes: 1 for one step, least for
        an even slope, NaN where nothing changes. Along r at the smallest ``b``, and the reverse.

        Args:
            loss: ``ce`` or ``margin``.
        """
        cuts = {"gradient": self.loss[loss][:, 0], "free": self.loss[loss][0]}
        changes = {name: cut.diff().abs() for name, cut in cuts.items()}
        return {name: float(change.max() / change.sum()) for name, change in changes.items()}

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {**plain(vars(self)), "jump": {name: plain(self.jump(name)) for name in self.loss}}


@dataclass(frozen=True, eq=False, kw_only=True)
class Segment:
    """Logit margins along the segments from examples to an attack's points that do not fool.

    Attributes:
        threat: what was allowed.
        given: examples in all.
        correct: those that the model gets right.
        rows: places of the examples whose points failed, ``(N,)`` int64.
        position: 0 at the example, 1 at the point, ``(K,)`` float64.
        margin: largest other logit less that of the label, ``(N, K)``: negative where right.

    Example:
        >>> model, x, y = torch.nn.Linear(4, 2), torch.full((3, 4), 0.5), torch.tensor([0, 1, 0])
        >>> segment(model, x, y, x, points=5).position
        tensor([0.0000, 0.2500, 0.5000, 0.7500, 1.0000], dtype=torch.float64)
    """

    threat: str
    given: int
    correct: int
    rows: Tensor = field(repr=False)
    position: Tensor = field(repr=False)
    margin: Tensor = field(repr=False)

    @property
    def rise(self) -> Tensor:
        """By how much the margin rises from the example to the point, ``(N,)``: its tilt."""
        return self.margin[:, -1] - self.margin[:, 0]

    @property
    def share(self) -> Tensor:
        """The rise as a share of the way to a wrong decision, ``(N,)`` below 1: 0 if flat."""
        return self.rise / -self.margin[:, 0]

    @property
    def bend(self) -> Tensor:
        """Largest distance of the curve from the straight line between its ends, ``(N,)``."""
        straight = self.margin[:, :1] + self.rise.unsqueeze(1) * self.position
        return (self.margin - straight).abs().amax(1)

    def measures(self) -> dict[str, float]:
        """Medians of :attr:`rise`, :attr:`share` and :attr:`bend`; NaN without examples."""
        found = {"rise": self.rise, "share": self.share, "bend": self.bend}
        return {k: float(v.quantile(0.5)) if len(v) else torch.nan for k, v in found.items()}

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {**plain(vars(self)), **plain(self.measures())}


def default_attacks(threat: Threat) -> tuple[Attack[Any], Method]:
    """A gradient attack and one without gradients for a threat, as Tramèr & Boneh 2019 pair them.

    Sparse descent and pointwise for l1 and l0, PGD and the boundary attack for l2, PGD and Square
    for linf, PGD and random search for others.

    Args:
        threat: what may be done to an image.

    Example:
        >>> from hauberk import L1
        >>> [type(attack).__name__ for attack in default_attacks(L1(10))]
        ['SparseL1Descent', 'Pointwise']
    """
    gradient = SparseL1Descent() if threat.kind == "l1" else PGD(steps=100)
    free: dict[str, Method] = {
        "l0": Pointwise(), "l1": Pointwise(), "l2": Boundary(), "linf": Square(steps=500)
    }  # fmt: skip
    return gradient, free.get(threat.kind, RandomSearch())


def landscape(
    model: nn.Module,
    images: Tensor,
    labels: Tensor,
    threat: Threat | str,
    gradient: Method | None = None,
    free: Method | None = None,
    *,
    points: int = 41,
    span: tuple[float, float] = (0.0, 1.0),
    clip: bool = True,
    **how: Unpack[How],
) -> Plane:
    """The plane of one example: the first that the free attack breaks and the other does not.

    Where there is none: the first that the free attack breaks, or that the model gets right, or the
    first of all. The gradient attack looks for the largest loss, the free one for a wrong decision.

    Args:
        model: a module that takes inputs in the box.
        images: ``(B, ...)``, floats in the box.
        labels: ``(B,)`` integer classes.
        threat: what may be done to an image.
        gradient, free: the two attacks; those of :func:`default_attacks` if left out.
        points, span, clip: see :func:`plane`.
        how: ``box``, ``seed`` and ``batch_size``, see :class:`~hauberk.analysis.runs.How`.

    Raises:
        InputError: for bad input, and threats that an attack does not know.

    Source: Tramèr & Boneh 2019, Figure 3 (l1 10 and l2 2 on MNIST).

    Example:
        >>> from hauberk import L2
        >>> from hauberk.attacks import Boundary
        >>> model, x, y = torch.nn.Linear(4, 3), torch.rand(3, 4), torch.tensor([0, 1, 2])
        >>> landscape(model, x, y, L2(0.5), free=Boundary(steps=3), points=5).threat
        'l2:0.5'
    """
    threat = Threat.of(threat)
    usual = default_attacks(threat)
    gradient, free = gradient or usual[0], free or usual[1]
    first = gradient(model, images, labels, threat, stop=False, **how)
    second = free(model, images, labels, threat, **how)
    x, y = images.to(first.points), labels.to(first.points.device)
    right = ~_wrong(model, x, y, how.get("batch_size"))
    broken, stands = second.fooled & right, ~first.fooled & right
    worth = 4 * (broken & stands).int() + 2 * broken.int() + right.int()
    at = int(worth.argmax())
    row = slice(at, at + 1)
    return plane(
        model, x[row], y[row], first.points[row], second.points[row].to(x), points=points,
        span=span, clip=how.get("box", (0.0, 1.0)) if clip else None,
        batch_size=how.get("batch_size"), labels=(str(threat), at),
    )  # fmt: skip


def plane(
    model: nn.Module,
    x: Tensor,
    y: Tensor,
    first: Tensor,
    second: Tensor,
    *,
    points: int = 41,
    span: tuple[float, float] = (0.0, 1.0),
    clip: "Box | Sequence[Any] | None" = (0.0, 1.0),
    batch_size: int | None = None,
    labels: tuple[str, int] = ("", 0),
) -> Plane:
    """The loss on the plane through an example and two points.

    Args:
        model: a module that takes inputs in the box.
        x: the example, ``(1, ...)``, of class ``y`` (1,).
        first, second: the points, ``(1, ...)`` each.
        points: of the grid along each direction.
        span: from which to which share of the way to the points; (0, 1) as published.
        clip: the box that all points of the grid are clipped to; None for none.
        batch_size: most examples in one pass.
        labels: the threat's notation and the example's place, for the result.

    Raises:
        InputError: for fewer than two points, a span that does not rise, or several examples.

    Example:
        >>> model, x = torch.nn.Linear(2, 2), torch.zeros(1, 2)
        >>> plane(model, x, torch.tensor([0]), x + 1, x + 1, points=3).a
        tensor([0.0000, 0.5000, 1.0000], dtype=torch.float64)
    """
    if points < 2 or not span[0] < span[1] or not max(map(abs, span)) < inf:
        raise InputError(
            f"{points} points from {span[0]} to {span[1]}: give 2 or more, and a span that rises"
        )
    if not len(x) == len(y) == len(first) == len(second) == 1:
        raise InputError("a plane goes through one example: give x, y and both points as (1, ...)")
    a = torch.linspace(span[0], span[1], points, dtype=torch.float64)
    base, r, s = x.double(), (first - x).double(), (second - x).double()
    rows, columns = a.to(x.device).repeat_interleave(points), a.to(x.device).repeat(points)
    grid = base + per_example(rows, base) * r + per_example(columns, base) * s
    if clip is not None:
        lo, hi = Box.of(clip).bounds(base)
        grid = torch.minimum(torch.maximum(grid, lo), hi)
    every = torch.cat([grid.to(x), x, first.to(x), second.to(x)])
    logits, y = _logits(model, every, batch_size), y.to(x.device).expand(len(every))
    loss = {name: LOSSES[name](logits, y).double().cpu() for name in ("ce", "margin")}
    size = r.norm() * s.norm()
    return Plane(
        threat=labels[0], example=labels[1], label=int(y[0]), a=a, b=a.clone(),
        loss={name: values[:-3].view(points, points) for name, values in loss.items()},
        predicted=logits[:-3].argmax(1).view(points, points).cpu(),
        ends={name: values[-3:].tolist() for name, values in loss.items()},
        fooled=wrong(logits[-3:], y[-3:]).tolist(), cosine=float((r * s).sum() / size),
        clipped=clip is not None,
    )  # fmt: skip


def segment(
    model: nn.Module,
    images: Tensor,
    labels: Tensor,
    ends: Tensor,
    *,
    points: int = 11,
    batch_size: int | None = None,
    threat: str = "",
) -> Segment:
    """Logit margins along the segments to points, of those examples and points that are right.

    Args:
        model: a module that takes inputs in the box.
        images: ``(B, ...)``, floats in the box.
        labels: ``(B,)`` integer classes.
        ends: an attack's points ``(B, ...)``; those that fool the model are left out.
        points: on each segment, both ends among them; 11 as published.
        batch_size: most examples in one pass.
        threat: its notation, for the result.

    Raises:
        InputError: for fewer than two points.

    Source: Ding et al. 2020, Figure 3: failed PGD points at eps 8/255, 50 training and 50 test
    images.

    Example:
        >>> model, x, y = torch.nn.Linear(4, 2), torch.full((3, 4), 0.5), torch.tensor([0, 1, 0])
        >>> segment(model, x, y, x + 0.1).margin.shape[1]
        11
    """
    if points < 2:
        raise InputError(f"{points} points: give 2 or more")
    ends = ends.to(images)
    right = ~_wrong(model, images, labels, batch_size)
    rows = (right & ~_wrong(model, ends, labels, batch_size)).nonzero().squeeze(1)
    position = torch.linspace(0, 1, points, dtype=torch.float64)
    t = position.to(images).view(-1, 1, *[1] * (images.dim() - 1))
    x, end = images[rows], ends[rows]
    # So written, both ends are met exactly.
    line = ((1 - t) * x + t * end).flatten(0, 1)
    y = labels[rows].repeat(points)
    margin = x.new_empty(0, dtype=torch.float64)
    if len(rows):
        logits = _logits(model, line, batch_size)
        margin = LOSSES["margin"](logits, y.to(logits.device)).double()
    return Segment(
        threat=threat, given=len(images), correct=int(right.sum()), rows=rows.cpu(),
        position=position, margin=margin.view(points, -1).T.cpu(),
    )  # fmt: skip


def _logits(model: nn.Module, x: Tensor, batch_size: int | None) -> Tensor:
    victim = Victim.of(model, batch_size)
    with victim.held():
        return victim.predict(x)


def _wrong(model: nn.Module, x: Tensor, y: Tensor, batch_size: int | None) -> Tensor:
    if not len(x):
        return torch.zeros(0, dtype=torch.bool)
    logits = _logits(model, x, batch_size)
    return wrong(logits, y.to(logits.device)).to(x.device)
