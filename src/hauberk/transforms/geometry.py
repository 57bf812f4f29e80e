"""Central crops and rotations: images resampled under an affine map.

There is one affine map per image, about the image's centre, so a batch needs no loop. Pixels are
squares: an image extends from the outer edge of its first pixel to that of its last
(``align_corners=False`` in torch). Values between pixel centres are interpolated bilinearly.
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
    """The central crop, resized to the whole image (B, C, H, W); ``crop:0.8``.

    The crop need not end between two pixels (tf.image rounds to whole ones). Resizing is bilinear
    without antialiasing; at the border of the crop it reads the pixels beyond it.

    Args:
        size: share of the height and of the width that is kept, in (0, 1].

    Raises:
        InputError: unless 0 < size <= 1, and for images with a side of one pixel.

    Example:
        >>> import torch
        >>> from hauberk.transforms import CropResize
        >>> CropResize(0.5)(torch.arange(16.0).view(1, 1, 4, 4))[0, 0, 0]
        tensor([3.7500, 4.2500, 4.7500, 5.2500])
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
    """:class:`CropResize` with a size drawn uniformly for each image; ``crop:0.6..1``.

    Args:
        low: smallest size.
        high: largest size.

    Raises:
        InputError: unless 0 < low <= high <= 1, and for images with a side of one pixel.

    Example:
        >>> import torch
        >>> from hauberk.transforms import RandomCropResize
        >>> RandomCropResize(0.6, 1)(torch.rand(2, 3, 8, 8)).shape
        torch.Size([2, 3, 8, 8])
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
    """Clockwise rotation about the centre, images (B, C, H, W) of the same size; ``rot:30``.

    Bilinear; 0 outside of the image. (:class:`hauberk.RotationTranslation` rotates anticlockwise.)

    Args:
        degrees: the angle.

    Raises:
        InputError: if the angle is not finite, and for images with a side of one pixel.

    Example:
        >>> import torch
        >>> from hauberk.transforms import Rotate
        >>> Rotate(90)(torch.tensor([[[[1.0, 2.0], [3.0, 4.0]]]])).round()
        tensor([[[[3., 1.],
                  [4., 2.]]]])
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
    """:class:`Rotate` by an angle drawn uniformly for each image; ``rot:-10..10``.

    Args:
        low: smallest angle in degrees; given alone, the range is -low to low.
        high: largest angle in degrees.

    Raises:
        InputError: if an angle is not finite or low > high, and for images with a side of one
            pixel.

    Example:
        >>> from hauberk.transforms import RandomRotate
        >>> str(RandomRotate(10)), str(RandomRotate(0, 30))
        ('rot:-10..10', 'rot:0..30')
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
    # Only rounding can put a point outside: it reads the border then, not 0.
    return _read(x, size, zero, zero, size, outside="border")


def _rotate(x: Tensor, degrees: Tensor) -> Tensor:
    """Clockwise turns by the angles ``(B,)``, or ``(1,)`` for all."""
    angle = degrees * radians(1)
    cos, sin = angle.cos(), angle.sin()
    # Each pixel reads at its inverse rotation; y points down.
    return _read(x, cos, sin, -sin, cos, outside="zeros")


def _read(
    x: Tensor, xx: Tensor, xy: Tensor, yx: Tensor, yy: Tensor, outside: Literal["border", "zeros"]
) -> Tensor:
    """Images resampled at ``(xx u + xy v, yx u + yy v)``, pixels right and down of the centre.

    The four coefficients are ``(B,)`` or ``(1,)``, float64.
    """
    if not len(x):
        return x
    height, width = x.shape[2:]
    u = torch.arange(width, dtype=xx.dtype, device=x.device) - (width - 1) / 2
    v = (torch.arange(height, dtype=xx.dtype, device=x.device) - (height - 1) / 2).unsqueeze(1)
    xx, xy, yx, yy = (c.view(-1, 1, 1) for c in (xx, xy, yx, yy))
    # In torch's units the image extends from -1 to 1.
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
