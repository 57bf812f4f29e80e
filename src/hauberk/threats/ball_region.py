"""The geometry of lp balls: one region for linf, whose balls are boxes, one for all others."""

from dataclasses import dataclass, field, replace
from functools import cached_property
from math import inf
from typing import Self

import torch
from torch import Tensor

from hauberk.maths.norms import norm
from hauberk.maths.projections import project_ball
from hauberk.maths.rng import Draws
from hauberk.maths.rowwise import Reach
from hauberk.maths.sampling import ball_point
from hauberk.maths.square_windows import image_shape, inside, repaint, stripes, tiles, two_bumps
from hauberk.maths.steps import (
    movable,
    per_example,
    steepest_l1,
    steepest_l2,
    steepest_linf,
    step_along,
    unit_lp,
)
from hauberk.threats.base import Region, round_up


@dataclass
class BallRegion(Region):
    """An lp ball ∩ box around each input, p finite. ``u`` is the input."""

    p: float
    edges: tuple[Tensor, Tensor] = field(repr=False)
    """The box, shared by all examples."""
    lo: Tensor = field(repr=False)
    hi: Tensor = field(repr=False)
    """The box around each input, ``lo <= 0 <= hi``: bounds of the perturbation."""

    @property
    def sparse(self) -> bool:
        return self.p == 1

    @property
    def _inner(self) -> Tensor:
        """The radius less the rounding of ``x0 + delta``; :meth:`finalise` sees to the rest."""
        slack = 0.0 if self.p == 0 else 8 * torch.finfo(self.x0.dtype).eps
        return (self.radius * (1 - slack)).to(self.x0.dtype)

    @cached_property
    def _ready(self) -> Reach:
        """The same, made ready once for all projections of a run."""
        return Reach(self._inner, len(self.x0), self.x0.device)

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
            way = steepest_l1(grad, k)
        elif self.p in (0, 2):
            # l0 bounds no length: the plain direction, and the projection picks the features.
            way = steepest_l2(grad)
        else:
            # The steepest direction would end elsewhere: a maximum is where the *gradient* is
            # normal to the ball, and projecting is Euclidean.
            way = unit_lp(grad, self.p)
        return step_along(u, way, step)

    def random(self, draws: Draws, draw: int | Tensor) -> Tensor:
        shape = self.x0.shape[1:]
        if self.p == 0:
            lo, hi = (edge.expand(shape) for edge in self.edges)
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

    def repaint_window(
        self,
        u: Tensor,
        new: tuple[Tensor, Tensor],
        old: tuple[Tensor, Tensor],
        side: Tensor,
        draws: Draws,
        draw: Tensor,
    ) -> Tensor:
        shape = image_shape(u.shape[1:])
        here, there = inside(*new, side), inside(*old, side)
        coins = draws.bits(draw, (shape[0] + 1,)) & 1
        signs = (coins[:, 1:] * 2 - 1).to(u.dtype).view(-1, shape[0], 1, 1)
        if self.p == 0:
            # Features leave one window for the ends of the box in another.
            lo, hi = (edge.expand_as(u).reshape(len(u), *shape) for edge in self.edges)
            clean, ends = self.x0.view(len(u), *shape), torch.where(signs > 0, hi, lo)
            kept = torch.where(there, clean, u.view(len(u), *shape))
            return torch.where(here, ends, kept).view_as(u)
        delta = (u - self.x0).view(len(u), *shape)
        pattern = two_bumps(*new, side, coins[:, 0] == 1).to(u.dtype) * signs
        return self._to_edge(
            repaint(delta, pattern, here, here | there, self._inner, self.p).view_as(u)
        ).add_(self.x0)

    def _to_edge(self, delta: Tensor) -> Tensor:
        """Perturbations scaled to the full radius; 0 stays."""
        size = norm(delta, self.p).clamp_min_(1e-30)
        return delta * per_example((self._inner / size).to(delta.dtype), delta)

    def distance(self, x: Tensor, witness: Tensor | None = None) -> Tensor:
        return norm(x.double() - self.x0.double(), self.p)

    def measure(self, x: Tensor) -> Tensor:
        return norm(x - self.x0, self.p)

    def contains(self, x: Tensor, witness: Tensor | None = None) -> Tensor:
        inside = (x >= self.edges[0]) & (x <= self.edges[1])
        return inside.flatten(1).all(1) & (self.distance(x) <= self.radius)

    def scaled(self, factor: Tensor) -> Self:
        radius = self.radius * factor
        return replace(self, radius=radius.floor() if self.p == 0 else radius)

    def finalise(self, u: Tensor) -> Tensor:
        u = u.clamp(*self.edges)
        for attempt in range(4):
            distance = self.distance(u)
            over = ~(distance <= self.radius)
            if not bool(over.any()):
                return u
            if self.p == 0:
                return self.project_(u)
            shrink = self.radius / distance.clamp_min(1e-300) * (1 - 1e-7 * 8**attempt)
            factor = torch.where(over, shrink, 1.0).clamp_(0, 1).to(u.dtype)
            closer = (self.x0 + (u - self.x0) * per_example(factor, u)).clamp_(*self.edges)
            u = torch.where(per_example(over, u), closer, u)
        return torch.where(per_example(~(self.distance(u) <= self.radius), u), self.x0, u)


@dataclass
class LinfRegion(Region):
    """An linf ball ∩ box: a box of its own for each input, so that projecting is clipping."""

    edges: tuple[Tensor, Tensor] = field(repr=False)
    lo: Tensor = field(repr=False)
    hi: Tensor = field(repr=False)

    @classmethod
    def around(cls, x0: Tensor, eps: Tensor, edges: tuple[Tensor, Tensor]) -> Self:
        wide, reach = x0.double(), per_example(eps, x0)
        lo, hi = round_up(wide - reach, x0), -round_up(-(wide + reach), x0)
        # In float64 the ends may be rounded outwards: then the next number inwards is inside.
        lo = torch.where(wide - lo.double() > reach, lo.nextafter(x0), lo)
        hi = torch.where(hi.double() - wide > reach, hi.nextafter(x0), hi)
        lo, hi = torch.maximum(lo, edges[0]), torch.minimum(hi, edges[1])
        return cls(x0=x0, radius=eps, edges=edges, lo=lo, hi=hi)

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

    def repaint_window(
        self,
        u: Tensor,
        new: tuple[Tensor, Tensor],
        old: tuple[Tensor, Tensor],
        side: Tensor,
        draws: Draws,
        draw: Tensor,
    ) -> Tensor:
        channels, height, width = image_shape(u.shape[1:])
        coins = (draws.bits(draw, (channels,)) & 1).view(-1, channels, 1, 1)
        here = inside(*new, side).expand(-1, channels, height, width).reshape(u.shape)
        up = (coins == 1).expand(-1, -1, height, width).reshape(u.shape)
        return torch.where(here, torch.where(up, self.hi, self.lo), u)

    def distance(self, x: Tensor, witness: Tensor | None = None) -> Tensor:
        return norm(x.double() - self.x0.double(), inf)

    def measure(self, x: Tensor) -> Tensor:
        return norm(x - self.x0, inf)

    def contains(self, x: Tensor, witness: Tensor | None = None) -> Tensor:
        inside = (x >= self.edges[0]) & (x <= self.edges[1])
        return inside.flatten(1).all(1) & (self.distance(x) <= self.radius)

    def scaled(self, factor: Tensor) -> Self:
        return self.around(self.x0, self.radius * factor, self.edges)

    def finalise(self, u: Tensor) -> Tensor:
        return u.clamp(self.lo, self.hi)
