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

import torch
from torch import Tensor

from hauberk.errors import InputError
from hauberk.maths.simplex import project_simplex
from hauberk.objectives.combined import Combined, Weighing
from hauberk.objectives.domains import Domain, product

HUGE = 1e30
"""From here on gamma and beta count as infinite: products of losses must stay numbers."""

__all__ = ["Average", "Combined", "Domain", "Fixed", "MinMax", "product"]


@dataclass(frozen=True)
class Average(Combined):
    """The mean of the domains' losses: ensemble PGD, expectation over transformations.

    Example:
        >>> import torch, hauberk as hb
        >>> a, b, x = hb.models.MLP((4, 3)), hb.models.MLP((4, 3)), torch.rand(2, 4)
        >>> attack = hb.attacks.PGD(loss=hb.Average([a, b]), steps=3)
        >>> attack(a, x, torch.tensor([0, 1]), hb.Linf(0.1)).weights
        tensor([[0.5000, 0.5000],
                [0.5000, 0.5000]])
    """

    def weigh(self, state: Weighing, losses: Tensor) -> tuple[Tensor, Tensor]:
        return _sum(state.w, losses), state.w


@dataclass(frozen=True)
class Fixed(Combined):
    """A weighted sum of the domains' losses, at weights that stay.

    Args:
        weights: one for each domain, at least 0, scaled to add up to 1. For a perturbation that M
            images share: the M of the first domain, then those of the next.

    Raises:
        InputError: for weights that are not numbers, negative, or all 0.

    Example:
        >>> import torch, hauberk as hb
        >>> a, b, x = hb.models.MLP((4, 3)), hb.models.MLP((4, 3)), torch.rand(1, 4)
        >>> attack = hb.attacks.PGD(loss=hb.Fixed([a, b], weights=[3, 1]), steps=3)
        >>> attack(a, x, torch.tensor([0]), hb.Linf(0.1)).weights
        tensor([[0.7500, 0.2500]])
    """

    weights: Sequence[float] = field(default=(), kw_only=True)

    def __post_init__(self) -> None:
        super().__post_init__()
        try:
            object.__setattr__(self, "weights", tuple(float(w) for w in self.weights))
        except (TypeError, ValueError):
            raise InputError(f"weights are {self.weights!r}: give one number a domain") from None
        if not self.weights or not all(0 <= w < inf for w in self.weights) or not any(self.weights):
            raise InputError(f"weights are {self.weights}: give one, 0 or more, a domain")

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

    Raises:
        InputError: for a negative gamma or beta.

    Example:
        >>> import torch, hauberk as hb
        >>> a, b, x = hb.models.MLP((4, 3)), hb.models.MLP((4, 3)), torch.rand(2, 4)
        >>> attack = hb.attacks.PGD(loss=hb.MinMax([a, b]), rule="gradient", steps=3)
        >>> attack(a, x, torch.tensor([0, 1]), hb.Linf(0.1)).weights.sum(1)
        tensor([1., 1.])
    """

    gamma: float = 3.0
    beta: float = 1 / 50

    def __post_init__(self) -> None:
        super().__post_init__()
        for name, what in (("gamma", "worst case"), ("beta", "equal weights for ever")):
            value = getattr(self, name)
            if not isinstance(value, int | float) or not value >= 0:
                raise InputError(f"{name} is {value!r}: give 0 ({what}) or a larger number")

    def weigh(self, state: Weighing, losses: Tensor) -> tuple[Tensor, Tensor]:
        # NaN fools: nothing is easier. Sums of huge losses must stay numbers.
        g = losses.double().nan_to_num(nan=1e30, posinf=1e30, neginf=-1e30).clamp(-1e30, 1e30)
        old, first = state.w.double(), state.seen == 0
        if self.toward == "hard":
            value, w = self._step(old, g, first)
        elif 1 < len(self.parts) < g.shape[1]:
            value, w = self._by_threat(old, g, first)
        else:
            value, w = self._step(old, -g, first)
            value = -value
        return value.to(losses.dtype), w.to(state.w.dtype)

    def _step(self, w: Tensor, g: Tensor, first: Tensor) -> tuple[Tensor, Tensor]:
        """The least value of ``w . g + gamma / 2 |w - 1/K|^2``, ``(S,)``, and the next weights."""
        even = 1 / g.shape[1]
        if self.gamma >= HUGE:
            return g.mean(1), torch.full_like(g, even)
        if self.gamma == 0:
            best = torch.zeros_like(g).scatter_(1, g.argmin(1, keepdim=True), 1.0)
        else:
            best = project_simplex(even - g / self.gamma)
        value = (best * g).sum(1) + self.gamma / 2 * (best - even).square().sum(1)
        if self.beta >= HUGE or self.beta * self.gamma >= 1:
            return value, best
        moved = project_simplex(w - self.beta * (g + self.gamma * (w - even)))
        return value, torch.where(first.unsqueeze(1), w, moved)

    def _by_threat(self, w: Tensor, g: Tensor, first: Tensor) -> tuple[Tensor, Tensor]:
        """Of each threat's perturbation the hardest parts, of the threats the strongest."""
        slots, parts = len(g), len(self.parts)
        w, g = (t.view(slots, parts, -1).transpose(1, 2) for t in (w, g))
        threats = w.sum(2)
        within = torch.where(threats.unsqueeze(2) > 0, w / threats.unsqueeze(2), 1 / parts)
        again = first.repeat_interleave(g.shape[1])
        value, within = self._step(within.flatten(0, 1), g.flatten(0, 1), again)
        value, threats = self._step(threats, -value.view(slots, -1), first)
        w = within.view(slots, -1, parts) * threats.unsqueeze(2)
        return -value, w.transpose(1, 2).flatten(1)


def _sum(w: Tensor, losses: Tensor) -> Tensor:
    """``sum_i w_i G_i``, NaN left out: such a domain is fooled, and hides what the others do."""
    unknown = (losses.isnan() | (w == 0)).all(1)
    return torch.where(unknown, torch.nan, (w * losses).nansum(1))
