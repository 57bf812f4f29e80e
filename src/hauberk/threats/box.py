"""The valid input range, and roundings that never leave it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from hauberk.errors import InputError


@dataclass(frozen=True, eq=False)
class Box:
    """The valid input range: a lowest and a highest value of each feature.

    Args:
        lo, hi: numbers, or tensors that broadcast to one example's shape.

    Raises:
        InputError: if ``lo`` exceeds ``hi`` somewhere or either holds NaN.

    Example:
        >>> str(Box(0, 255)), str(Box.of((-1.0, 1.0)))
        ('[0, 255]', '[-1, 1]')
        >>> Box(0.0, 0.1).bounds(torch.zeros(1))[1].double() <= 0.1  # never wider when rounded
        tensor(True)
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


def narrowed(x: Tensor, x0: Tensor, dtype: torch.dtype) -> Tensor:
    """``x`` in a dtype that can hold ``x0``; where it must be rounded, towards ``x0``."""
    cast = x.to(dtype)
    away = (cast.double() - x0.double()).abs() > (x.double() - x0.double()).abs()
    return torch.where(away, cast.nextafter(x0.to(dtype)), cast)
