"""Transforms of single values: identity, flips, brightness, gamma."""

from dataclasses import dataclass
from math import inf
from typing import ClassVar

from torch import Tensor

from hauberk.errors import InputError
from hauberk.maths.rng import Draws
from hauberk.transforms.base import Transform, check_number, text

_DARKEST = 1 / 255


@dataclass(frozen=True)
class Identity(Transform):
    """The inputs themselves, (B, ...) of any shape; ``ori``.

    Example:
        >>> import torch
        >>> from hauberk.transforms import Identity
        >>> Identity()(torch.ones(1, 2))
        tensor([[1., 1.]])
    """

    shape_matters: ClassVar[bool] = False

    def apply(self, x: Tensor, draws: Draws | None, draw: int | Tensor) -> Tensor:
        return x

    def __str__(self) -> str:
        return "ori"


@dataclass(frozen=True)
class FlipH(Transform):
    """Horizontal flip, images (B, C, H, W); ``flh``.

    Example:
        >>> import torch
        >>> from hauberk.transforms import FlipH
        >>> FlipH()(torch.tensor([[[[1.0, 2.0]]]]))
        tensor([[[[2., 1.]]]])
    """

    def apply(self, x: Tensor, draws: Draws | None, draw: int | Tensor) -> Tensor:
        return x.flip(3)

    def __str__(self) -> str:
        return "flh"


@dataclass(frozen=True)
class FlipV(Transform):
    """Vertical flip, images (B, C, H, W); ``flv``.

    Example:
        >>> import torch
        >>> from hauberk.transforms import FlipV
        >>> FlipV()(torch.tensor([[[[1.0], [2.0]]]])).flatten()
        tensor([2., 1.])
    """

    def apply(self, x: Tensor, draws: Draws | None, draw: int | Tensor) -> Tensor:
        return x.flip(2)

    def __str__(self) -> str:
        return "flv"


@dataclass(frozen=True)
class Brightness(Transform):
    """``x + shift``, inputs (B, ...) of any shape; ``bri:0.1``.

    Args:
        shift: added to every value.
        clip: clip to [0, 1] (``bri:0.1,clip``), which makes the gradient of clipped values 0; by
            default values may leave [0, 1], as in tf.image.

    Raises:
        InputError: if the shift is not finite.

    Example:
        >>> import torch
        >>> from hauberk.transforms import Brightness
        >>> Brightness(0.25)(torch.ones(1, 1)), Brightness(0.25, clip=True)(torch.ones(1, 1))
        (tensor([[1.2500]]), tensor([[1.]]))
    """

    shift: float = 0.1
    clip: bool = False

    shape_matters: ClassVar[bool] = False

    def __post_init__(self) -> None:
        check_number("the shift of brightness", self.shift, -inf, inf, "a finite number")
        if not isinstance(self.clip, bool):
            raise InputError(f"clip is {self.clip!r}: give True or False")

    def apply(self, x: Tensor, draws: Draws | None, draw: int | Tensor) -> Tensor:
        moved = x + self.shift
        return moved.clamp(0, 1) if self.clip else moved

    def __str__(self) -> str:
        return f"bri:{text(self.shift)}{',clip' if self.clip else ''}"


@dataclass(frozen=True)
class Gamma(Transform):
    """``x ** gamma`` for values of [0, 1], inputs (B, ...) of any shape; ``gam:1.3``.

    Negative values count as 0. Below 1/255 the gradient is that at 1/255: at 0 the true gradient is
    0 or infinite, so that black pixels would never change or dominate all others.

    Args:
        gamma: the exponent, above 0.

    Raises:
        InputError: if gamma is not positive and finite.

    Example:
        >>> import torch
        >>> from hauberk.transforms import Gamma
        >>> Gamma(2)(torch.tensor([[0.5, 1.0]]))
        tensor([[0.2500, 1.0000]])
    """

    gamma: float = 1.3

    shape_matters: ClassVar[bool] = False

    def __post_init__(self) -> None:
        check_number("gamma", self.gamma, 0, inf, "a positive number")
        if not self.gamma > 0:
            raise InputError(f"gamma is {self.gamma!r}: give a positive number")

    def apply(self, x: Tensor, draws: Draws | None, draw: int | Tensor) -> Tensor:
        fixed = x.detach()
        slope = fixed.clamp(min=_DARKEST).pow_(self.gamma - 1).mul_(self.gamma)
        return fixed.clamp(min=0).pow(self.gamma) + slope * (x - fixed)

    def __str__(self) -> str:
        return f"gam:{text(self.gamma)}"
