"""Threats given by any differentiable distance between inputs: ``Measured``."""

from collections.abc import Callable
from copy import copy
from dataclasses import dataclass, field, replace
from functools import cached_property
from math import inf, isnan
from typing import Self

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
from hauberk.threats.region import as_floats, filled

NOISE = 0.03
"""Half the width of random starts and of the probe, in units of the box's."""
CUTS = 12
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
            _check(region.take(torch.arange(min(2, len(x0)), device=x0.device)))
        return region

    def scaled(self, factor: float) -> Self:
        other = copy(self)
        other.eps = self.eps * factor
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
    """The inputs within ``radius`` of each clean one, by a threat's distance. ``u`` is the input.

    The distance can only be evaluated: "projected" means moved straight towards the clean
    input until inside, and a step of a given distance is as long as the distance per length at the
    point, or next to the clean input, makes it.

    Gradient steps with this projection end where the change is parallel to the gradient, not at the
    largest gain when the distance weighs directions differently: LPA and PPGD find that.
    """

    threat: Measured
    reference: Tensor | None = field(default=None, repr=False)
    """The threat's :meth:`Measured.reference` of the clean inputs, once one was asked for."""

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
                found[rows] = self.threat.exact(self.x0[rows], x[rows])
        return found.nan_to_num_(nan=inf, posinf=inf)

    def contains(self, x: Tensor, witness: Tensor | None = None) -> Tensor:
        return self.in_box(x) & (self.distance(x) <= self.radius)

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
            u = _pull(self, u.clamp(*self.edges), MeasuredRegion.distance, inner)
            return torch.where(per_example(self.contains(u), u), u, self.x0)

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
                parts = [self.threat.reference(self.x0[r]) for r in self._chunks(len(self.x0))]
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
        parts = [
            self.threat.between(
                self.x0[rows], None if reference is None else reference[rows], x[rows]
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


def _check(region: MeasuredRegion) -> None:
    """Refuse a callable that is no distance; note the dtypes that it takes."""
    threat, x0 = region.threat, region.x0
    draws = Draws.of(0, torch.arange(len(x0), device=x0.device))
    noise = draws.uniform(0, x0.shape[1:], x0.dtype).sub_(0.5).mul_(2 * NOISE * region.span)
    x = torch.clamp(x0 + noise, *region.edges)
    problem: Exception | None = None
    for dtype in (torch.float64, torch.float32):
        try:
            # The callable itself: `between` would convert.
            with torch.no_grad():
                threat.probe(x0.to(dtype), x.to(dtype))
            threat.dtypes.append(dtype)
        except (RuntimeError, TypeError) as error:  # what a module of another dtype raises
            problem = error
    if not threat.dtypes:
        raise InputError(f"the distance of {threat} failed on inputs: {problem}") from problem
    at_clean, first, again = (region.around(x0).measure_off(z) for z in (x0, x, x))
    if not torch.allclose(first, again, rtol=1e-4, atol=0):
        raise InputError(
            f"the distance of {threat} changes between identical calls: put the network in eval "
            "mode, and draw no random numbers"
        )
    if (first < 0).any() or (at_clean < 0).any():
        raise InputError(f"the distance of {threat} is negative: give one of 0 or more")
    if (at_clean > 1e-3 * first + 1e-6).any():
        raise InputError(
            f"the distance of {threat} is {float(at_clean.max()):g} from an input to itself: it "
            "must be 0 there"
        )
    alone = region.take(torch.arange(1, device=x0.device)).measure_off(x[:1])
    if not torch.allclose(alone, first[:1], rtol=1e-2, atol=1e-6):
        raise InputError(
            f"the distance of {threat} depends on the other inputs of a batch: put the network in "
            "eval mode"
        )
