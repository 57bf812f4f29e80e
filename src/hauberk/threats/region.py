"""Regions: a threat bound to a batch of inputs, and what such a region can do, as types.

A method asks for the type that it needs, in one line that raises :class:`hauberk.InputError` for
all other threats: ``region = InputRegion.require(problem.region, self)``.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import ClassVar, Self

import torch
from torch import Tensor

from hauberk.errors import InputError
from hauberk.maths.rng import Draws
from hauberk.maths.rows import Rows
from hauberk.maths.square_windows import Windows
from hauberk.maths.steps import TINY, per_example


@dataclass
class Region(Rows, ABC):
    """A threat bound to a batch of S clean inputs: the geometry that attacks move in.

    An attack moves a variable ``u`` (the input itself for a ball; other numbers for a warp).
    Methods whose name ends in an underscore may overwrite ``u`` and return the result.

    Example:
        >>> import torch
        >>> from hauberk import Linf
        >>> region = Linf(0.3).at(torch.full((1, 2), 0.5))
        >>> u = region.ascent(region.start(), torch.tensor([[1.0, -2.0]]), step=1.0)
        >>> region.decode(region.project_(u))
        tensor([[0.8000, 0.2000]])
    """

    wanted: ClassVar[str] = "a threat"
    """What a method asks for that requires this type, for the error message."""
    remedy: ClassVar[str] = "choose another threat or another method"
    """What to do where a region is not of this type, for the error message."""

    x0: Tensor
    """Clean inputs, ``(S, ...)``, float32 or float64."""
    radius: Tensor
    """Size of the threat in its own unit, ``(S,)`` float64: step sizes are given in it."""

    @classmethod
    def require(cls, region: "Region", who: object) -> Self:
        """``region`` itself, if it is of this type.

        Args:
            region: the region that a method was given.
            who: the method that needs the type, or its name, for the message.

        Raises:
            InputError: for a region of any other type.

        Example:
            >>> import torch
            >>> from hauberk import Linf, RotationTranslation
            >>> ball = Linf(0.3).at(torch.zeros(1, 1, 4, 4))
            >>> InputRegion.require(ball, "Boundary") is ball
            True
            >>> warp = RotationTranslation().at(torch.zeros(1, 1, 4, 4))
            >>> InputRegion.require(warp, "Boundary")  # doctest: +ELLIPSIS
            Traceback (most recent call last):
            ...
            hauberk.errors.InputError: Boundary needs a ball (linf, l2, l1, l0) or another ...
        """
        if isinstance(region, cls):
            return region
        name = who if isinstance(who, str) else type(who).__name__
        given = type(region).__name__.removesuffix("Region")
        raise InputError(f"{name} needs {cls.wanted}, which {given} is not: {cls.remedy}")

    @property
    def sparse(self) -> bool:
        """Whether the steepest step moves few features (l1)."""
        return False

    @property
    def discrete(self) -> bool:
        """Whether the size counts features (l0), so that only whole numbers make a difference."""
        return False

    @property
    def ball_is_box(self) -> bool:
        """Whether the distance is the largest change of any feature (linf)."""
        return False

    @property
    def kind(self) -> str:
        """For an lp ball, as :attr:`hauberk.threats.Threat.kind`, e.g. ``l2``; else empty."""
        return ""

    @property
    def members(self) -> int | None:
        """Inputs that one ``u`` stands for: then decode gives ``(S, M, ...)``; None for one."""
        return None

    @property
    def parts(self) -> tuple["Region", ...]:
        """The regions that a compound one is made of; the region itself otherwise."""
        return (self,)

    @cached_property
    def eps(self) -> Tensor:
        """The radius in the dtype of the inputs, ``(S,)``."""
        return self.radius.to(self.x0.dtype)

    def start(self) -> Tensor:
        """The ``u`` of the clean inputs; a fresh tensor."""
        return self.x0.clone()

    def decode(self, u: Tensor) -> Tensor:
        """The inputs ``x`` that ``u`` stands for; differentiable. The identity for balls."""
        return u

    def at_variant(self, number: Tensor) -> "Region":
        """The same threat, at its variant ``number`` (S,) of ``Threat.variants``."""
        return self

    def encode(self, x: Tensor) -> Tensor | None:
        """The ``u`` that stands for inputs ``x``, or None if there is no such map."""
        return x

    @abstractmethod
    def project_(self, u: Tensor) -> Tensor:
        """The nearest ``u`` inside the threat and the box, up to rounding of the distance."""

    @abstractmethod
    def ascent(
        self, u: Tensor, grad: Tensor, step: Tensor | float, share: Tensor | None = None
    ) -> Tensor:
        """``u`` moved along the steepest ascent of this geometry; not projected.

        Args:
            u: where to start.
            grad: gradient of the loss there.
            step: length in the threat's unit, ``(S,)`` or one number.
            share: share of coordinates to move, ``(S,)`` in (0, 1], for geometries (l1, l0) whose
                steepest step is sparse; others ignore it.
        """

    @abstractmethod
    def random(self, draws: Draws, draw: int | Tensor) -> Tensor:
        """A random ``u`` inside the threat."""

    @abstractmethod
    def distance(self, x: Tensor, witness: Tensor | None = None) -> Tensor:
        """Distance from ``x0`` to ``x`` in the threat's unit, ``(S,)``, in float64."""

    @abstractmethod
    def contains(self, x: Tensor, witness: Tensor | None = None) -> Tensor:
        """True where ``x`` lies in the threat and in the box, checked in float64 without slack."""

    def violation(self, u: Tensor) -> Tensor:
        """By how much ``u`` exceeds the size of the threat, in its unit, ``(S,)`` float64; else 0.

        What rounding may add to a distance, a millionth of the size, counts as inside.
        """
        beyond = self.distance(self.decode(u), self.witness(u)).double() - self.radius
        return torch.where(beyond > 1e-6 * self.radius.abs(), beyond, 0.0)

    @abstractmethod
    def scaled(self, factor: Tensor) -> Self:
        """The same geometry with every example's radius times ``factor`` (S,)."""

    def finalise(self, u: Tensor) -> Tensor:
        """``u`` made strictly feasible in float64; called once, when a point leaves the engine."""
        return u

    def witness(self, u: Tensor) -> Tensor | None:
        """What the judge needs beside ``x`` to check membership; None for balls."""
        return None


@dataclass
class InputRegion(Region):
    """A region whose ``u`` is the input itself, so that an attack may walk in the box."""

    wanted = "a ball (linf, l2, l1, l0) or another threat that moves the input itself"

    edges: tuple[Tensor, Tensor] = field(repr=False)
    """The ends of the box, lowest and highest values; each broadcasts to one input, or is
    :class:`~hauberk.maths.rows.Ends`, ``(S, ...)``."""

    @property
    def span(self) -> Tensor:
        """Width of the box, which broadcasts to one input; 1 where it is infinite."""
        span = self.edges[1] - self.edges[0]
        return torch.where(span.isfinite(), span, 1.0)

    @property
    def mean_width(self) -> Tensor:
        """The box's mean width over the features of an input, ``(S,)``; 1 if it is infinite."""
        lo, hi = self.edges
        wide = hi - lo
        if wide.dim() == self.x0.dim() and len(wide) == len(self.x0):  # a box for each input
            width = wide.flatten(1).mean(1)
        else:
            width = wide.expand(self.x0.shape[1:]).mean()
        return torch.where(torch.isfinite(width) & (width > 0), width, 1.0).expand(len(self.x0))

    def ends(self) -> tuple[Tensor, Tensor]:
        """The ends of the box for every input, ``(S, ...)`` each."""
        return self.edges[0].expand_as(self.x0), self.edges[1].expand_as(self.x0)

    def finite_ends(self, who: object) -> tuple[Tensor, Tensor]:
        """The same, of a box that is finite. It looks at the values: call it in ``start`` only.

        Raises:
            InputError: if the box is infinite.
        """
        lo, hi = self.ends()
        if not bool((lo.isfinite() & hi.isfinite()).all()):
            name = who if isinstance(who, str) else type(who).__name__
            raise InputError(f"the box is infinite: {name} needs its ends, pass a finite box=")
        return lo, hi

    def clip(self, x: Tensor) -> Tensor:
        """Inputs ``(S, ...)``, or several for each of them ``(S, K, ...)``, clipped to the box."""
        lo, hi = self.ends()
        if x.dim() > lo.dim():
            lo, hi = lo.unsqueeze(1), hi.unsqueeze(1)
        return x.maximum(lo).minimum(hi)

    def pulled_back(self, grad: Tensor) -> Tensor:
        """The gradient in ``u`` of what has the gradient ``grad`` (S, ...) in the clean inputs."""
        return grad

    def keep_in_box(self, x: Tensor) -> Tensor:
        """Inputs ``x`` (S, ...), not their ``u``, clipped to the values allowed."""
        return torch.clamp(x, *self.edges)

    def in_box(self, x: Tensor) -> Tensor:
        """Whether inputs lie in the box, ``(S,)`` bool."""
        return ((x >= self.edges[0]) & (x <= self.edges[1])).flatten(1).all(1)

    def violation(self, u: Tensor) -> Tensor:
        """By how much ``u`` exceeds the threat's size, or any feature the box: the larger one."""
        over = (u - self.clip(u)).abs().flatten(1).double()
        widest = torch.cat((over, over.new_zeros(len(u), 1)), 1).amax(1)
        return torch.maximum(super().violation(u), widest)

    def full_size(self, noise: Tensor) -> Tensor:
        """Random changes scaled to the size of the threat.

        Args:
            noise: changes of about 1 a feature, ``(S, ...)``.
        """
        return noise * per_example(self.eps, noise)

    def budget_used(self, delta: Tensor, key: Tensor) -> Tensor:
        """Share of the size that is used up when features change one after the other.

        Args:
            delta: the change of each feature, ``(S, ...)``.
            key: numbers whose order is that of the features, ``(S, ...)``.

        Returns:
            For each feature the share used up to and with it, ``(S, ...)`` float64: above 1 it no
            longer fits. Where all features fit (linf), the share of features.
        """
        cost = torch.ones_like(delta.flatten(1), dtype=torch.float64)
        return running_share(cost, torch.full_like(self.radius, cost.shape[1]), key).view_as(delta)


class Patchable(Region):
    """A region that can repaint windows of an image at random (Square)."""

    wanted = "a threat with windows to repaint (a ball, a shared one, a rotation)"

    @abstractmethod
    def random_coarse(self, draws: Draws, draw: int | Tensor) -> Tensor:
        """A random ``u`` of the threat's full size, coarse in space where there is such a one."""

    @abstractmethod
    def repaint_window(self, u: Tensor, windows: Windows, draws: Draws, draw: Tensor) -> Tensor:
        """``u`` repainted at random inside a window; not projected.

        Args:
            u: the points to repaint.
            windows: a new window and an old one: geometries with a budget take from the old what
                they spend in the new.
            draws: the random numbers.
            draw: which of them, ``(S,)``.
        """


class Enumerable(Region):
    """A region with finitely many points, or with a grid over it, numbered from 0."""

    wanted = "a threat that can be enumerated (a warp or a finite set)"
    remedy = "choose RandomSearch, a gradient attack, or another threat"

    @abstractmethod
    def count(self, resolution: Sequence[int]) -> int:
        """How many points there are; ``resolution`` says how fine, where there is a choice."""

    @abstractmethod
    def candidate(self, index: Tensor, resolution: Sequence[int]) -> Tensor:
        """The ``u`` (S, K, ...) of points ``index`` (S, K) int64, each in 0..count - 1."""


class Mixed(Region):
    """A region whose points are reached in two steps, of which one can be moved alone."""

    wanted = "a mixture of two threats (affine)"

    beta: Tensor
    """Share of the first step, ``(S,)`` float64 in [0, 1]; the second has the rest."""

    @property
    @abstractmethod
    def both_move(self) -> bool:
        """Whether the first step moves the input itself, as the second does."""

    @property
    @abstractmethod
    def features(self) -> int:
        """Of one input."""

    @abstractmethod
    def ascent_of(
        self, second: Tensor, u: Tensor, grad: Tensor, step: Tensor | float,
        share: Tensor | None = None,
    ) -> Tensor:  # fmt: skip
        """``u`` with one of the two steps moved along its steepest ascent, the other kept.

        Args:
            second: whether the second is moved, else the first, ``(S,)`` bool.
            u: where to start.
            grad: gradient of the loss there.
            step: length, as a share of the budget of the step that is moved.
            share: of coordinates, for sparse geometries, taken as it is.
        """


@dataclass
class CompoundRegion(Region):
    """A region made of those of several threats, in relative units, so that the radius is 1."""

    wanted = "several threats side by side (Each)"

    regions: tuple[Region, ...] = field(repr=False)
    sizes: Tensor = field(repr=False)
    """Radii of the parts as they were named, ``(S, K)`` float64: the units of their steps."""

    @property
    def parts(self) -> tuple[Region, ...]:
        return self.regions

    def take(self, index: Tensor) -> Self:
        return replace(super().take(index), regions=tuple(r.take(index) for r in self.regions))

    def join(self, other: Self) -> Self:
        pairs = zip(self.regions, other.regions, strict=True)
        return replace(super().join(other), regions=tuple(one.join(two) for one, two in pairs))

    def scaled(self, factor: Tensor) -> Self:
        regions = tuple(region.scaled(factor) for region in self.regions)
        return replace(self, radius=self.radius * factor, regions=regions)

    def with_step_shares(self, shares: Sequence[float]) -> Self:
        """The same region, where a step of one part is that share as long, K numbers."""
        return replace(self, sizes=self.sizes * self.sizes.new_tensor(shares))


def running_share(cost: Tensor, budget: Tensor, key: Tensor) -> Tensor:
    """Running sums of costs, in the order of the keys, as shares of a budget.

    Args:
        cost: of each feature, ``(S, d)`` float64.
        budget: of each example, ``(S,)``.
        key: numbers whose order is that of the sums, ``(S, ...)``.
    """
    order = key.flatten(1).argsort(dim=1)
    spent = cost.gather(1, order).cumsum(1) / budget.clamp_min(TINY).unsqueeze(1)
    return torch.zeros_like(spent).scatter(1, order, spent)


def as_floats(x0: Tensor) -> Tensor:
    """Clean inputs as a region holds them: off the graph, in float32 or float64."""
    x0 = x0.detach()
    return x0 if x0.dtype in (torch.float32, torch.float64) else x0.float()


def filled(x0: Tensor, radius: float) -> Tensor:
    """The same radius for each of the inputs ``x0`` (S, ...), ``(S,)`` float64."""
    return torch.full((len(x0),), radius, dtype=torch.float64, device=x0.device)
