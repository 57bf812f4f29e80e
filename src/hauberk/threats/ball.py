"""lp balls: ``Linf``, ``L2``, ``L1``, ``L0`` and ``Lp`` for any p >= 1."""

import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from math import inf, isfinite, isnan

from torch import Tensor

from hauberk.errors import InputError
from hauberk.spec.numbers import number, shortest
from hauberk.threats.ball_regions import ball_around
from hauberk.threats.base import Threat, Trait
from hauberk.threats.box import Box
from hauberk.threats.distances import LpRegion
from hauberk.threats.region import as_floats, filled

_NUMBER = r"[0-9]*\.?[0-9]+(?:e[+-]?[0-9]{1,3})?"
_NOTATION = re.compile(rf"l(?P<p>inf|{_NUMBER}):(?P<size>[+-]?{_NUMBER}(?:/{_NUMBER})?)")


@dataclass(frozen=True, eq=False, repr=False)
class Ball(Threat):
    """All inputs of the box whose lp distance to the clean one is at most ``eps``.

    Args:
        p: 0 (``eps`` counts features, over all channels), a number >= 1, or inf.
        eps: the radius, in the units of the inputs.

    Raises:
        InputError: if p lies between 0 and 1, or eps is negative, infinite or not a number.

    Example:
        >>> ball = Ball(p=2, eps=0.5)
        >>> str(ball), ball == L2(0.5)
        ('l2:0.5', True)
        >>> ball.project(torch.zeros(1, 2), torch.tensor([[3.0, 4.0]])).mul(100).round()
        tensor([[30., 40.]])
    """

    kinds = r"l(inf|\d+(\.\d+)?)"
    grammar = (
        "linf:EPS, l2:EPS, l1:EPS, l0:COUNT or lP:EPS with a number P >= 1, where EPS is a number "
        "or a fraction (linf:8/255, l2:0.5, l1:12, l0:10, l1.5:3)"
    )

    p: float
    eps: float

    def __post_init__(self) -> None:
        if isnan(self.p) or (self.p != 0 and self.p < 1):
            raise InputError(f"l{self.p:g} is no norm: p must be 0, at least 1, or inf")
        if not isfinite(self.eps) or self.eps < 0:
            raise InputError(f"eps is {self.eps:g}: a radius must be a finite number, 0 or more")

    @classmethod
    def read(cls, text: str, part: Callable[[str], Threat]) -> "Ball | None":
        found = _NOTATION.fullmatch(text)
        if found is None:
            return None
        p, size = float(found["p"]), number(found["size"])
        if size is None:  # divides by zero, or is too large
            return None
        if p == 0:
            return L0(size)
        return Linf(size) if p == inf else Lp(p, size)

    @classmethod
    def traits_of(cls, kind: str) -> frozenset[Trait]:
        return frozenset({Trait.BALL}) | lp_traits(kind)

    def at(self, x0: Tensor, box: Box = Box()) -> LpRegion:
        x0 = as_floats(x0)
        return ball_around(x0, filled(x0, self.eps), self.p, box.bounds(x0))

    def scaled(self, factor: float) -> "Ball":
        return replace(self, eps=self.eps * factor)

    def __str__(self) -> str:
        return f"l{shortest(self.p)}:{shortest(self.eps, levels=255)}"

    def __repr__(self) -> str:
        named = {0: "L0", 1: "L1", 2: "L2", inf: "Linf"}.get(self.p)
        return f"{named}({self.eps:g})" if named else f"Lp({self.p:g}, {self.eps:g})"


class Linf(Ball):
    """Every feature may change by ``eps``; ``linf:8/255``.

    Args:
        eps: the largest change of a feature.

    Example:
        >>> Linf(0.3).distance(torch.zeros(1, 2), torch.tensor([[0.25, -0.125]]))
        tensor([0.2500], dtype=torch.float64)
    """

    def __init__(self, eps: float) -> None:
        super().__init__(p=inf, eps=eps)

    def scaled(self, factor: float) -> "Linf":
        return Linf(self.eps * factor)


class Lp(Ball):
    """The lp length of the change is at most ``eps``, any p >= 1; ``l1.5:3``.

    Args:
        p: a number >= 1, or inf.
        eps: the radius: ``sum |delta_i|^p <= eps^p``.

    Example:
        >>> str(Lp(1.5, 3)), Lp(2, 0.5) == L2(0.5)
        ('l1.5:3', True)
    """

    def __init__(self, p: float, eps: float) -> None:
        super().__init__(p=p, eps=eps)

    def scaled(self, factor: float) -> "Lp":
        return Lp(self.p, self.eps * factor)


class L2(Lp):
    """The Euclidean length of the change is at most ``eps``; ``l2:0.5``.

    Args:
        eps: the radius.

    Example:
        >>> L2(0.5).distance(torch.zeros(1, 2), torch.tensor([[3.0, 4.0]]))
        tensor([5.], dtype=torch.float64)
    """

    def __init__(self, eps: float) -> None:
        super().__init__(2.0, eps)


class L1(Lp):
    """The sum of absolute changes is at most ``eps``; ``l1:12``.

    Args:
        eps: the radius.

    Example:
        >>> L1(12.0).distance(torch.zeros(1, 2), torch.tensor([[3.0, -4.0]]))
        tensor([7.], dtype=torch.float64)
    """

    def __init__(self, eps: float) -> None:
        super().__init__(1.0, eps)


class L0(Ball):
    """At most ``k`` features change, by any amount that the box allows; ``l0:10``.

    Args:
        k: a whole number of features, counted over all channels.

    Example:
        >>> L0(1).project(torch.zeros(1, 3), torch.tensor([[0.1, 0.9, 0.2]]))
        tensor([[0.0000, 0.9000, 0.0000]])
    """

    def __init__(self, k: float) -> None:
        if not isfinite(k) or k != int(k):
            raise InputError(f"l0 counts features: give an integer, not {k:g}")
        super().__init__(p=0, eps=int(k))

    def scaled(self, factor: float) -> "L0":
        return L0(int(self.eps * factor))


def lp_traits(kind: str) -> frozenset[Trait]:
    """What the p of a ball or distance says, by its kind."""
    by_kind = {"linf": Trait.BOX, "l1": Trait.SPARSE, "l0": Trait.DISCRETE}
    return frozenset({by_kind[kind]}) if kind in by_kind else frozenset()
