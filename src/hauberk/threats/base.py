"""What every threat is: a set of inputs around a clean one, and how to move inside it."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Self

import torch
from torch import Tensor

from hauberk.errors import InputError
from hauberk.maths.rng import Draws
from hauberk.maths.rows import Rows


@dataclass(frozen=True, eq=False)
class Box:
    """The valid input range: numbers, or tensors that broadcast to one example's shape.

    Raises:
        InputError: if ``lo`` exceeds ``hi`` somewhere or either holds NaN.
    """

    lo: float | Tensor = 0.0
    hi: float | Tensor = 1.0

    def __post_init__(self) -> None:
        if not bool(torch.all(torch.as_tensor(self.lo) <= torch.as_tensor(self.hi))):
            raise InputError(
                f"the box [{self.lo}, {self.hi}] is empty: give box=(lo, hi), lo <= hi"
            )

    @classmethod
    def of(cls, box: "Box | Sequence[Any]") -> "Box":
        """A Box as it is, or from a pair ``(lo, hi)`` of numbers, arrays or tensors."""
        if isinstance(box, Box):
            return box
        lo, hi = (v if isinstance(v, Tensor | float | int) else torch.as_tensor(v) for v in box)
        return cls(lo, hi)

    def bounds(self, like: Tensor) -> tuple[Tensor, Tensor]:
        """``lo`` and ``hi`` in the dtype and device of ``like``, never wider than the box."""
        return round_up(self.lo, like), -round_up(_negative(self.hi), like)

    def __str__(self) -> str:
        def text(v: float | Tensor) -> str:
            return f"{v:g}" if not isinstance(v, Tensor) else f"tensor{tuple(v.shape)}"

        return f"[{text(self.lo)}, {text(self.hi)}]"


def _negative(value: float | Tensor) -> float | Tensor:
    return -value


def round_up(value: float | Tensor, like: Tensor) -> Tensor:
    """``value`` in the dtype and device of ``like``, rounded towards +inf, not to the nearest."""
    exact = torch.as_tensor(value, dtype=torch.float64, device=like.device)
    near = exact.to(like.dtype)
    return torch.where(near.double() < exact, near.nextafter(near.new_tensor(torch.inf)), near)


def _narrow(x: Tensor, x0: Tensor, dtype: torch.dtype) -> Tensor:
    """``x`` in a dtype that can hold ``x0``; where it must be rounded, towards ``x0``."""
    cast = x.to(dtype)
    away = (cast.double() - x0.double()).abs() > (x.double() - x0.double()).abs()
    return torch.where(away, cast.nextafter(x0.to(dtype)), cast)


@dataclass
class Region(Rows, ABC):
    """A threat bound to a batch of clean inputs: the geometry that attacks move in.

    An attack moves a variable ``u`` (the input itself for a ball; other numbers for a warp).
    Methods whose name ends in an underscore may overwrite ``u`` and return the result.
    """

    x0: Tensor
    """Clean inputs, ``(S, ...)``, float32 or float64."""
    radius: Tensor
    """Size of the threat in its own unit, ``(S,)`` float64: step sizes are given in it."""

    @property
    def sparse(self) -> bool:
        """Whether the steepest step moves few coordinates (l1)."""
        return False

    @property
    def direct(self) -> bool:
        """Whether ``u`` is the input itself."""
        return True

    @property
    def members(self) -> int | None:
        """Inputs that one ``u`` stands for: then decode gives ``(S, M, ...)``; None for one."""
        return None

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
        """``u`` moved by ``step`` (S,) along the steepest ascent of this geometry; not projected.

        ``share`` (S,) in (0, 1]: the share of coordinates to move, for geometries (l1, l0) whose
        steepest step is sparse; others ignore it.
        """

    @abstractmethod
    def random(self, draws: Draws, draw: int | Tensor) -> Tensor:
        """A random ``u`` inside the threat."""

    def random_coarse(self, draws: Draws, draw: int | Tensor) -> Tensor:
        """A random ``u`` of the threat's full size, coarse in space; random if it knows no such."""
        return self.random(draws, draw)

    def repaint_window(
        self,
        u: Tensor,
        new: tuple[Tensor, Tensor],
        old: tuple[Tensor, Tensor],
        side: Tensor,
        draws: Draws,
        draw: Tensor,
    ) -> Tensor:
        """``u`` repainted at random inside a window; not projected.

        Args:
            new, old: rows and columns of two windows (:func:`hauberk.maths.square_windows.window`):
                geometries with a budget take from the second what they spend in the first.
            side: their side, ``(S,)``.
        """
        raise InputError(f"{type(self).__name__} knows no windows to paint: use another attack")

    @abstractmethod
    def distance(self, x: Tensor, witness: Tensor | None = None) -> Tensor:
        """Distance from ``x0`` to ``x`` in the threat's unit, ``(S,)``, in float64."""

    def measure(self, x: Tensor) -> Tensor:
        """The distance for solvers, ``(S,)`` in the dtype of ``x`` and differentiable in it."""
        raise InputError(f"{type(self).__name__} has no differentiable distance: use a metric")

    def slope(self, u: Tensor) -> tuple[Tensor, Tensor]:
        """The distance for solvers, ``(S,)``, and its gradient in ``u``; NaN becomes 0."""
        with torch.enable_grad():
            x = u.detach().requires_grad_(True)
            found = self.measure(self.decode(x))
            (grad,) = torch.autograd.grad(found.sum(), x)
        return found.detach(), grad.nan_to_num_()

    @abstractmethod
    def contains(self, x: Tensor, witness: Tensor | None = None) -> Tensor:
        """True where ``x`` lies in the threat and in the box, checked in float64 without slack."""

    @abstractmethod
    def scaled(self, factor: Tensor) -> Self:
        """The same geometry with every example's radius times ``factor`` (S,)."""

    def finalise(self, u: Tensor) -> Tensor:
        """``u`` made strictly feasible in float64; called once, when a point leaves the engine."""
        return u

    def witness(self, u: Tensor) -> Tensor | None:
        """What the judge needs beside ``x`` to check membership; None for balls."""
        return None


class Threat(ABC):
    """A set of inputs an adversary may turn a clean input into."""

    grouped = False
    """Whether it is a threat to groups of inputs: ``x0`` is (S, M, ...), labels (S, M)."""

    @property
    def variants(self) -> int:
        """Ways to bind the threat to an input, each tried by every attack (Region.at_variant)."""
        return 1

    @property
    def kind(self) -> str:
        """What suites call threats of this sort, e.g. ``linf``."""
        return str(self).partition(":")[0].partition("(")[0]

    @abstractmethod
    def at(self, x0: Tensor, box: Box = Box()) -> Region:
        """This threat around the clean inputs ``x0`` (S, ...)."""

    @abstractmethod
    def scaled(self, factor: float) -> "Threat":
        """The same kind of threat, ``factor`` times as large."""

    @abstractmethod
    def __str__(self) -> str:
        """The threat's notation, e.g. ``linf:8/255``; :func:`hauberk.threat` reads it back."""

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Threat) and str(self) == str(other)

    def __hash__(self) -> int:
        return hash(str(self))

    def __or__(self, other: "Threat") -> "Threat":
        from hauberk.threats.union import Union

        return Union(self, other)

    @property
    def parts(self) -> tuple["Threat", ...]:
        """The threats that a union is made of; the threat itself otherwise."""
        return (self,)

    def project(self, x0: Tensor, x: Tensor, box: Box | Sequence[Any] = (0.0, 1.0)) -> Tensor:
        """The nearest point to ``x`` that lies strictly inside the threat around ``x0``.

        In the wider of the two dtypes.
        """
        region = self.at(x0, Box.of(box))
        near = region.finalise(region.project_(x.to(region.x0, copy=True)))
        return _narrow(near, region.x0, torch.promote_types(x0.dtype, x.dtype))

    def distance(self, x0: Tensor, x: Tensor) -> Tensor:
        """Distance from ``x0`` to ``x`` in the threat's unit, ``(B,)``, in float64."""
        return self.at(x0, Box(-torch.inf, torch.inf)).distance(x)

    def contains(
        self,
        x0: Tensor,
        x: Tensor,
        witness: Tensor | None = None,
        box: Box | Sequence[Any] = (0.0, 1.0),
    ) -> Tensor:
        """True where ``x`` lies in the threat around ``x0`` and in the box, ``(B,)`` bool."""
        return self.at(x0, Box.of(box)).contains(x, witness)
