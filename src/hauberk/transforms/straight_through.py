"""Gradients for functions that have none: in the backward pass they are the identity."""

from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from hauberk.errors import InputError
from hauberk.maths.rng import Draws
from hauberk.transforms.base import Function, Transform, apply, check_function, is_random, named


@dataclass(frozen=True)
class StraightThrough(Transform):
    """``function`` forward, the identity backward, for inputs (B, ...); ``through(NAME)``.

    For functions without a gradient, or with one of zeros (rounding, codecs). The function gets a
    detached copy.

    Args:
        function: keeps the shape.
        name: what the notation calls it; can be read back if it is an import path,
            ``package.module:function``, or the notation of a transform.

    Source: Bengio et al. 2013 ("Estimating or propagating gradients through stochastic neurons");
    as an attack: Athalye et al. 2018 (BPDA).

    Raises:
        InputError: if it is no callable, or returns anything but a tensor of the same shape.

    Example:
        >>> import torch
        >>> from hauberk.transforms import StraightThrough
        >>> x = torch.tensor([[0.4]], requires_grad=True)
        >>> y = StraightThrough(torch.round)(x)
        >>> y.item(), torch.autograd.grad(y.sum(), x)[0].item()
        (0.0, 1.0)
    """

    function: Function
    name: str = ""

    shape_matters: ClassVar[bool] = False

    def __post_init__(self) -> None:
        check_function("the function", self.function)
        if not self.name:
            object.__setattr__(self, "name", named(self.function))

    @property
    def random(self) -> bool:
        return is_random(self.function)

    def apply(self, x: Tensor, draws: Draws | None, draw: int | Tensor) -> Tensor:
        with torch.no_grad():
            # A copy: such functions often work in place.
            found: object = apply(self.function, x.detach().clone(), draws, draw)
        if not isinstance(found, Tensor) or found.shape != x.shape:
            what = tuple(found.shape) if isinstance(found, Tensor) else type(found).__name__
            raise InputError(
                f"{self} returned {what} for shape {tuple(x.shape)}: "
                "the function must return a tensor of the same shape"
            )
        return straight_through(x, found)

    def __str__(self) -> str:
        return f"through({self.name})"


def straight_through(x: Tensor, value: Tensor) -> Tensor:
    """``value``, exactly, in the dtype of ``x``, with the gradient of ``x``; shapes (B, ...).

    Args:
        x: where the gradient goes.
        value: the result.
    """
    # The usual x + (value - x).detach() would round the value.
    passed: Tensor = _Pass.apply(x, value.detach().to(x))  # type: ignore[no-untyped-call]
    return passed


class _Pass(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, value: Tensor) -> Tensor:
        return value.clone()

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        return grads[0], None
