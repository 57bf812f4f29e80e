"""The base class of transforms, and how any callable is used as one."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from math import isfinite
from numbers import Real
from typing import ClassVar

import torch
from torch import Tensor

from hauberk.errors import InputError
from hauberk.maths.rng import Draws

Function = Callable[..., Tensor]
"""A user's transform: (B, C, H, W) to the same shape, differentiable."""


@dataclass(frozen=True)
class Transform(ABC):
    """A differentiable map of images (B, C, H, W), to the same shape and dtype.

    Called with ``draws``, a random transform draws separate numbers for each image; they depend on
    the image's stream and on ``draw`` (an int, or ``(B,)`` int64), not on the rest of the batch.
    Without ``draws``, torch's global generator is used. Two transforms given the same draws use the
    same numbers: pass ``draws.split(i)`` to the i-th of several that must be independent.

    Source: Wang et al. 2021 ("Adversarial attack generation empowered by min-max optimization"),
    supplementary D.3.

    Raises:
        InputError: for inputs that are not a floating-point tensor of such images.

    Example:
        >>> import torch
        >>> from hauberk.transforms import Transform
        >>> class Negative(Transform):
        ...     def apply(self, x, draws, draw):
        ...         return 1 - x
        ...     def __str__(self):
        ...         return "negative"
        >>> Negative()(torch.zeros(1, 1, 2, 2)).sum()
        tensor(4.)
    """

    shape_matters: ClassVar[bool] = True
    """False if inputs (B, ...) of any shape are accepted."""
    least_side: ClassVar[int] = 1
    """Fewest pixels of height and of width."""

    @property
    def random(self) -> bool:
        """Whether it draws random numbers."""
        return False

    def __call__(self, x: Tensor, draws: Draws | None = None, draw: int | Tensor = 0) -> Tensor:
        """The transformed images, ``(B, C, H, W)``."""
        if not isinstance(x, Tensor) or not x.is_floating_point():
            kind = x.dtype if isinstance(x, Tensor) else type(x).__name__
            raise InputError(f"{self} needs a tensor of floating numbers, not {kind}: convert it")
        misshapen = x.dim() != 4 or min(x.shape[2:]) < self.least_side
        if x.dim() == 0 or (self.shape_matters and misshapen):
            side = self.least_side
            size = f" of at least {side} x {side} pixels" if side > 1 else ""
            raise InputError(
                f"{self} takes images (B, C, H, W){size}, but the inputs have shape "
                f"{tuple(x.shape)}: reshape them, or leave this transform out"
            )
        if draws is not None and len(draws.key) != len(x):
            raise InputError(
                f"{self} was given draws for {len(draws.key)} images and {len(x)} images: "
                "give one stream for each image"
            )
        return self.apply(x, draws, draw)

    @abstractmethod
    def apply(self, x: Tensor, draws: Draws | None, draw: int | Tensor) -> Tensor:
        """The transformed images, from inputs that have been checked."""

    @abstractmethod
    def __str__(self) -> str:
        """Its notation, e.g. ``rot:30``; :func:`hauberk.transforms.transform` reads it back."""


def apply(
    function: Function, x: Tensor, draws: Draws | None = None, draw: int | Tensor = 0
) -> Tensor:
    """``function(x)``, or ``function(x, draws, draw)`` if it is a transform or random.

    Args:
        function: a :class:`Transform` or any callable; it counts as random if it has an attribute
            ``random`` that is True.
        x: images (B, C, H, W).
        draws: the random streams of the images; None for torch's global generator.
        draw: number of the draw, an int or ``(B,)`` int64.

    Example:
        >>> import torch
        >>> apply(torch.neg, torch.ones(1, 1, 1, 2))
        tensor([[[[-1., -1.]]]])
    """
    if isinstance(function, Transform) or is_random(function):
        return function(x, draws, draw)
    return function(x)


def is_random(function: Function) -> bool:
    """Whether a function declares that it draws random numbers, and so takes ``draws``.

    Example:
        >>> from hauberk.transforms import RandomRotate
        >>> is_random(RandomRotate(10)), is_random(abs)
        (True, False)
    """
    return getattr(function, "random", False) is True


def named(function: object) -> str:
    """The notation of a transform, or the name of another callable.

    Example:
        >>> from hauberk.transforms import Rotate
        >>> named(Rotate(30)), named(abs)
        ('rot:30', 'abs')
    """
    if isinstance(function, Transform):
        return str(function)
    return str(getattr(function, "__qualname__", type(function).__name__))


def uniform(
    x: Tensor, draws: Draws | None, draw: int | Tensor, low: float = 0.0, high: float = 1.0
) -> Tensor:
    """One number from [low, high] for each image of ``x`` (B, ...), as ``(B,)`` float64.

    Args:
        x: images.
        draws: the random streams of the images; None for torch's global generator.
        draw: number of the draw, an int or ``(B,)`` int64.
        low: lower end.
        high: upper end.
    """
    if draws is None:
        share = torch.rand(len(x), dtype=torch.float64, device=x.device)
    else:
        share = draws.uniform(draw, (), torch.float64).to(x.device)
    return share.mul_(high - low).add_(low).clamp_(low, high)


def check_number(what: str, value: object, low: float, high: float, hint: str) -> None:
    """`InputError` unless ``value`` is a finite number in [low, high]."""
    if not isinstance(value, Real) or not low <= float(value) <= high or not isfinite(value):
        raise InputError(f"{what} is {value!r}: give {hint}")


def check_function(what: str, value: object) -> None:
    """`InputError` unless ``value`` can be called on images."""
    if isinstance(value, type) or not callable(value):
        name = value.__name__ if isinstance(value, type) else repr(value)
        kind = "a class" if isinstance(value, type) else "no function"
        raise InputError(
            f"{what} {name} is {kind}: give a function from images (B, C, H, W) to images, or "
            "hauberk.transforms.transform('flh')"
        )


def text(value: float) -> str:
    """A number as the notation writes it: as short as possible, without ``+``, which composes."""
    return repr(float(value)).removesuffix(".0").replace("e+", "e")
