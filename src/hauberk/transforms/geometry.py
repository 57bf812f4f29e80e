"""Transforms that read each image at other places: central crops and rotations.

All places come from one affine map per image about the image's middle, so that a batch needs no
loop. Pixels are squares: an image reaches from the outer edge of its first pixel to that of its
last (``align_corners=False`` in torch). Values between pixel centres are bilinear.
"""

from dataclasses import dataclass
from math import inf, radians
from typing import ClassVar, Literal

import torch
from torch import Tensor
from torch.nn.functional import grid_sample

from hauberk.errors import InputError
from hauberk.maths.rng import Draws
from hauberk.transforms.base import Transform, check_number, text, uniform


@dataclass(frozen=True)
class CropResize(Transform):
    """The central ``size`` x ``size`` share, enlarged to the whole; ``crop:0.8``.

    Images (B, C, H, W). The crop keeps that share of the height and of the width, from edge to
    edge, and need not end between two pixels (tf.image rounds to whole ones). Resizing is bilinear
    without antialiasing; next to the border of the crop it reads the pixels beyond it.

    Raises:
        InputError: unless 0 < size <= 1, and for images with a side of one pixel.
    """

    size: float = 0.8

    least_side: ClassVar[int] = 2

    def __post_init__(self) -> None:
        _check_size("the size of a crop", self.size)

    def apply(self, x: Tensor, draws: Draws | None, draw: int | Tensor) -> Tensor:
        return x if self.size == 1 else _crop(x, _one(self.size, x))

    def __str__(self) -> str:
        return f"crop:{text(self.size)}"


@dataclass(frozen=True)
class RandomCropResize(Transform):
    """:class:`CropResize` of a size from [low, high], uniform, for each image; ``crop:0.6..1``.

    Raises:
        InputError: unless 0 < low <= high <= 1, and for images with a side of one pixel.
    """

    low: float = 0.6
    high: float = 1.0

    least_side: ClassVar[int] = 2

    def __post_init__(self) -> None:
        _check_size("the smallest size of a crop", self.low)
        _check_size("the largest size of a crop", self.high)
        _check_order("crop sizes", self.low, self.high)

    @property
    def random(self) -> bool:
        return True

    def apply(self, x: Tensor, draws: Draws | None, draw: int | Tensor) -> Tensor:
        return _crop(x, uniform(x, draws, draw, self.low, self.high))

    def __str__(self) -> str:
        return f"crop:{text(self.low)}..{text(self.high)}"


@dataclass(frozen=True)
class Rotate(Transform):
    """Turned clockwise by ``degrees`` about the middle; ``rot:30``.

    Images (B, C, H, W), the size stays. Bilinear; from outside of the image comes 0. (Angles of
    :class:`hauberk.RotationTranslation` turn the other way.)

    Raises:
        InputError: if the angle is not finite, and for images with a side of one pixel.
    """

    degrees: float = 30.0

    least_side: ClassVar[int] = 2

    def __post_init__(self) -> None:
        _check_angle(self.degrees)

    def apply(self, x: Tensor, draws: Draws | None, draw: int | Tensor) -> Tensor:
        return x if self.degrees == 0 else _rotate(x, _one(self.degrees, x))

    def __str__(self) -> str:
        return f"rot:{text(self.degrees)}"


@dataclass(frozen=True)
class RandomRotate(Transform):
    """:class:`Rotate` by an angle from [low, high] degrees, uniform, for each image.

    ``RandomRotate(10)`` is ``rot:-10..10``.

    Raises:
        InputError: if an angle is not finite or low > high, and for images with a side of one
            pixel.
    """

    low: float = 10.0
    high: float | None = None

    least_side: ClassVar[int] = 2

    def __post_init__(self) -> None:
        _check_angle(self.low)
        if self.high is None:
            object.__setattr__(self, "high", abs(self.low))
            object.__setattr__(self, "low", -abs(self.low))
        _check_angle(self.high)
        _check_order("angles", *self._ends)

    @property
    def _ends(self) -> tuple[float, float]:
        assert self.high is not None
        return self.low, self.high

    @property
    def random(self) -> bool:
        return True

    def apply(self, x: Tensor, draws: Draws | None, draw: int | Tensor) -> Tensor:
        return _rotate(x, uniform(x, draws, draw, *self._ends))

    def __str__(self) -> str:
        low, high = self._ends
        return f"rot:{text(low)}..{text(high)}"


def _crop(x: Tensor, size: Tensor) -> Tensor:
    """Crops of the sizes ``(B,)``, or ``(1,)`` for all."""
    zero = torch.zeros_like(size)
    # No place lies outside, but rounding could push one there: the border, not 0, comes from it.
    return _read(x, size, zero, zero, size, outside="border")


def _rotate(x: Tensor, degrees: Tensor) -> Tensor:
    """Clockwise turns by the angles ``(B,)``, or ``(1,)`` for all."""
    angle = degrees * radians(1)
    cos, sin = angle.cos(), angle.sin()
    # Each pixel reads where the turn back leads; y points down.
    return _read(x, cos, sin, -sin, cos, outside="zeros")


def _read(
    x: Tensor, xx: Tensor, xy: Tensor, yx: Tensor, yy: Tensor, outside: Literal["border", "zeros"]
) -> Tensor:
    """Images that read at ``(xx u + xy v, yx u + yy v)``, in pixels right and down of the middle.

    The four coefficients are ``(B,)`` or ``(1,)``, float64.
    """
    if not len(x):
        return x
    height, width = x.shape[2:]
    u = torch.arange(width, dtype=xx.dtype, device=x.device) - (width - 1) / 2
    v = (torch.arange(height, dtype=xx.dtype, device=x.device) - (height - 1) / 2).unsqueeze(1)
    xx, xy, yx, yy = (c.view(-1, 1, 1) for c in (xx, xy, yx, yy))
    # In torch's units the image reaches from -1 to 1.
    places = torch.stack(((xx * u + xy * v) * (2 / width), (yx * u + yy * v) * (2 / height)), 3)
    wide = x if x.dtype in (torch.float32, torch.float64) else x.float()
    places = places.to(wide.dtype).expand(len(x), -1, -1, -1)
    found = grid_sample(wide, places, mode="bilinear", padding_mode=outside, align_corners=False)
    return found.to(x.dtype)


def _one(value: float, x: Tensor) -> Tensor:
    return torch.full((1,), float(value), dtype=torch.float64, device=x.device)


def _check_size(what: str, size: float) -> None:
    hint = "a share of the side, more than 0 and at most 1"
    check_number(what, size, 0, 1, hint)
    if size == 0:
        raise InputError(f"{what} is 0: give {hint}")


def _check_angle(degrees: float | None) -> None:
    check_number("an angle", degrees, -inf, inf, "a finite number of degrees")


def _check_order(what: str, low: float, high: float) -> None:
    if low > high:
        raise InputError(f"{what} from {low:g} to {high:g}: give the smaller one first")
