"""lp balls around inputs: the geometry that attacks move in."""

from dataclasses import dataclass, field, replace
from functools import cached_property
from math import inf
from typing import Self

import torch
from torch import Tensor

from hauberk.maths.norms import norm
from hauberk.maths.projections import project_ball
from hauberk.maths.rng import Draws
from hauberk.maths.rowwise import ReadyRadii
from hauberk.maths.sampling import ball_point
from hauberk.maths.square_windows import Windows, image_shape, repaint, stripes, tiles, two_bumps
from hauberk.maths.steps import (
    TINY,
    movable,
    per_example,
    steepest_l1,
    steepest_l2,
    steepest_linf,
    step_along,
    unit_lp,
)
from hauberk.threats.box import round_up
from hauberk.threats.distances import LpRegion
from hauberk.threats.levels import linf_distance
from hauberk.threats.region import Patchable


def ball_around(
    x0: Tensor, radius: Tensor, p: float, edges: tuple[Tensor, Tensor]
) -> "BallRegion | LinfRegion":
    """The lp balls of so many radii around inputs, within the box.

    Args:
        x0: clean inputs, ``(S, ...)``, float32 or float64.
        radius: of each, ``(S,)`` float64.
        p: 0, a number >= 1, or inf.
        edges: the ends of the box, which broadcast to one input.
    """
    if p == inf:
        return LinfRegion.around(x0, radius, edges)
    lo, hi = edges[0] - x0, edges[1] - x0
    return BallRegion(x0=x0, radius=radius, p=p, edges=edges, lo=lo, hi=hi)


@dataclass
class BallRegion(LpRegion, Patchable):
    """The lp ball, cut with the box, around each input, p finite; ``u`` is the input."""

    lo: Tensor = field(repr=False)
    hi: Tensor = field(repr=False)
    """The box around each input, ``lo <= 0 <= hi``: bounds of the perturbation."""

    @property
    def _inner(self) -> Tensor:
        """The radius less the rounding of ``x0 + delta``; :meth:`finalise` sees to the rest."""
        slack = 0.0 if self.p == 0 else 8 * torch.finfo(self.x0.dtype).eps
        return (self.radius * (1 - slack)).to(self.x0.dtype)

    @cached_property
    def _ready(self) -> ReadyRadii:
        """The same, made ready once for all projections of a run."""
        return ReadyRadii(self._inner, len(self.x0), self.x0.device)

    def project_(self, u: Tensor) -> Tensor:
        delta = project_ball(u.sub_(self.x0), self.p, self._ready, self.lo, self.hi)
        # x0 + (hi - x0) may round to just above hi.
        return delta.add_(self.x0).clamp_(*self.edges)

    def ascent(
        self, u: Tensor, grad: Tensor, step: Tensor | float, share: Tensor | None = None
    ) -> Tensor:
        if self.p in (0, 1):
            grad = movable(u, grad, *self.edges)
            d = u[0].numel() if len(u) else 1
            k = (share * d).round() if share is not None else 1
        if self.p == 1 or (self.p == 0 and share is not None):
            direction = steepest_l1(grad, k)
        elif self.p in (0, 2):
            # l0 bounds no length: the plain direction, and the projection picks the features.
            direction = steepest_l2(grad)
        else:
            # The steepest direction would end elsewhere: a maximum is where the *gradient* is
            # normal to the ball, and projecting is Euclidean.
            direction = unit_lp(grad, self.p)
        return step_along(u, direction, step)

    def random(self, draws: Draws, draw: int | Tensor) -> Tensor:
        shape = self.x0.shape[1:]
        if self.p == 0:
            lo, hi = self.ends()
            noise = draws.uniform(draw, shape, self.x0.dtype) * (hi - lo) + lo
            # Any features may be the ones: random keys, the k largest of them are kept.
            key = draws.split(1).uniform(draw, shape, self.x0.dtype).flatten(1)
            order = key.argsort(dim=1).argsort(dim=1)
            kept = order < self.radius.unsqueeze(1)
            return torch.where(kept.view_as(noise), noise, self.x0)
        delta = ball_point(draws, draw, shape, self.p, self.x0.dtype)
        return self.project_(delta.mul_(per_example(self._inner, delta)).add_(self.x0))

    def random_coarse(self, draws: Draws, draw: int | Tensor) -> Tensor:
        if self.p == 0:
            return self.random(draws, draw)
        delta = tiles(draws, draw, self.x0.shape[1:], self.x0.dtype)
        return self.project_(self._to_edge(delta).add_(self.x0))

    def repaint_window(self, u: Tensor, windows: Windows, draws: Draws, draw: Tensor) -> Tensor:
        shape = image_shape(u.shape[1:])
        here, there = windows.painted, windows.paying
        coins = draws.bits(draw, (shape[0] + 1,)) & 1
        signs = (coins[:, 1:] * 2 - 1).to(u.dtype).view(-1, shape[0], 1, 1)
        if self.p == 0:
            # Features leave one window for the ends of the box in another.
            lo, hi = (edge.expand_as(u).reshape(len(u), *shape) for edge in self.edges)
            clean, ends = self.x0.view(len(u), *shape), torch.where(signs > 0, hi, lo)
            kept = torch.where(there, clean, u.view(len(u), *shape))
            return torch.where(here, ends, kept).view_as(u)
        delta = (u - self.x0).view(len(u), *shape)
        pattern = two_bumps(*windows.new, windows.side, coins[:, 0] == 1).to(u.dtype) * signs
        return self._to_edge(
            repaint(delta, pattern, here, here | there, self._inner, self.p).view_as(u)
        ).add_(self.x0)

    def _to_edge(self, delta: Tensor) -> Tensor:
        """Perturbations scaled to the full radius; 0 stays."""
        size = norm(delta, self.p).clamp_min_(1e-30)
        return delta * per_example((self._inner / size).to(delta.dtype), delta)

    def with_radius(self, radius: Tensor) -> "LpRegion":
        return replace(self, radius=self.attainable(radius.double()))

    def scaled(self, factor: Tensor) -> Self:
        return replace(self, radius=self.attainable(self.radius * factor))

    def finalise(self, u: Tensor) -> Tensor:
        u = u.clamp(*self.edges)
        for attempt in range(4):
            distance = self.distance(self.decode(u))
            over = ~(distance <= self.radius)
            if not bool(over.any()):
                return u
            if self.p == 0:
                return self.project_(u)
            shrink = self.radius / distance.clamp_min(1e-300) * (1 - 1e-7 * 8**attempt)
            factor = torch.where(over, shrink, 1.0).clamp_(0, 1).to(u.dtype)
            closer = (self.x0 + (u - self.x0) * per_example(factor, u)).clamp_(*self.edges)
            u = torch.where(per_example(over, u), closer, u)
        over = ~(self.distance(self.decode(u)) <= self.radius)
        return torch.where(per_example(over, u), self.x0, u)


@dataclass
class LinfRegion(LpRegion, Patchable):
    """The linf ball, cut with the box, around each input: projecting is clipping."""

    lo: Tensor = field(repr=False)
    hi: Tensor = field(repr=False)

    @classmethod
    def around(cls, x0: Tensor, eps: Tensor, edges: tuple[Tensor, Tensor]) -> Self:
        lo, hi = linf_ends(x0, per_example(eps, x0), edges)
        return cls(x0=x0, radius=eps, p=inf, edges=edges, lo=lo, hi=hi)

    def project_(self, u: Tensor) -> Tensor:
        return u.clamp_(self.lo, self.hi)

    def ascent(
        self, u: Tensor, grad: Tensor, step: Tensor | float, share: Tensor | None = None
    ) -> Tensor:
        return step_along(u, steepest_linf(grad), step)

    def random(self, draws: Draws, draw: int | Tensor) -> Tensor:
        noise = draws.uniform(draw, self.x0.shape[1:], self.x0.dtype).mul_(2).sub_(1)
        radius = per_example(self.radius.to(noise.dtype), noise)
        return self.project_(torch.addcmul(self.x0, noise, radius))

    def random_coarse(self, draws: Draws, draw: int | Tensor) -> Tensor:
        signs = stripes(draws, draw, self.x0.shape[1:], self.x0.dtype)
        return torch.where(signs > 0, self.hi, self.lo)

    def repaint_window(self, u: Tensor, windows: Windows, draws: Draws, draw: Tensor) -> Tensor:
        channels, height, width = image_shape(u.shape[1:])
        coins = (draws.bits(draw, (channels,)) & 1).view(-1, channels, 1, 1)
        here = windows.painted.expand(-1, channels, height, width).reshape(u.shape)
        up = (coins == 1).expand(-1, -1, height, width).reshape(u.shape)
        return torch.where(here, torch.where(up, self.hi, self.lo), u)

    def distance(self, x: Tensor, witness: Tensor | None = None) -> Tensor:
        return linf_distance(x, self.x0, self.radius, self.edges)

    def excess(self, u: Tensor, share: float = 1.0) -> tuple[Tensor, Tensor]:
        radius = self.radius.to(u.dtype) * share
        delta = (u - self.x0).flatten(1)
        rest = (delta.abs() - radius.unsqueeze(1)).clamp_min_(0)
        size = rest.norm(dim=1)
        return size, rest * delta.sign() / size.clamp_min(TINY).unsqueeze(1)

    def with_radius(self, radius: Tensor) -> "LpRegion":
        return self.around(self.x0, radius.double(), self.edges)

    def scaled(self, factor: Tensor) -> Self:
        return self.around(self.x0, self.radius * factor, self.edges)

    def finalise(self, u: Tensor) -> Tensor:
        return u.clamp(self.lo, self.hi)


def linf_ends(x0: Tensor, reach: Tensor, edges: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
    """The lowest and highest numbers within reach of inputs, in float64, and in the box.

    Args:
        x0: inputs ``(S, ...)``.
        reach: how far each feature may go, float64, which broadcasts to them.
        edges: the ends of the box, alike.
    """
    wide = x0.double()
    lo, hi = round_up(wide - reach, x0), -round_up(-(wide + reach), x0)
    # In float64 the ends may be rounded outwards: then the next number inwards is inside.
    lo = torch.where(wide - lo.double() > reach, lo.nextafter(x0), lo)
    hi = torch.where(hi.double() - wide > reach, hi.nextafter(x0), hi)
    return torch.maximum(lo, edges[0]), torch.minimum(hi, edges[1])
