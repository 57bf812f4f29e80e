"""Transforms made of others: one after the other, or only sometimes."""

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

    The transform, which may be any callable, sees all images, and draws for all of them.

    Raises:
        InputError: if p is outside [0, 1], or the transform is no callable or changes the shape.
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
    """The transforms, or callables, one after the other, the first one first; ``flh+rot:30``.

    A composition inside is taken apart: its parts come in its place.

    Raises:
        InputError: for less than two, and for what is no callable.
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
