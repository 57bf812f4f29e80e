"""Domains: what one perturbation has to beat at once.

A domain is a model, a transformation of the input, or both. Where the threat lets several images
share one perturbation (:class:`hauberk.threats.Shared`), or moves one perturbation for each of
several threats (:class:`hauberk.threats.Each`), every such member is a domain of its own, times
the others.
"""

from collections.abc import Callable, Sequence
from copy import copy
from dataclasses import dataclass
from typing import Any, Self

import torch
from torch import Tensor, nn

from hauberk.errors import InputError
from hauberk.maths.rng import Draws
from hauberk.transforms.base import apply, is_random, named
from hauberk.victims.victim import Victim


@dataclass(frozen=True, eq=False)
class Domain:
    """A model and a transformation to be fooled. Subclasses may override :meth:`inputs`.

    Args:
        model: a module or a victim; None for the one that the attack is called on.
        transform: inputs ``(N, ...)`` to inputs ``(N, ...)``, differentiable; None for none. One
            whose attribute ``random`` is True is called with ``(x, draws, number)`` and takes its
            random numbers from there (:mod:`hauberk.transforms`); others that are random draw
            from torch's global generators.
            It must not write into its input.
        draws: passes over which the loss is averaged, for a random transform.
        random: whether the same input is shown differently from one look to the next; by default
            what the transform says of itself.
        name: for tables; made from the others if left out.

    Raises:
        InputError: if the model or the transform is none, or draws is below 1.

    Example:
        >>> import torch, hauberk as hb
        >>> net, x = hb.models.MLP((4, 3)), torch.rand(2, 1, 2, 2)
        >>> objective = hb.MinMax([hb.Domain(), hb.Domain(transform=hb.transforms.FlipH())])
        >>> attack = hb.attacks.PGD(loss=objective, steps=3)
        >>> attack(net, x, torch.tensor([0, 1]), hb.Linf(0.1)).weights.shape
        torch.Size([2, 2])
    """

    model: nn.Module | Victim | None = None
    transform: Callable[..., Tensor] | None = None
    draws: int = 1
    name: str = ""
    random: bool | None = None

    def __post_init__(self) -> None:
        if self.model is not None and not isinstance(self.model, nn.Module | Victim):
            raise InputError(f"a domain's model must be a torch.nn.Module, not {self.model!r}")
        if self.transform is not None and not callable(self.transform):
            raise InputError(f"a domain's transform must be a function, not {self.transform!r}")
        if self.draws < 1:
            raise InputError(f"draws is {self.draws}: give 1 or more")

    @classmethod
    def of(cls, given: Any) -> "Domain":
        """A domain as it is, or from a model (any ``nn.Module``) or a transformation."""
        if isinstance(given, Domain):
            return given
        if isinstance(given, nn.Module | Victim):
            return cls(model=given)
        if callable(given):
            return cls(transform=given)
        raise InputError(f"{given!r} is no domain: give a model, a transformation or a Domain")

    @property
    def varies(self) -> bool:
        """Whether evaluations of one input differ."""
        if self.random is not None:
            return self.random
        return self.transform is not None and is_random(self.transform)

    def but(self, **changes: Any) -> Self:
        """The same domain, of the same kind, with some attributes changed."""
        other = copy(self)
        for name, value in changes.items():
            object.__setattr__(other, name, value)
        return other

    def inputs(self, x: Tensor, draws: Draws, number: Tensor) -> Tensor:
        """What the model is shown for inputs ``x`` (N, ...): ``(self.draws * N, ...)``.

        Args:
            draws: random streams, one for each input; ``number`` (N,) tells evaluations apart.
        """
        n = self.draws
        x = x if n == 1 else x.repeat(n, *[1] * (x.dim() - 1))
        if self.transform is None:
            return x
        each = Draws(key=draws.key.repeat(n))
        turn = torch.arange(n, device=number.device).repeat_interleave(len(number))
        shown = apply(self.transform, x, each, number.repeat(n) * n + turn)
        if not isinstance(shown, Tensor) or shown.shape != x.shape:
            what = tuple(shown.shape) if isinstance(shown, Tensor) else type(shown).__name__
            raise InputError(
                f"transform {self} turned inputs {tuple(x.shape)} into {what}: it must keep the "
                "shape; resize inside it"
            )
        if x.requires_grad and not shown.requires_grad and torch.is_grad_enabled():
            raise InputError(
                f"transform {self} is not differentiable: wrap it as "
                "hauberk.transforms.StraightThrough(f)"
            )
        return shown

    def __str__(self) -> str:
        if self.name:
            return self.name
        model = (
            "" if self.model is None else type(getattr(self.model, "model", self.model)).__name__
        )
        shown = "" if self.transform is None else named(self.transform)
        return " ".join(part for part in (model, shown) if part) or "model"


def product(
    models: Sequence[nn.Module | Victim],
    transforms: Sequence[Callable[..., Tensor]],
    draws: int = 1,
) -> list[Domain]:
    """Every model behind every transformation, the transformations changing fastest."""
    return [
        Domain(model, transform, draws if is_random(transform) else 1)
        for model in models
        for transform in transforms
    ]
