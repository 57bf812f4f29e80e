"""The valid input range, and roundings that never leave a ball."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from hauberk.errors import InputError
from hauberk.spec.numbers import number

ROUNDING = 8 * torch.finfo(torch.float32).eps
"""By how much of its largest bound rounding alone may put an input outside the box."""


@dataclass(frozen=True, eq=False)
class Box:
    """The valid input range: a lowest and a highest value of each feature.

    Args:
        lo, hi: numbers, or tensors: one value a channel ``(C,)`` of images ``(B, C, H, W)``, one a
            feature ``(D,)`` of rows ``(B, D)``, or whatever broadcasts to one example's shape.
            :meth:`of` also reads text, such as ``"1/3"``, ``"-1,-1,0"`` or ``"FILE.npy"``.

    Raises:
        InputError: if ``lo`` exceeds ``hi`` somewhere or either holds NaN.

    Example:
        >>> str(Box(0, 255)), str(Box.of((-1.0, 1.0)))
        ('[0, 255]', '[-1, 1]')
        >>> box = Box.of(([0.0, 0.0, -1.0], 1.0))  # the third channel reaches down to -1
        >>> box.bounds(torch.zeros(2, 3, 8, 8))[0].shape
        torch.Size([3, 1, 1])
    """

    lo: float | Tensor = 0.0
    hi: float | Tensor = 1.0

    def __post_init__(self) -> None:
        lo, hi = torch.as_tensor(self.lo), torch.as_tensor(self.hi)
        try:
            fits = bool(torch.all(lo <= hi))
        except RuntimeError:
            raise InputError(
                f"the box has bounds of shapes {tuple(lo.shape)} and {tuple(hi.shape)}: give two "
                "numbers, or as many values to either"
            ) from None
        if not fits:
            raise InputError(
                f"the box [{self.lo}, {self.hi}] is empty: give box=(lo, hi), lo <= hi"
            )

    @classmethod
    def of(cls, box: "Box | Sequence[Any]") -> "Box":
        """A Box as it is, or from a pair ``(lo, hi)`` of numbers, lists, arrays or tensors.

        Raises:
            InputError: for anything else.
        """
        if isinstance(box, Box):
            return box
        try:
            lo, hi = box
        except (TypeError, ValueError):
            raise InputError(f"the box is {box}: give box=(lo, hi), two bounds") from None
        return cls(_bound(lo), _bound(hi))

    @property
    def is_unit(self) -> bool:
        """Whether it is [0, 1] for every feature."""
        return bool(torch.as_tensor(self.lo).eq(0).all() and torch.as_tensor(self.hi).eq(1).all())

    @property
    def has_ends(self) -> bool:
        """Whether all bounds are finite."""
        return all(bool(torch.as_tensor(end).isfinite().all()) for end in (self.lo, self.hi))

    def bounds(self, like: Tensor) -> tuple[Tensor, Tensor]:
        """``lo`` and ``hi`` in dtype and device of ``like`` (B, ...), which they broadcast to.

        A bound that the dtype has not is the nearest number that it has: 0.1 of a box is the 0.1
        of the inputs. In half precision it is the nearest inside.

        Raises:
            InputError: for bounds of another shape than one example's.
        """
        lo, hi = self._edge(self.lo, like), self._edge(self.hi, like)
        if like.dtype in (torch.float32, torch.float64):
            return lo.to(like.dtype), hi.to(like.dtype)
        return round_up(lo, like), -round_up(-hi, like)

    def _edge(self, value: float | Tensor, like: Tensor) -> Tensor:
        exact = torch.as_tensor(value, dtype=torch.float64, device=like.device)
        return fitted(exact, like.shape)

    def near(self, x: Tensor) -> Tensor:
        """Inputs, where those that only rounding has put outside the box are clipped to it.

        Args:
            x: floats ``(B, ...)``. Arithmetic such as ``(image - mean) / std`` leaves bounds that
                were computed otherwise by a few units in the last place: up to :data:`ROUNDING` of
                the larger bound, or as much of the inputs' own dtype.
        """
        lo, hi = self.bounds(x)
        if not x.numel() or bool(((x >= lo) & (x <= hi)).all()):
            return x
        share = max(ROUNDING, 4 * torch.finfo(x.dtype).eps)
        size = torch.maximum(*(edge.double().abs().nan_to_num(posinf=0.0) for edge in (lo, hi)))
        inside = x.maximum(lo).minimum(hi)
        slight = (x.double() - inside.double()).abs() <= share * size
        return torch.where(slight, inside, x)

    def spread(self, unit: Tensor) -> Tensor:
        """Values in [0, 1] spread over the box, so that 0 is ``lo`` and 1 is ``hi``.

        Args:
            unit: floats ``(B, ...)``.

        Raises:
            InputError: for a box without ends.

        Example:
            >>> Box(-1, 1).spread(torch.tensor([[0.0, 0.25, 1.0]]))
            tensor([[-1.0000, -0.5000,  1.0000]])
        """
        if self.is_unit:
            return unit
        lo, hi = self.bounds(unit.new_zeros((), dtype=torch.float64).expand(unit.shape))
        if not bool((lo.isfinite() & hi.isfinite()).all()):
            raise InputError(
                f"the box {self} has no end, so 8-bit values have no place in it: give its ends"
            )
        return (lo + (hi - lo) * unit).to(unit.dtype).clamp(*self.bounds(unit))

    def __str__(self) -> str:
        def text(v: float | Tensor) -> str:
            if not isinstance(v, Tensor):
                return f"{v:g}"
            least, most = float(v.min()), float(v.max())
            return f"{least:g}" if least == most else f"{least:g}..{most:g}"

        return f"[{text(self.lo)}, {text(self.hi)}]"


def fitted(values: Tensor, shape: Sequence[int]) -> Tensor:
    """One value a channel or a feature, in a shape that broadcasts to examples.

    Args:
        values: one number, ``(C,)``, ``(D,)`` or what broadcasts to one example, or to all of
            them ``(B, ...)``.
        shape: of the examples, ``(B, C, ...)`` or ``(B, D)``; of groups, ``(G, M, C, ...)``.

    Raises:
        InputError: for another shape.

    Example:
        >>> fitted(torch.ones(3), (8, 3, 32, 32)).shape, fitted(torch.ones(5), (8, 5)).shape
        (torch.Size([3, 1, 1]), torch.Size([5]))
    """
    one = tuple(shape[1:])
    if values.dim() == len(one) + 1 and values.shape[0] == 1:
        values = values[0]
    if values.dim() == 0 or not one:
        return values
    if values.dim() == 1:
        # Before the width: images of as many pixels a row as they have channels.
        for channels in (one, one[1:]) if len(one) == 4 else (one,):
            if len(channels) > 1 and len(values) == channels[0]:
                return values.view(-1, *[1] * (len(channels) - 1))
    if not any(_broadcasts(values.shape, wanted) for wanted in (one, tuple(shape))):
        raise InputError(
            f"bounds of shape {tuple(values.shape)} for inputs of shape {one}: give one number, "
            f"{one[0]} for as many {'channels' if len(one) > 1 else 'features'}, or the whole shape"
        )
    return values


def _broadcasts(shape: Sequence[int], wanted: tuple[int, ...]) -> bool:
    try:
        return tuple(torch.broadcast_shapes(tuple(shape), wanted)) == wanted
    except RuntimeError:
        return False


def _bound(value: Any) -> float | Tensor:
    if isinstance(value, Tensor):
        return value
    if isinstance(value, str):
        return _read(value)
    try:
        return float(value) if not hasattr(value, "__len__") else _values(value)
    except (TypeError, ValueError, RuntimeError):
        raise InputError(f"the box's bound {value} is no number, list or tensor") from None


def _read(text: str) -> float | Tensor:
    """The bound that a text stands for: a number, numbers with commas between, or a file."""
    if text.endswith(".npy"):
        try:
            return torch.from_numpy(np.load(Path(text).expanduser(), allow_pickle=False)).double()
        except (OSError, TypeError, ValueError) as error:
            raise InputError(f"the box's bound {text} cannot be read: {error}") from error
    parts = text.strip("[]").split(",")
    found = [value for part in parts if (value := number(part)) is not None]
    if len(found) < len(parts):
        raise InputError(
            f"the box's bound '{text}' is no number: give e.g. 0.5 or 1/3, or one a channel or "
            "feature, -1,-1,0, or FILE.npy"
        )
    return found[0] if len(found) == 1 else torch.tensor(found, dtype=torch.float64)


def _values(value: Any) -> Tensor:
    plain = not hasattr(value, "dtype")  # exact numbers keep their digits
    return torch.as_tensor(value, dtype=torch.float64 if plain else None)


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
