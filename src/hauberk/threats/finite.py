"""Finite sets of inputs: ``FiniteSet`` of any functions, and ``Swaps`` of features."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Self

import torch
from torch import Tensor

from hauberk.errors import InputError
from hauberk.maths.rng import Draws
from hauberk.maths.steps import per_example
from hauberk.spec.numbers import number_in
from hauberk.threats.base import Threat, Trait
from hauberk.threats.box import Box
from hauberk.threats.region import Enumerable, InputRegion, as_floats, filled

Candidates = Callable[[Tensor], Tensor]
ROUNDING = 1e-9
"""A size that misses a whole number by less counts as that number: 49 * (2 / 49) is 2."""


class FiniteSet(Threat):
    """The clean input and finitely many others, those first named being the smaller threat.

    Args:
        candidates: a function from inputs (S, ...) to (S, G, ...), the same for an example in any
            batch; or a list of G functions from (S, ...) to (S, ...).
        size: how many members are allowed, the clean input counted as the first; all of them by
            default. A function from inputs to candidates needs it: G + 1.
        name: how the set is named in tables, e.g. ``finite:flips``; by default as its functions
            are, ``set`` where that says nothing. Sets of one run need different names.

    Candidates outside of the box are left out.

    Raises:
        InputError: if the size is missing or not a finite number >= 0.

    Example:
        >>> mirrored = FiniteSet([lambda x: x.flip(-1)], name="mirrored")
        >>> x0 = torch.tensor([[0.0, 1.0]])
        >>> mirrored.contains(x0, x0.flip(-1)), mirrored.contains(x0, x0 * 0.5)
        (tensor([True]), tensor([False]))
    """

    kinds = "finite"

    def __init__(
        self,
        candidates: Candidates | Sequence[Candidates],
        size: float | None = None,
        name: str | None = None,
    ) -> None:
        functions = [candidates] if callable(candidates) else list(candidates)
        self.name = _name_of(functions) if name is None else name
        if callable(candidates):
            if size is None:
                raise InputError("give size=: the number of candidates of an example, plus one")
            self.make: Candidates = candidates
        else:
            self.make = _Each(tuple(candidates))
            size = len(candidates) + 1 if size is None else size
        if not 0 <= size < float("inf"):
            raise InputError(f"the size of the set is {size:g}: give a finite number, 0 or more")
        self.size = size

    @classmethod
    def traits_of(cls, kind: str) -> frozenset[Trait]:
        return frozenset({Trait.ENUMERABLE, Trait.RUGGED})

    @property
    def copies(self) -> int:
        return self.members

    @property
    def members(self) -> int:
        """Members in all, the clean input among them."""
        return max(1, int(self.size + ROUNDING))

    def at(self, x0: Tensor, box: Box = Box()) -> "FiniteRegion":
        x0 = as_floats(x0)
        radius = filled(x0, float(self.size))
        return FiniteRegion(x0=x0, radius=radius, make=self.make, edges=box.bounds(x0))

    def scaled(self, factor: float) -> "FiniteSet":
        return FiniteSet(self.make, self.size * factor, self.name)

    def __str__(self) -> str:
        return f"finite:{self.name}:{self.size:g}"

    def __repr__(self) -> str:
        return f"FiniteSet({self.name!r}, size={self.size:g})"


class Swaps(FiniteSet):
    """Feature 0 changes places with one of the features 0 to n - 1; ``swaps:49``.

    The stand-in for rotations and translations in Tramèr & Boneh 2019, Theorem 4 (budget N = n).
    Features are counted in the flattened input.

    Args:
        n: how many features take part, feature 0 among them.

    Raises:
        InputError: for an n that is negative or not finite, and for inputs of fewer than n
            features.

    Example:
        >>> Swaps(3).at(torch.tensor([[1.0, 2.0, 3.0]])).elements
        tensor([[[1., 2., 3.],
                 [2., 1., 3.],
                 [3., 2., 1.]]])
    """

    kinds = "swaps"
    grammar = "swaps:COUNT"

    def __init__(self, n: float) -> None:
        super().__init__(_Swap(max(1, int(n + ROUNDING)) if n < 2**31 else 1), n)

    @classmethod
    def read(cls, text: str, part: Callable[[str], Threat]) -> "Swaps | None":
        if not text.startswith("swaps:"):
            return None
        return cls(number_in(text.removeprefix("swaps:"), text))

    def scaled(self, factor: float) -> "Swaps":
        return Swaps(self.size * factor)

    def __str__(self) -> str:
        return f"swaps:{self.size:g}"

    def __repr__(self) -> str:
        return f"Swaps({self.size:g})"


def _name_of(functions: Sequence[Candidates]) -> str:
    """The functions' names joined; ``set`` where one has none, or where that gets long."""
    names = [str(getattr(function, "__name__", "")) for function in functions]
    joined = "+".join(names)
    return joined if 0 < len(joined) <= 40 and all(n.isidentifier() for n in names) else "set"


@dataclass(frozen=True)
class _Each:
    """The candidates of several functions, stacked."""

    functions: tuple[Candidates, ...]

    def __call__(self, x0: Tensor) -> Tensor:
        if not self.functions:
            return x0.unsqueeze(1)[:, :0]
        return torch.stack([function(x0) for function in self.functions], 1)


@dataclass(frozen=True)
class _Swap:
    """``(S, ...) -> (S, n - 1, ...)``."""

    n: int

    def __call__(self, x0: Tensor) -> Tensor:
        flat = x0.flatten(1)
        d = flat.shape[1]
        if self.n > d:
            raise InputError(f"swaps:{self.n} needs {self.n} features, but inputs have {d}")
        place = torch.arange(1, self.n, device=x0.device)
        order = torch.arange(d, device=x0.device).repeat(self.n - 1, 1)
        order[:, 0] = place
        order.scatter_(1, place.unsqueeze(1), 0)
        return flat[:, order].view(len(x0), self.n - 1, *x0.shape[1:])


@dataclass
class FiniteRegion(InputRegion, Enumerable):
    """A finite set around each input. ``u`` is the input; the radius counts members."""

    make: Candidates = field(repr=False)
    pin: Tensor | None = None
    """The one member, ``(S,)`` int64, that attacks are held to; None for any."""

    @cached_property
    def elements(self) -> Tensor:
        """``(S, 1 + G, ...)``: the clean input first."""
        made = self.make(self.x0).to(self.x0)
        if made.dim() != self.x0.dim() + 1 or made.shape[2:] != self.x0.shape[1:]:
            raise InputError(
                f"candidates have shape {tuple(made.shape)} for inputs {tuple(self.x0.shape)}: "
                "the function must return (S, G, ...)"
            )
        return torch.cat([self.x0.unsqueeze(1), made], 1)

    @cached_property
    def allowed(self) -> Tensor:
        """Which members belong to the set, ``(S, 1 + G)`` bool."""
        rank = torch.arange(1, self.elements.shape[1] + 1, device=self.x0.device)
        lo, hi = self.edges
        fits = ((self.elements >= lo) & (self.elements <= hi)).flatten(2).all(2)
        fits &= rank <= self.radius.unsqueeze(1) + ROUNDING
        fits[:, 0] = True
        return fits

    def count(self, resolution: Sequence[int] = ()) -> int:
        """How many candidates there are, at any resolution."""
        return self.elements.shape[1]

    def candidate(self, index: Tensor, resolution: Sequence[int] = ()) -> Tensor:
        """Members ``index`` (S, K), counted among those allowed, again from the first: u."""
        order = self.allowed.to(torch.uint8).argsort(dim=1, descending=True, stable=True)
        return self._at(order.gather(1, index % self.allowed.sum(1, keepdim=True)))

    def pinned(self, pin: Tensor) -> Self:
        """The region whose attacks are held to the members ``pin`` (S,)."""
        return replace(self, pin=pin)

    def _at(self, index: Tensor) -> Tensor:
        """Members at ``index`` (S, K): ``(S, K, ...)``."""
        where = index.view(*index.shape, *[1] * (self.x0.dim() - 1))
        return self.elements.gather(1, where.expand(*index.shape, *self.x0.shape[1:]))

    def _one(self, index: Tensor) -> Tensor:
        return self._at(index.unsqueeze(1)).squeeze(1)

    def start(self) -> Tensor:
        return self.x0.clone() if self.pin is None else self._held(self.pin)

    def _held(self, pin: Tensor) -> Tensor:
        """The member ``pin``, the clean input where it is not allowed."""
        pin = pin.clamp(0, self.elements.shape[1] - 1)
        return self._one(pin * self.allowed.gather(1, pin.unsqueeze(1)).squeeze(1))

    def project_(self, u: Tensor) -> Tensor:
        if self.pin is not None:
            return self._held(self.pin)
        gap = (self.elements - u.nan_to_num().unsqueeze(1)).flatten(2)
        size = torch.linalg.vector_norm(gap, dim=2).masked_fill_(~self.allowed, torch.inf)
        return self._one(size.argmin(1))

    def ascent(
        self, u: Tensor, grad: Tensor, step: Tensor | float, share: Tensor | None = None
    ) -> Tensor:
        """The member that a linear model of the loss finds best, at any step size."""
        if self.pin is not None:
            return u
        top = grad.abs().flatten(1).amax(1).clamp_min_(torch.finfo(grad.dtype).tiny)
        direction = (grad / per_example(top, grad)).flatten(1).unsqueeze(1)
        gain = ((self.elements - u.unsqueeze(1)).flatten(2) * direction).sum(2)
        best, index = gain.masked_fill_(~self.allowed, -torch.inf).max(1)
        return torch.where(per_example(best > 0, u), self._one(index), u)

    def random(self, draws: Draws, draw: int | Tensor) -> Tensor:
        if self.pin is not None:
            return self._held(self.pin)
        keys = draws.uniform(draw, self.allowed.shape[1:])
        return self._one(keys.masked_fill_(~self.allowed, -1).argmax(1))

    def distance(self, x: Tensor, witness: Tensor | None = None) -> Tensor:
        """The least size of a set that holds ``x``: 0 for the clean input, inf for no member."""
        same = (self.elements == x.unsqueeze(1)).flatten(2).all(2)  # in the wider of the dtypes
        rank = torch.arange(1, same.shape[1] + 1, device=x.device, dtype=torch.float64)
        rank[:1] = 0
        return torch.where(same, rank, torch.inf).amin(1)

    def contains(self, x: Tensor, witness: Tensor | None = None) -> Tensor:
        return self.in_box(x) & (self.distance(x) <= self.radius + ROUNDING)

    def scaled(self, factor: Tensor) -> Self:
        return replace(self, radius=self.radius * factor)

    def finalise(self, u: Tensor) -> Tensor:
        return self.project_(u.clone())
