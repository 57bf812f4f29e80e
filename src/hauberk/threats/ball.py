"""lp balls: ``Linf``, ``L2``, ``L1``, ``L0`` and ``Lp`` for any p >= 1."""

from dataclasses import dataclass, replace
from fractions import Fraction
from math import inf, isfinite, isnan

import torch
from torch import Tensor

from hauberk.errors import InputError
from hauberk.threats.ball_region import BallRegion, LinfRegion
from hauberk.threats.base import Box, Region, Threat


@dataclass(frozen=True, eq=False, repr=False)
class Ball(Threat):
    """All inputs of the box whose lp distance to the clean one is at most ``eps``.

    p is 0 (``eps`` counts features, over all channels), a number >= 1, or inf.

    Raises:
        InputError: if p lies between 0 and 1, or eps is negative, infinite or not a number.
    """

    p: float
    eps: float

    def __post_init__(self) -> None:
        if isnan(self.p) or (self.p != 0 and self.p < 1):
            raise InputError(f"l{self.p:g} is no norm: p must be 0, at least 1, or inf")
        if not isfinite(self.eps) or self.eps < 0:
            raise InputError(f"eps is {self.eps:g}: a radius must be a finite number, 0 or more")

    def at(self, x0: Tensor, box: Box = Box()) -> Region:  # noqa: B008
        x0 = x0.detach()
        x0 = x0 if x0.dtype in (torch.float32, torch.float64) else x0.float()
        eps = torch.full((len(x0),), self.eps, dtype=torch.float64, device=x0.device)
        edges = box.bounds(x0)
        if self.p == inf:
            return LinfRegion.around(x0, eps, edges)
        return BallRegion(
            x0=x0, radius=eps, p=self.p, edges=edges, lo=edges[0] - x0, hi=edges[1] - x0
        )

    def scaled(self, factor: float) -> "Ball":
        return replace(self, eps=self.eps * factor)

    def __str__(self) -> str:
        return f"l{_plain(self.p)}:{_text(self.eps)}"

    def __repr__(self) -> str:
        named = {0: "L0", 1: "L1", 2: "L2", inf: "Linf"}.get(self.p)
        return f"{named}({self.eps:g})" if named else f"Lp({self.p:g}, {self.eps:g})"


class Linf(Ball):
    """Every feature may change by ``eps``; ``linf:8/255``."""

    def __init__(self, eps: float) -> None:
        super().__init__(p=inf, eps=eps)

    def scaled(self, factor: float) -> "Linf":
        return Linf(self.eps * factor)


class Lp(Ball):
    """``sum |delta_i|^p <= eps^p``, any p >= 1; ``l1.5:3``. ``Lp(2, e) == L2(e)``."""

    def __init__(self, p: float, eps: float) -> None:
        super().__init__(p=p, eps=eps)

    def scaled(self, factor: float) -> "Lp":
        return Lp(self.p, self.eps * factor)


class L2(Lp):
    """Euclidean ball; ``l2:0.5``."""

    def __init__(self, eps: float) -> None:
        super().__init__(2.0, eps)


class L1(Lp):
    """The sum of absolute changes is at most ``eps``; ``l1:12``."""

    def __init__(self, eps: float) -> None:
        super().__init__(1.0, eps)


class L0(Ball):
    """At most ``k`` features change, by any amount that the box allows; ``l0:10``."""

    def __init__(self, k: float) -> None:
        if not isfinite(k) or k != int(k):
            raise InputError(f"l0 counts features: give an integer, not {k:g}")
        super().__init__(p=0, eps=int(k))

    def scaled(self, factor: float) -> "L0":
        return L0(int(self.eps * factor))


def _text(eps: float) -> str:
    """The shortest text that reads back as the same number; multiples of 1/255 as fractions."""
    plain = _plain(eps)
    levels = Fraction(round(eps * 255), 255) if isfinite(eps * 255) else Fraction(0)
    if len(plain) > 8 and float(levels) == eps:
        return f"{round(eps * 255)}/255"
    return plain


def _plain(number: float) -> str:
    return repr(float(number)).removesuffix(".0")
