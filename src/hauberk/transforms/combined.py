"""Transforms made of others: in sequence, or applied with some probability."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from hauberk.errors import InputError
from hauberk.maths.rng import Draws
from hauberk.maths.steps import per_example
from hauberk.transforms.base import (
    Function,
    Transform,
    apply,
    check_function,
    check_number,
    is_random,
    named,
    text,
    uniform,
)


@dataclass(frozen=True)
class Sometimes(Transform):
    """``transform`` with probability ``p``, for each image (B, ...); ``sometimes(flh,0.8)``.

    The transform is applied to all images, and draws for all of them.

    Args:
        transform: a transform or any callable that keeps the shape.
        p: probability, in [0, 1].

    Raises:
        InputError: if p is outside [0, 1], or the transform is no callable or changes the shape.

    Example:
        >>> import torch
        >>> from hauberk.transforms import FlipH, Sometimes
        >>> x = torch.rand(4, 1, 8, 8)
        >>> torch.equal(Sometimes(FlipH(), 1)(x), x.flip(3)), str(Sometimes(FlipH()))
        (True, 'sometimes(flh,0.8)')
    """

    transform: Function
    p: float = 0.8

    shape_matters: ClassVar[bool] = False

    def __post_init__(self) -> None:
        check_function("the transform", self.transform)
        check_number("the probability", self.p, 0, 1, "a number from 0 to 1")

    @property
    def random(self) -> bool:
        return True

    def apply(self, x: Tensor, draws: Draws | None, draw: int | Tensor) -> Tensor:
        chosen = uniform(x, draws, draw) < self.p
        # The coin must not be the number that the transform draws.
        moved = apply(self.transform, x, None if draws is None else draws.split(1), draw)
        shape = getattr(moved, "shape", type(moved).__name__)
        if shape != x.shape:
            raise InputError(
                f"{self}: the transform turned {x.shape} into {shape}: it must return a tensor of "
                "the same shape"
            )
        return torch.where(per_example(chosen, x), moved, x)

    def __str__(self) -> str:
        return f"sometimes({named(self.transform)},{text(self.p)})"


@dataclass(frozen=True, init=False)
class Compose(Transform):
    """Transforms in sequence, the first one first; ``flh+rot:30``.

    A composition among them is replaced by its parts.

    Args:
        transforms: two or more transforms or callables.

    Raises:
        InputError: for fewer than two, and for anything that is no callable.

    Example:
        >>> from hauberk.transforms import Compose, FlipH, FlipV, Rotate
        >>> str(Compose(Compose(FlipH(), FlipV()), Rotate(30)))
        'flh+flv+rot:30'
    """

    parts: tuple[Function, ...]

    shape_matters: ClassVar[bool] = False

    def __init__(self, *transforms: Function) -> None:
        if len(transforms) < 2:
            raise InputError(f"Compose was given {len(transforms)} transforms: give two or more")
        parts: list[Function] = []
        for each in transforms:
            check_function("the transform", each)
            parts.extend(each.parts if isinstance(each, Compose) else (each,))
        object.__setattr__(self, "parts", tuple(parts))

    @property
    def random(self) -> bool:
        return any(is_random(part) for part in self.parts)

    def apply(self, x: Tensor, draws: Draws | None, draw: int | Tensor) -> Tensor:
        for i, part in enumerate(self.parts):
            x = apply(part, x, None if draws is None else draws.split(i), draw)
        return x

    def __str__(self) -> str:
        return "+".join(named(part) for part in self.parts)
