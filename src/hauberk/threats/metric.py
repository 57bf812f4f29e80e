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
from hauberk.spec.numbers import shortest
from hauberk.threats.ball import Ball, lp_traits
from hauberk.threats.ball_regions import BallRegion, ball_around
from hauberk.threats.base import Threat, Trait
from hauberk.threats.box import Box
from hauberk.threats.distances import LpDistanceRegion, LpRegion
from hauberk.threats.features import Features
from hauberk.threats.fitted import Fitted, exact_ends
from hauberk.threats.region import as_floats, filled


@dataclass(frozen=True, eq=False, repr=False)
class Metric(Threat):
    """Every input of the box, at its lp distance from the clean one.

    Args:
        p: 0 (counts the features that differ), a number >= 1, or inf.

    Raises:
        InputError: if p lies between 0 and 1, or is not a number.

    Example:
        >>> str(Metric(2)), str(Metric(inf))
        ('l2', 'linf')
        >>> Metric(1).distance(torch.zeros(1, 2), torch.tensor([[0.5, -0.25]]))
        tensor([0.7500], dtype=torch.float64)
    """

    kinds = Ball.kinds

    p: float
    fit: Features | None = None

    def __post_init__(self) -> None:
        if isnan(self.p) or (self.p != 0 and self.p < 1):
            raise InputError(f"l{self.p:g} is no norm: p must be 0, at least 1, or inf")

    @classmethod
    def of(cls, ball: Threat | str) -> "Metric":
        """The distance in which an lp ball is measured.

        Raises:
            InputError: for a threat that is no lp ball.

        Example:
            >>> from hauberk import L2
            >>> Metric.of(L2(0.5))
            Metric(2)
        """
        ball = Threat.of(ball)
        if not isinstance(ball, Ball):
            raise InputError(f"{ball} is no lp ball: give one, e.g. linf:0.3")
        return cls(ball.p, ball.fit)

    def ball(self, eps: float) -> Ball:
        """The ball of this radius, of the same features."""
        return Ball(self.p, eps, self.fit)

    def but(self, p: float) -> "Metric":
        """Another norm of the same features."""
        return Metric(p, self.fit)

    def take(self, index: Tensor) -> "Metric":
        fit = None if self.fit is None else self.fit.take(index)
        return self if fit is self.fit else Metric(self.p, fit)

    @property
    def variants(self) -> int:
        return self.ball(1).variants

    @classmethod
    def traits_of(cls, kind: str) -> frozenset[Trait]:
        return frozenset({Trait.DISTANCE}) | lp_traits(kind)

    def at(self, x0: Tensor, box: Box = Box()) -> LpDistanceRegion:
        x0 = as_floats(x0)
        if self.fit is not None:
            return self._fitted_at(self.fit, x0, box)
        edges = box.bounds(x0)
        lo, hi = edges[0] - x0, edges[1] - x0
        return MetricRegion(x0=x0, radius=filled(x0, inf), p=self.p, edges=edges, lo=lo, hi=hi)

    def _fitted_at(
        self, fit: Features, x0: Tensor, box: Box, place: Tensor | None = None
    ) -> LpDistanceRegion:
        def again(number: Tensor) -> LpDistanceRegion:
            return self._fitted_at(fit, x0, box, number)

        view = fit.view(x0, box, place)
        u, edges = view.start(), view.edges()
        return FittedMetric(
            x0=u, radius=filled(x0, inf), p=self.p, edges=edges, lo=edges[0] - u, hi=edges[1] - u,
            view=view, tight=exact_ends(view, None), again=again if self.variants > 1 else None,
            window=fit.anywhere,
        )  # fmt: skip

    def scaled(self, factor: float) -> "Metric":
        return self

    def __str__(self) -> str:
        return f"l{shortest(self.p)}{'' if self.fit is None else self.fit}"

    def __repr__(self) -> str:
        if self.fit is not None:
            return super().__repr__()
        return f"Metric({self.p:g})"


@dataclass
class MetricRegion(BallRegion, LpDistanceRegion):
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

    def with_radius(self, radius: Tensor) -> LpRegion:
        """The balls of so many radii (S,), as a region that attacks can search."""
        radius = self.attainable(radius.double())
        return ball_around(self.x0, radius, self.p, self.edges)

    def project_within_(self, u: Tensor, radius: Tensor) -> Tensor:
        u.sub_(self.x0)
        if self.p == inf:
            reach = per_example(radius.to(u.dtype), u)
            u.clamp_(-reach, reach)
        else:
            u = project_ball(u, self.p, radius, self.lo, self.hi)
        return u.add_(self.x0).clamp_(*self.edges)

    def project_to_hyperplane(self, u: Tensor, normal: Tensor, gap: Tensor) -> Tensor:
        lo, hi = self.edges[0] - u, self.edges[1] - u
        return to_hyperplane(normal, gap, self.p, lo, hi).add_(u).clamp_(*self.edges)

    def prox_(self, u: Tensor, weight: Tensor) -> Tensor:
        delta = prox(u.sub_(self.x0), self.p, weight, self.lo, self.hi)
        return delta.add_(self.x0).clamp_(*self.edges)

    def dual(self, grad: Tensor) -> Tensor:
        if self.p == 0:
            room = torch.where(grad > 0, self.hi, self.lo)
            return (grad * room).abs().flatten(1).amax(1)
        q = {1: inf, inf: 1}.get(self.p, self.p / (self.p - 1) if self.p > 1 else 1)
        # Scaled by the largest entry: squares of huge or tiny gradients leave the float range.
        top = norm(grad, inf).clamp_min(torch.finfo(grad.dtype).tiny)
        return norm(grad / per_example(top, grad), q) * top


@dataclass
class FittedMetric(Fitted, MetricRegion):
    """The same, where some features may not change, or are measured in units of their own."""
