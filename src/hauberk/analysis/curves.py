"""Accuracy against the size of the threat, and where the order of two models changes."""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import torch
from torch import Tensor

from hauberk.errors import InputError
from hauberk.evaluation.core.summary import wilson
from hauberk.store.files import plain


@dataclass(frozen=True, eq=False)
class Curves:
    """Accuracy of several models at every size where one of them changes.

    Attributes:
        eps: the sizes, rising from 0, ``(K,)`` float64.
        accuracy: by model, ``(K,)`` float64; it holds from its size up to the next one.
        n: examples that they are shares of; 0 if that is not known.

    Example:
        >>> curves({"a": torch.tensor([1.0, 2.0])}).at(1.5)
        {'a': 0.5}
    """

    eps: Tensor
    accuracy: dict[str, Tensor]
    n: int = 0

    def interval(self, model: str, eps: float, confidence: float = 0.95) -> tuple[float, float]:
        """The interval of a model's accuracy at one size (Wilson); (0, 1) without examples.

        Raises:
            InputError: for a negative size, or an unknown model.
        """
        if model not in self.accuracy:
            raise InputError(f"no model {model}: there are {', '.join(self.accuracy)}")
        return wilson(round(self.at(eps)[model] * self.n) if self.n else 0, self.n, confidence)

    def at(self, eps: float) -> dict[str, float]:
        """Each model's accuracy at one size.

        Raises:
            InputError: for a negative size.
        """
        if not eps >= 0:
            raise InputError(f"eps is {eps}: give 0 or more")
        place = int(torch.searchsorted(self.eps, self.eps.new_tensor(eps), right=True)) - 1
        return {name: float(values[place]) for name, values in self.accuracy.items()}

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON; NaN is None."""
        return dict(plain(vars(self)))


@dataclass(frozen=True)
class Crossing:
    """Where the order of two models changes: ``before`` leads below ``eps``, ``after`` from it.

    Example:
        >>> Crossing(eps=0.5, before="a", after="b").to_dict()
        {'eps': 0.5, 'before': 'a', 'after': 'b'}
    """

    eps: float
    before: str
    after: str

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return dict(vars(self))


def curves(radii: Mapping[str, Tensor]) -> Curves:
    """Accuracy against eps, exactly, from each model's radii ``(N,)`` on the same examples.

    A radius is the least distance of a wrong decision: 0 for a clean error, inf or NaN where none
    was found. An example counts as right at all sizes below its radius.

    Args:
        radii: by model, ``(N,)``.

    Raises:
        InputError: without models, for negative radii, or for different numbers of examples.

    Example:
        >>> found = curves({"a": torch.tensor([1.0, 2.0]), "b": torch.tensor([0.0, 3.0])})
        >>> found.at(1.5)
        {'a': 0.5, 'b': 0.5}
    """
    if not radii:
        raise InputError("no radii: give one row of them per model")
    rows = {name: torch.as_tensor(r).detach().double().cpu() for name, r in radii.items()}
    for name, row in rows.items():
        if row.dim() != 1 or bool((row < 0).any()):
            raise InputError(f"the radii of {name} must be a row (N,) of numbers, 0 or more")
    if len({len(row) for row in rows.values()}) > 1:
        raise InputError("the models' radii differ in number: measure all on the same examples")
    every = torch.cat(list(rows.values()))
    eps = torch.cat((every.new_zeros(1), every[every.isfinite()])).unique()
    n = len(next(iter(rows.values())))
    return Curves(eps, {name: _above(row, eps) for name, row in rows.items()}, n)


def crossings(curves: Curves, least: float = 0.0) -> list[Crossing]:
    """Every change of order between two models, by rising eps.

    Args:
        curves: from :func:`curves`.
        least: a lead counts only above this difference of accuracies: 0 takes every example.

    Raises:
        InputError: for a negative ``least``.

    Source: Liang et al. 2023, section 3 (accuracy at one eps is no order of robustness).

    Example:
        >>> crossings(curves({"a": torch.tensor([1.0, 2.0]), "b": torch.tensor([0.0, 3.0])}))
        [Crossing(eps=2.0, before='a', after='b')]
    """
    if not least >= 0:
        raise InputError(f"least is {least}: give 0 or more")
    found = []
    for one, other in combinations(curves.accuracy, 2):
        lead = (curves.accuracy[one] - curves.accuracy[other]).tolist()
        found += [
            Crossing(float(curves.eps[place]), *((one, other) if ahead > 0 else (other, one)))
            for place, ahead in _turns(lead, least)
        ]
    return sorted(found, key=lambda crossing: crossing.eps)


def _turns(lead: list[float], least: float) -> list[tuple[int, int]]:
    """Where the sign of a lead changes, and the sign before; ties take no side."""
    turns: list[tuple[int, int]] = []
    ahead, turned = 0, None
    for place, value in enumerate(lead):
        if value * ahead > 0:
            turned = None
        elif value * ahead < 0 and turned is None:
            turned = place
        if abs(value) > least and value * ahead <= 0:
            if turned is not None:
                turns.append((turned, ahead))
            ahead, turned = (1 if value > 0 else -1), None
    return turns


def _above(radii: Tensor, eps: Tensor) -> Tensor:
    """Share of radii above each size; one that was not found is above all of them."""
    if not len(radii):
        return torch.full_like(eps, torch.nan)
    rising = radii.nan_to_num(nan=torch.inf, posinf=torch.inf).sort().values
    broken = torch.searchsorted(rising, eps, right=True)
    return (len(rising) - broken).double() / len(rising)
