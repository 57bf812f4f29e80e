"""Regions bounded by a distance: what solvers and constrained methods move in, as types."""

from abc import abstractmethod
from dataclasses import dataclass
from math import inf
from typing import Self

import torch
from torch import Tensor

from hauberk.maths.norms import norm
from hauberk.maths.rng import Draws
from hauberk.maths.steps import TINY, per_example
from hauberk.spec.numbers import shortest
from hauberk.threats.region import InputRegion, running_share


@dataclass
class DistanceRegion(InputRegion):
    """A region bounded by a distance that is differentiable almost everywhere.

    Example:
        >>> import torch
        >>> from hauberk import L2
        >>> region = DistanceRegion.require(L2(1.0).at(torch.zeros(1, 2)), "my solver")
        >>> distance, slope = region.slope(torch.tensor([[0.6, 0.8]]))
        >>> distance, slope
        (tensor([1.]), tensor([[0.6000, 0.8000]]))
    """

    wanted = "a threat with a differentiable distance (an lp ball or a measured one)"

    @abstractmethod
    def measure(self, x: Tensor) -> Tensor:
        """The distance of ``u`` (S, ...), ``(S,)`` in its dtype and differentiable in it."""

    @abstractmethod
    def with_radius(self, radius: Tensor) -> "DistanceRegion":
        """The inputs within ``radius`` (S,) of the clean ones, by the same distance."""

    def slope(self, u: Tensor) -> tuple[Tensor, Tensor]:
        """The distance, ``(S,)``, and its gradient in ``u``; NaN becomes 0."""
        with torch.enable_grad():
            x = u.detach().requires_grad_(True)
            distance = self.measure(x)
            (grad,) = torch.autograd.grad(distance.sum(), x)
        return distance.detach(), grad.nan_to_num_()

    def excess(self, u: Tensor, share: float = 1.0) -> tuple[Tensor, Tensor]:
        """A differentiable measure of how far ``u`` lies outside; positive outside only.

        Args:
            u: inputs, ``(S, ...)``.
            share: of the radius that counts as inside.

        Returns:
            The distance less the radius, ``(S,)``, or for linf the l2 length of all features'
            excesses; and its gradient, ``(S, N)``, flat.
        """
        distance, grad = self.slope(u)
        return distance - self.radius.to(u.dtype) * share, grad.flatten(1)

    def attainable(self, radius: Tensor) -> Tensor:
        """The largest distance that a point can have within ``radius``; a whole number in l0."""
        return radius.floor() if self.discrete else radius

    def project_within_(self, u: Tensor, radius: Tensor) -> Tensor:
        """The nearest point to ``u`` in the box and within ``radius`` (S,)."""
        return self.with_radius(radius).project_(u)

    def random_within(self, draws: Draws, draw: int | Tensor, radius: Tensor) -> Tensor:
        """A random point of the box within ``radius`` (S,), for l0 that many features afresh."""
        return self.with_radius(radius).random(draws, draw)

    def interpolate(self, u: Tensor, share: Tensor) -> Tensor:
        """The point a ``share`` (S,) of the distance from the clean input to ``u``."""
        delta = u - self.x0
        return self.project_(self.x0 + delta * per_example(share.to(delta.dtype), delta))


@dataclass
class MeasuredDistanceRegion(DistanceRegion):
    """A region whose distance can only be evaluated, point by point: it has no closed forms."""

    wanted = "a measured threat (Measured or Perceptual)"

    @property
    @abstractmethod
    def inner(self) -> Tensor:
        """The radius, less what rounding may do to a distance, ``(S,)`` in the inputs' dtype."""

    @property
    @abstractmethod
    def diameter(self) -> Tensor:
        """Length of the box's diagonal in l2, ``()``; infinite sides count as 1."""

    @abstractmethod
    def measure_off(self, x: Tensor) -> Tensor:
        """The distance off the graph, in the dtype of ``x``; NaN counts as infinitely far."""

    @abstractmethod
    def around(self, x: Tensor) -> Self:
        """The same distance measured from inputs ``x`` (S, ...)."""

    @abstractmethod
    def smoothed(self) -> Self:
        """A region whose squared distance is smooth at the clean input."""

    @abstractmethod
    def rate(self, u: Tensor, direction: Tensor, h: float = 1e-3) -> Tensor:
        """Distance per length that a step from ``u`` adds, ``(S,)``.

        Args:
            u: where the step starts, ``(S, ...)``.
            direction: of l2 length one, ``(S, ...)``.
            h: length of the step, in units of the box's diagonal.
        """


@dataclass
class LpRegion(DistanceRegion):
    """A region bounded by an lp distance."""

    wanted = "an lp ball (linf, l2, l1, l0)"

    p: float
    """0 (counts features), a number >= 1, or inf."""

    @property
    def kind(self) -> str:
        return f"l{shortest(self.p)}"

    @property
    def sparse(self) -> bool:
        return self.p == 1

    @property
    def discrete(self) -> bool:
        return self.p == 0

    @property
    def ball_is_box(self) -> bool:
        return self.p == inf

    def length(self, delta: Tensor) -> Tensor:
        """The lp length of changes ``(S, ...)``, ``(S,)`` in their dtype."""
        return norm(delta, self.p)

    def distance(self, x: Tensor, witness: Tensor | None = None) -> Tensor:
        return norm(x.double() - self.x0.double(), self.p)

    def measure(self, x: Tensor) -> Tensor:
        return norm(x - self.x0, self.p)

    def contains(self, x: Tensor, witness: Tensor | None = None) -> Tensor:
        return self.in_box(x) & (self.distance(x) <= self.radius)

    def full_size(self, noise: Tensor) -> Tensor:
        if self.p == inf:
            return super().full_size(noise)
        if self.p == 0:
            # Its size counts features: any amount that the box allows.
            lo, hi = self.ends()
            return noise * (hi - lo)
        length = norm(noise.double(), self.p).clamp_min(TINY)
        return noise * per_example((self.radius / length).to(noise.dtype), noise)

    def budget_used(self, delta: Tensor, key: Tensor) -> Tensor:
        if self.p == inf:
            return super().budget_used(delta, key)
        cost = delta.double().flatten(1).abs()
        if self.p == 0:
            return running_share((cost > 0).double(), self.radius, key).view_as(delta)
        return running_share(cost.pow(self.p), self.radius.pow(self.p), key).view_as(delta)

    def interpolate(self, u: Tensor, share: Tensor) -> Tensor:
        """The point a ``share`` (S,) of the distance from the clean input to ``u``.

        For p = 0: with that share of its changes, the largest ones.
        """
        delta = u - self.x0
        if self.p != 0:
            return (self.x0 + delta * per_example(share.to(u.dtype), u)).clamp_(*self.edges)
        size = delta.abs().flatten(1)
        rank = size.argsort(dim=1, descending=True).argsort(dim=1)
        kept = (share.double() * (size > 0).sum(1)).round().unsqueeze(1)
        return torch.where((rank < kept).view_as(u), u, self.x0)


@dataclass
class LpDistanceRegion(LpRegion):
    """The whole box, at its lp distance from the clean inputs: what radius solvers move in."""

    wanted = "an lp distance (linf, l2, l1, l0)"

    @abstractmethod
    def project_to_hyperplane(self, u: Tensor, normal: Tensor, gap: Tensor) -> Tensor:
        """The nearest point of the box to ``u`` where ``normal . (v - u) = gap``.

        Args:
            u: inputs, ``(S, ...)``.
            normal: of the hyperplane, ``(S, ...)``.
            gap: how far it lies from ``u``, in units of the normal, ``(S,)``.
        """

    @abstractmethod
    def prox_(self, u: Tensor, weight: Tensor) -> Tensor:
        """The minimiser of ``weight d(v) + |v - u|_2^2 / 2`` in the box, ``weight`` (S,)."""

    @abstractmethod
    def dual(self, grad: Tensor) -> Tensor:
        """How fast a loss of this gradient can rise per unit of distance, ``(S,)``.

        That is the dual norm of the gradient ``(S, ...)``; for p = 0 the largest rise that one
        feature allows to first order, within the box.
        """
