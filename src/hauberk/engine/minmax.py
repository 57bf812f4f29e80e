"""How the losses of several domains become one: their average, fixed weights, or min-max.

One perturbation delta, K domains with losses G_1 .. G_K that the attack wants large, and weights w
on the simplex (Wang et al. 2021, equation 3, with G = -F)::

    maximise over delta   minimise over w   sum_i w_i G_i(delta) + gamma / 2 |w - 1/K|^2

Any attack can run on it: ``PGD(loss=MinMax([a, b, c]), rule="gradient")`` is their APGDA. The
weights are those of each example (of each group, for a shared perturbation), and they say which
domain is hardest to fool: the outcome keeps the last in ``weights`` and all in ``path``.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from math import inf
from typing import Literal

import torch
from torch import Tensor

from hauberk.engine.domains import Combined, Domain, Weighing, product
from hauberk.errors import InputError
from hauberk.maths.simplex import project_simplex

__all__ = ["Average", "Combined", "Domain", "Fixed", "MinMax", "product"]


@dataclass(frozen=True)
class Average(Combined):
    """The mean of the domains' losses: ensemble PGD, expectation over transformations."""

    def weigh(self, state: Weighing, losses: Tensor) -> tuple[Tensor, Tensor]:
        return _sum(state.w, losses), state.w


@dataclass(frozen=True)
class Fixed(Combined):
    """A weighted sum of the domains' losses, at weights that stay.

    Args:
        weights: one for each domain, at least 0, scaled to add up to 1. For a perturbation that M
            images share: the M of the first domain, then those of the next.
    """

    weights: Sequence[float] = field(default=(), kw_only=True)

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.weights or not all(0 <= w < inf for w in self.weights) or not any(self.weights):
            raise InputError(f"weights are {tuple(self.weights)}: give one, 0 or more, a domain")

    def weigh(self, state: Weighing, losses: Tensor) -> tuple[Tensor, Tensor]:
        if losses.shape[1] != len(self.weights):
            raise InputError(f"{len(self.weights)} weights for {losses.shape[1]} domains")
        w = losses.new_tensor(self.weights)
        w = (w / w.sum()).expand_as(losses)
        return _sum(w, losses), w


@dataclass(frozen=True)
class MinMax(Combined):
    """The worst mixture of the domains' losses, regularised; weights by projected gradient.

    At every evaluation but the first, ``w <- P(w - beta (G + gamma (w - 1/K)))``, P the projection
    on the simplex, and the gradient is that of ``sum_i w_i G_i`` at the new w: alternating one-step
    projected gradient (APGDA). One forward and one input gradient a domain serve both. The value
    that attacks compare points by is the one at the best weights for that point,
    ``w* = P(1/K - G / gamma)``.

    Source: Wang et al. 2021, equations 3 to 9.

    Args:
        gamma: pull towards equal weights, 0 or more: 0 is the worst case alone, large the average.
        beta: step of the weights. No more than ``1 / gamma`` is taken, which reaches w* from
            anywhere; inf is the variant without memory. With ``gamma=0``, inf puts all weight on
            the one worst domain.
        toward: ``hard``, the domain that is hardest to fool: one perturbation is to fool them all.
            ``strong``, the one with the largest loss: for a perturbation for each of several
            threats in adversarial training (their section 4.4), where w maximises as well.
    """

    gamma: float = 3.0
    beta: float = 1 / 50
    toward: Literal["hard", "strong"] = field(default="hard", kw_only=True)

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.gamma >= 0:
            raise InputError(f"gamma is {self.gamma}: give 0 (worst case) or more")
        if not self.beta >= 0:
            raise InputError(f"beta is {self.beta}: give 0 (equal weights for ever) or more")
        if self.toward not in ("hard", "strong"):
            raise InputError(f"unknown toward '{self.toward}': choose hard or strong")

    @property
    def any_counts(self) -> bool:
        return self.toward == "strong"

    def weigh(self, state: Weighing, losses: Tensor) -> tuple[Tensor, Tensor]:
        even = 1 / losses.shape[1]
        sign = 1.0 if self.toward == "hard" else -1.0
        # NaN fools: nothing is easier. Sums of huge losses must stay numbers.
        g = sign * losses.nan_to_num(nan=1e30, posinf=1e30, neginf=-1e30).clamp(-1e30, 1e30)
        best = self._best(g)
        value = (best * g).sum(1)
        if 0 < self.gamma < inf:
            value = value + self.gamma / 2 * (best - even).square().sum(1)
        if self.gamma == inf or self.beta * self.gamma >= 1 or self.beta == inf:
            return sign * value, best
        moved = project_simplex(state.w - self.beta * (g + self.gamma * (state.w - even)))
        first = (state.seen == 0).unsqueeze(1)
        return sign * value, torch.where(first, state.w, moved)

    def _best(self, g: Tensor) -> Tensor:
        """The weights that minimise ``w . g + gamma / 2 |w - 1/K|^2``, ``(S, K)``."""
        even = 1 / g.shape[1]
        if self.gamma == inf:
            return torch.full_like(g, even)
        if self.gamma == 0:
            return torch.zeros_like(g).scatter_(1, g.argmin(1, keepdim=True), 1.0)
        return project_simplex(even - g.double() / self.gamma).to(g.dtype)


def _sum(w: Tensor, losses: Tensor) -> Tensor:
    """``sum_i w_i G_i``, NaN left out: such a domain is fooled, and hides what the others do."""
    unknown = (losses.isnan() | (w == 0)).all(1)
    return torch.where(unknown, torch.nan, (w * losses).nansum(1))
