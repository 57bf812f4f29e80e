"""lp distances on the whole box: what a radius is measured in."""

from dataclasses import dataclass
from math import inf, isnan
from typing import Self

import torch
from torch import Tensor

from hauberk.errors import InputError
from hauberk.maths.hyperplane import to_hyperplane
from hauberk.maths.norms import norm
from hauberk.maths.projections import project_ball
from hauberk.maths.prox import prox
from hauberk.maths.rng import Draws
from hauberk.maths.steps import per_example, steepest_linf, step_along
from hauberk.threats.ball import Ball
from hauberk.threats.ball_region import BallRegion
from hauberk.threats.base import Box, Region, Threat


@dataclass(frozen=True, eq=False, repr=False)
class Metric(Threat):
    """Every input of the box, at its lp distance from the clean one.

    p is 0 (features that differ), a number >= 1, or inf.

    Raises:
        InputError: if p lies between 0 and 1, or is not a number.
    """

    p: float

    def __post_init__(self) -> None:
        if isnan(self.p) or (self.p != 0 and self.p < 1):
            raise InputError(f"l{self.p:g} is no norm: p must be 0, at least 1, or inf")

    def at(self, x0: Tensor, box: Box = Box()) -> "LpDistanceRegion":  # noqa: B008
        x0 = x0.detach()
        x0 = x0 if x0.dtype in (torch.float32, torch.float64) else x0.float()
        edges = box.bounds(x0)
        radius = torch.full((len(x0),), inf, dtype=torch.float64, device=x0.device)
        return LpDistanceRegion(
            x0=x0, radius=radius, p=self.p, edges=edges, lo=edges[0] - x0, hi=edges[1] - x0
        )

    def scaled(self, factor: float) -> "Metric":
        return self

    def __str__(self) -> str:
        return f"l{repr(float(self.p)).removesuffix('.0')}"

    def __repr__(self) -> str:
        return f"Metric({self.p:g})"


@dataclass
class LpDistanceRegion(BallRegion):
    """The box around clean inputs, with the geometry that radius solvers move in.

    It has no radius of its own: ``radius`` is infinite.
    """

    def project_(self, u: Tensor) -> Tensor:
        return u.clamp_(*self.edges)

    def finalise(self, u: Tensor) -> Tensor:
        return u.clamp(*self.edges)

    def ascent(
        self, u: Tensor, grad: Tensor, step: Tensor | float, share: Tensor | None = None
    ) -> Tensor:
        if self.p == inf:
            return step_along(u, steepest_linf(grad), step)
        return super().ascent(u, grad, step, share)

    def random(self, draws: Draws, draw: int | Tensor) -> Tensor:
        lo, hi = (edge.expand_as(self.x0) for edge in self.edges)
        return draws.uniform(draw, self.x0.shape[1:], self.x0.dtype).mul_(hi - lo).add_(lo)

    def scaled(self, factor: Tensor) -> Self:
        return self

    def with_radius(self, radius: Tensor) -> Region:
        """The balls of so many radii (S,), as a threat that attacks can search."""
        box = Box(*self.edges)
        return Ball(self.p, 1.0).at(self.x0, box).scaled(radius.double())

    def project_within_(self, u: Tensor, radius: Tensor) -> Tensor:
        """The nearest point to ``u`` in the box and within ``radius`` (S,)."""
        u.sub_(self.x0)
        if self.p == inf:
            reach = per_example(radius.to(u.dtype), u)
            u.clamp_(-reach, reach)
        else:
            u = project_ball(u, self.p, radius, self.lo, self.hi)
        return u.add_(self.x0).clamp_(*self.edges)

    def random_within(self, draws: Draws, draw: int | Tensor, radius: Tensor) -> Tensor:
        """A random point of the box within ``radius`` (S,), for p = 0 that many features afresh."""
        return self.with_radius(radius).random(draws, draw)

    def project_to_hyperplane(self, u: Tensor, normal: Tensor, gap: Tensor) -> Tensor:
        """The nearest point of the box to ``u`` where ``normal . (v - u) = gap``; see
        :func:`hauberk.maths.hyperplane.to_hyperplane`."""
        lo, hi = self.edges[0] - u, self.edges[1] - u
        return to_hyperplane(normal, gap, self.p, lo, hi).add_(u).clamp_(*self.edges)

    def prox_(self, u: Tensor, weight: Tensor) -> Tensor:
        """The minimiser of ``weight d(v) + |v - u|_2^2 / 2`` in the box, ``weight`` (S,)."""
        delta = prox(u.sub_(self.x0), self.p, weight, self.lo, self.hi)
        return delta.add_(self.x0).clamp_(*self.edges)

    def dual(self, grad: Tensor) -> Tensor:
        """How fast a loss of this gradient can rise per unit of distance, ``(S,)``.

        For p = 0: the largest rise that one feature allows to first order, within the box.
        """
        if self.p == 0:
            room = torch.where(grad > 0, self.hi, self.lo)
            return (grad * room).abs().flatten(1).amax(1)
        q = {1: inf, inf: 1}.get(self.p, self.p / (self.p - 1) if self.p > 1 else 1)
        # Scaled by the largest entry: squares of huge or tiny gradients leave the float range.
        top = norm(grad, inf).clamp_min(torch.finfo(grad.dtype).tiny)
        return norm(grad / per_example(top, grad), q) * top

    def interpolate(self, u: Tensor, share: Tensor) -> Tensor:
        """The point a ``share`` (S,) of the distance on the way from the clean input to ``u``.

        For p = 0: with that share of its changes, the largest ones.
        """
        delta = u - self.x0
        if self.p != 0:
            return (self.x0 + delta * per_example(share.to(u.dtype), u)).clamp_(*self.edges)
        size = delta.abs().flatten(1)
        rank = size.argsort(dim=1, descending=True).argsort(dim=1)
        kept = (share.double() * (size > 0).sum(1)).round().unsqueeze(1)
        return torch.where((rank < kept).view_as(u), u, self.x0)
