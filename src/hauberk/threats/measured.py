"""Threats given by any differentiable distance between inputs: ``Measured``."""

from collections.abc import Callable
from copy import copy
from dataclasses import dataclass, field, replace
from functools import cached_property
from math import inf, isnan
from typing import Any, Self

import torch
from torch import Tensor

from hauberk.errors import InputError
from hauberk.maths.norms import norm
from hauberk.maths.rng import Draws
from hauberk.maths.steps import per_example, steepest_l2, step_along
from hauberk.spec.numbers import shortest
from hauberk.threats.base import Threat, Trait
from hauberk.threats.box import Box
from hauberk.threats.distances import MeasuredDistanceRegion
from hauberk.threats.extents import units
from hauberk.threats.region import as_floats, filled
from hauberk.threats.sound import NOISE, check_distance

CUTS = 12
FARTHEST = 8.0
"""Width of the box that random starts and differences count with, in units of the features."""
Distance = Callable[[Tensor, Tensor], Tensor]


class Measured(Threat):
    """All inputs of the box whose distance from the clean one, by any callable, is at most ``eps``.

    Args:
        distance: from clean inputs and inputs, each ``(S, ...)``, to ``(S,)``; differentiable
            almost everywhere in the second, 0 where they are equal, each row on its own.
        eps: in the distance's unit; inf for the whole box.
        name: its name in results. Two threats are equal only if the callable is the same.
        batch_size: rows that go through the callable at once; chosen by the size of the inputs if
            left out.

    Raises:
        InputError: if eps is negative or not a number and, on first use, for a callable that
            returns another shape, negative numbers, something else than 0 at the clean input, or
            something else each time.

    Example:
        >>> def brightness(x0, x):
        ...     return (x - x0).flatten(1).mean(1).abs()
        >>> threat = Measured(brightness, eps=0.1, name="brightness")
        >>> str(threat), threat.kind
        ('brightness:0.1', 'measured')
        >>> threat.contains(torch.zeros(1, 4), torch.tensor([[0.3, 0.0, 0.0, 0.0]]))
        tensor([True])
    """

    kinds = "measured"

    def __init__(
        self,
        distance: Distance,
        eps: float = inf,
        name: str = "measured",
        batch_size: int | None = None,
    ) -> None:
        if not callable(distance):
            raise InputError(
                f"the distance is a {type(distance).__name__}: give a callable (x0, x) -> (S,)"
            )
        if isnan(eps) or eps < 0:
            raise InputError(f"eps is {eps:g}: give a number, 0 or more, or inf for the whole box")
        if batch_size is not None and batch_size < 1:
            raise InputError(f"batch_size is {batch_size}: give 1 or more, or leave it out")
        self.callable, self.eps, self.name = distance, float(eps), name
        self.batch_size = batch_size
        self.dtypes: list[torch.dtype] = []
        """What the callable was found to take."""
        self._units: dict[Any, Tensor | None] = {}

    @classmethod
    def traits_of(cls, kind: str) -> frozenset[Trait]:
        return frozenset({Trait.EVALUATED})

    @property
    def kind(self) -> str:
        return "measured"

    def at(self, x0: Tensor, box: Box = Box()) -> "MeasuredRegion":
        x0 = as_floats(x0)
        radius = filled(x0, self.eps)
        region = MeasuredRegion(x0=x0, radius=radius, threat=self, edges=box.bounds(x0))
        if not self.dtypes and len(x0):
            check_distance(region.take(torch.arange(min(2, len(x0)), device=x0.device)))
        unit = self._unit(region) if len(x0) else None
        return region if unit is None else region.in_units(unit)

    def _unit(self, region: "MeasuredRegion") -> Tensor | None:
        """The features' units (:mod:`hauberk.threats.extents`), found once for each box."""
        ends = tuple(bytes(end.cpu().numpy()) for end in region.edges)
        key = (*region.x0.shape[1:], region.x0.dtype, region.x0.device, self.eps, *ends)
        if key not in self._units:
            self._units[key] = units(region, self.eps)
        return self._units[key]

    def scaled(self, factor: float) -> Self:
        other = copy(self)
        other.eps = self.eps * factor
        other._units = {}
        return other

    def reference(self, x0: Tensor) -> Tensor | None:
        """What is worth computing once per clean input, one row each; None for nothing."""
        return None

    def between(self, x0: Tensor, reference: Tensor | None, x: Tensor) -> Tensor:
        """Distance from ``x0`` to ``x``, ``(S,)``, in the dtype of ``x``; differentiable in it."""
        dtype = x.dtype if x.dtype in self.dtypes or not self.dtypes else self.dtypes[0]
        found = self.callable(x0.to(dtype), x.to(dtype))
        if not isinstance(found, Tensor) or found.shape != (len(x),):
            shape = tuple(found.shape) if isinstance(found, Tensor) else type(found).__name__
            raise InputError(
                f"the distance of {self} returned {shape} for {len(x)} inputs: it must return one "
                f"number each, ({len(x)},)"
            )
        return found.to(x.dtype)

    def probe(self, x0: Tensor, x: Tensor) -> Tensor:
        """The callable's answer in the dtype of the inputs; raises if it does not take that."""
        return self.callable(x0, x)

    def exact(self, x0: Tensor, x: Tensor) -> Tensor:
        """The distance without a graph, as the judge computes it, ``(S,)`` float64."""
        x0, x = x0.double(), x.double()
        return self.between(x0, self.reference(x0), x)

    @property
    def precise(self) -> bool:
        """Whether :meth:`exact` is computed in float64."""
        return torch.float64 in self.dtypes

    @property
    def smooth(self) -> "Measured":
        """A threat whose squared distance is smooth at the clean input, for PPGD to linearise."""
        return self

    def __str__(self) -> str:
        return self.name if self.eps == inf else f"{self.name}:{shortest(self.eps)}"

    def __repr__(self) -> str:
        return f"{type(self).__name__}(eps={self.eps:g}, name={self.name!r})"

    def __eq__(self, other: object) -> bool:
        same = isinstance(other, Measured) and self.callable is other.callable
        return same and super().__eq__(other)

    def __hash__(self) -> int:
        return super().__hash__()


@dataclass
class MeasuredRegion(MeasuredDistanceRegion):
    """The inputs within ``radius`` of each clean one, by a threat's distance.

    ``u`` is the input; where features are of unlike scale, each in its own unit.

    The distance can only be evaluated: "projected" means moved straight towards the clean
    input until inside, and a step of a given distance is as long as the distance per length at the
    point, or next to the clean input, makes it.

    Gradient steps with this projection end where the change is parallel to the gradient, not at the
    largest gain when the distance weighs directions differently: LPA and PPGD find that.
    """

    threat: Measured
    reference: Tensor | None = field(default=None, repr=False)
    """The threat's :meth:`Measured.reference` of the clean inputs, once one was asked for."""
    unit: tuple[Tensor, ...] = field(default=(), repr=False)
    """What ``u`` and ``x0`` are divided by, which broadcasts to one input; empty for 1."""

    def in_units(self, unit: Tensor) -> Self:
        """The same region, whose ``u`` holds every feature in a unit of its own, powers of two."""
        edges = (self.edges[0] / unit, self.edges[1] / unit)
        return replace(self, x0=self.x0 / unit, edges=edges, unit=(unit,))

    def decode(self, u: Tensor) -> Tensor:
        return u * self.unit[0] if self.unit else u

    def encode(self, x: Tensor) -> Tensor:
        return x / self.unit[0].to(x) if self.unit else x

    def keep_in_box(self, x: Tensor) -> Tensor:
        return self.decode(self.clip(self.encode(x)))

    @property
    def span(self) -> Tensor:
        """Width of the box; in units of the features no more than :data:`FARTHEST`."""
        return super().span.clamp(max=FARTHEST) if self.unit else super().span

    @property
    def mean_width(self) -> Tensor:
        if not self.unit:
            return super().mean_width
        return self.span.expand(self.x0.shape[1:]).mean().expand(len(self.x0))

    def join(self, other: Self) -> Self:
        if (self.reference is None) != (other.reference is None):
            self._refer()
            other._refer()
        return super().join(other)

    @cached_property
    def eps(self) -> Tensor:
        """The radius; where it is infinite, the distance of the box's farthest corner."""
        eps = self.radius.to(self.x0.dtype)
        if not (eps == inf).any():
            return eps
        lo, hi = self.edges
        corner = torch.where(self.x0 - lo > hi - self.x0, lo, hi)
        finite = torch.where(corner.isfinite(), corner, self.x0 + 1)
        far = self.measure_off(finite).nan_to_num(nan=1.0, posinf=1.0)
        return torch.where(eps == inf, far, eps)

    @cached_property
    def inner(self) -> Tensor:
        return (self.radius * (1 - self._slack(self.x0.dtype))).to(self.x0.dtype)

    @cached_property
    def diameter(self) -> Tensor:
        return norm(self.span.expand(self.x0.shape[1:]).reshape(1, -1), 2).squeeze(0)

    def _slack(self, dtype: torch.dtype) -> float:
        return 1e-9 if dtype == torch.float64 and dtype in self.threat.dtypes else 1e-5

    def measure(self, x: Tensor) -> Tensor:
        return self._over_chunks(x, self._refer())

    def distance(self, x: Tensor, witness: Tensor | None = None) -> Tensor:
        """In float64 if the callable can; NaN counts as infinitely far."""
        found = x.new_zeros(len(x), dtype=torch.float64)
        with torch.no_grad():
            for rows in self._chunks(len(x)):
                found[rows] = self.threat.exact(self.decode(self.x0[rows]), x[rows])
        return found.nan_to_num_(nan=inf, posinf=inf)

    def contains(self, x: Tensor, witness: Tensor | None = None) -> Tensor:
        return self.in_box(self.encode(x)) & (self.distance(x) <= self.radius)

    def slope(self, u: Tensor) -> tuple[Tensor, Tensor]:
        """Distance ``(S,)`` and its gradient in ``u``; NaN gradients become 0.

        Raises:
            InputError: if the distance gives no gradient.
        """
        far, grad = u.new_zeros(len(u)), torch.zeros_like(u)
        self._refer()  # once, not once for each chunk's own region
        for rows in self._chunks(len(u)):
            with torch.enable_grad():
                x = u[rows].detach().requires_grad_(True)
                found = self.take(torch.arange(len(u), device=u.device)[rows]).measure(x)
                if not found.requires_grad:
                    raise InputError(f"{self.threat} has no gradient: do not detach its distance")
                (grad[rows],) = torch.autograd.grad(found.sum(), x)
            far[rows] = found.detach().nan_to_num(nan=inf, posinf=inf)
        return far, grad.nan_to_num_()

    def around(self, x: Tensor, threat: Measured | None = None) -> Self:
        """The same distance measured from ``x``; of another threat, if one is given."""
        threat = self.threat if threat is None else threat
        return replace(self, x0=x.detach(), threat=threat, reference=None)

    def smoothed(self) -> Self:
        return replace(self, threat=self.threat.smooth, reference=None)

    def rate(self, u: Tensor, direction: Tensor, h: float = 1e-3) -> Tensor:
        h = h * float(self.diameter)
        return self.around(u).measure_off(torch.add(u, direction, alpha=h)) / h

    def scaled(self, factor: Tensor) -> Self:
        return self.with_radius(self.radius * factor)

    def with_radius(self, radius: Tensor) -> Self:
        """The same distance with other radii (S,)."""
        return replace(self, radius=radius.double())

    def project_(self, u: Tensor) -> Tensor:
        u = u.clamp_(*self.edges)
        with torch.no_grad():
            return _pull(self, u, MeasuredRegion.measure_off, self.inner)

    def finalise(self, u: Tensor) -> Tensor:
        with torch.no_grad():
            inner = self.radius * (1 - (1e-9 if self.threat.precise else 1e-6))
            u = _pull(self, u.clamp(*self.edges), MeasuredRegion.exactly, inner)
            return torch.where(per_example(self.contains(self.decode(u)), u), u, self.x0)

    def exactly(self, u: Tensor) -> Tensor:
        """The distance of ``u``, as :meth:`distance` has it of inputs."""
        return self.distance(self.decode(u))

    def ascent(
        self, u: Tensor, grad: Tensor, step: Tensor | float, share: Tensor | None = None
    ) -> Tensor:
        """Along the gradient, by a length that changes the distance by about ``step``.

        The distance per length is that of ``u`` itself, or of a probe where ``u`` is the clean
        input. No step is longer than the diagonal of the box.
        """
        direction, h = steepest_l2(grad), 0.01 * self.diameter
        moved = norm(u - self.x0, 2)
        still = moved < 1e-3 * h
        probe = torch.where(per_example(still, u), self.x0 + h * direction, u)
        with torch.no_grad():
            per_length = self.measure_off(probe) / torch.where(still, h, moved)
        length = torch.as_tensor(step).to(u) / per_length
        # No distance at all along the direction says nothing about steps: those of 0 stay 0.
        return step_along(u, direction, length.nan_to_num_(nan=0.0).clamp_(max=self.diameter))

    def random(self, draws: Draws, draw: int | Tensor) -> Tensor:
        noise = draws.uniform(draw, self.x0.shape[1:], self.x0.dtype).mul_(2).sub_(1)
        return self.project_(noise.mul_(NOISE * self.span).add_(self.x0))

    def _refer(self) -> Tensor | None:
        if self.reference is None and len(self.x0):
            with torch.no_grad():
                clean = self.decode(self.x0)
                parts = [self.threat.reference(clean[r]) for r in self._chunks(len(clean))]
            given = [part for part in parts if part is not None]
            self.reference = torch.cat(given) if given else None
        return self.reference

    def _chunks(self, rows: int) -> list[slice]:
        size = self.threat.batch_size
        if size is None:
            cpu = self.x0.device.type == "cpu"
            numbers = self.x0[0].numel() if len(self.x0) else 1
            size = max(1, min(128 if cpu else 512, (2**20 if cpu else 2**25) // max(1, numbers)))
        return [slice(at, at + size) for at in range(0, rows, size)]

    def _over_chunks(self, x: Tensor, reference: Tensor | None) -> Tensor:
        clean, x = self.decode(self.x0), self.decode(x)
        parts = [
            self.threat.between(
                clean[rows], None if reference is None else reference[rows], x[rows]
            )
            for rows in self._chunks(len(x))
        ]
        return torch.cat(parts) if parts else x.flatten(1).sum(1)

    def measure_off(self, x: Tensor) -> Tensor:
        """The distance off the graph, in the dtype of ``x``; NaN counts as infinitely far."""
        with torch.no_grad():
            return self.measure(x).nan_to_num(nan=inf, posinf=inf)


def _pull(
    region: MeasuredRegion,
    u: Tensor,
    off: Callable[[MeasuredRegion, Tensor], Tensor],
    inner: Tensor,
) -> Tensor:
    """``u`` with the rows beyond ``inner`` (S,) moved towards the clean input until inside.

    A bracket on the segment, cut by secant and halving in turn: its feasible end is kept. Rows
    that came within a thousandth of the edge rest, so that none depends on its neighbours.
    """
    far = off(region, u)
    beyond = ~(far <= inner)
    if u.device.type == "cpu":
        if not beyond.any():
            return u
        rows = beyond.nonzero().squeeze(1)
        if len(rows) < len(u):
            part = _pull(region.take(rows), u[rows], off, inner[rows])
            return u.index_copy(0, rows, part)
    delta, near = u - region.x0, torch.where(per_example(beyond, u), region.x0, u)
    low, high = torch.zeros_like(far), torch.ones_like(far)
    low_far, high_far, done = torch.zeros_like(far), far, ~beyond
    for k in range(CUTS):
        cut = (0.9995 * inner - low_far) / (high_far - low_far)
        cut = cut.nan_to_num(nan=0.5).clamp(1e-3, 0.999) if k % 3 < 2 else torch.full_like(cut, 0.5)
        at = low + (high - low) * torch.where(high_far < inf, cut, 0.5)
        point = torch.addcmul(region.x0, delta, per_example(at.to(u.dtype), u))
        point = torch.clamp(point, *region.edges)
        far = off(region, point)
        inside, outside = ~done & (far <= inner), ~done & ~(far <= inner)
        near = torch.where(per_example(inside, u), point, near)
        low, low_far = torch.where(inside, at, low), torch.where(inside, far, low_far)
        high, high_far = torch.where(outside, at, high), torch.where(outside, far, high_far)
        done = done | (low_far >= 0.999 * inner)
        if u.device.type == "cpu" and done.all():
            break
    return near
