"""lp balls: ``Linf``, ``L2``, ``L1``, ``L0`` and ``Lp`` for any p >= 1."""

import re
from collections.abc import Callable
from copy import copy
from dataclasses import dataclass
from math import inf, isfinite, isnan
from typing import Any, Self, Unpack

from torch import Tensor

from hauberk.errors import InputError
from hauberk.spec.numbers import number, shortest
from hauberk.threats.ball_regions import ball_around
from hauberk.threats.base import Threat, Trait
from hauberk.threats.box import Box
from hauberk.threats.distances import LpRegion
from hauberk.threats.features import FeatureOptions, Features, sized
from hauberk.threats.fitted import fitted_around
from hauberk.threats.region import as_floats, filled

_NUMBER = r"[0-9]*\.?[0-9]+(?:e[+-]?[0-9]{1,3})?"
_NOTATION = re.compile(
    rf"l(?P<p>inf|{_NUMBER}):(?:(?P<size>[+-]?{_NUMBER}(?:/{_NUMBER})?)(?P<more>,.*)?|(?P<fit>.*=.*))",
    re.IGNORECASE,
)


@dataclass(frozen=True, eq=False, repr=False)
class Ball(Threat):
    """All inputs of the box whose lp distance to the clean one is at most ``eps``.

    Args:
        p: 0 (``eps`` counts features, over all channels), a number >= 1, or inf.
        eps: the radius, in the units of the inputs.
        fit: which features may change, by how much each, and within which values: the options of
            ``Linf``, ``L2`` and the rest (:class:`~hauberk.threats.features.Features`).

    Raises:
        InputError: if p lies between 0 and 1, or eps is negative, infinite or not a number.

    Example:
        >>> import torch
        >>> ball = Ball(p=2, eps=0.5)
        >>> str(ball), ball == L2(0.5), str(Linf(0.3, fixed="0;2"))
        ('l2:0.5', True, 'linf:0.3,fixed=0;2')
        >>> ball.project(torch.zeros(1, 2), torch.tensor([[3.0, 4.0]])).mul(100).round()
        tensor([[30., 40.]])
    """

    kinds = r"l(inf|\d+(\.\d+)?)"
    grammar = (
        "linf:EPS, l2:EPS, l1:EPS, l0:COUNT or lP:EPS with a number P >= 1, where EPS is a number "
        "or a fraction (linf:8/255, l2:0.5, l1:12, l0:10, l1.5:3), and then options "
        "(linf:0.1,mask=FILE; linf:eps=FILE)"
    )
    cased = True

    p: float
    eps: float
    fit: Features | None = None

    def __post_init__(self) -> None:
        if isnan(self.p) or (self.p != 0 and self.p < 1):
            raise InputError(f"l{self.p:g} is no norm: p must be 0, at least 1, or inf")
        if not isfinite(self.eps) or self.eps < 0:
            raise InputError(f"eps is {self.eps:g}: a radius must be a finite number, 0 or more")
        if self.p == 0 and self.fit is not None and self.fit.eps is not None:
            raise InputError("l0 counts features: it takes no size for each of them, no eps=")

    @classmethod
    def read(cls, text: str, part: Callable[[str], Threat]) -> "Ball | None":
        found = _NOTATION.fullmatch(text)
        if found is None:
            return None
        p, size = float(found["p"]), number(found["size"] or "1")
        if size is None:  # divides by zero, or is too large
            return None
        words = (found["fit"] or (found["more"] or "")[1:]).split(",")
        fit = Features.read(words, text) if words != [""] else None
        if found["fit"] and (fit is None or fit.eps is None):
            raise InputError(f"{text} has no size: write e.g. linf:0.1,{found['fit']}")
        made = L0(size) if p == 0 else Linf(size) if p == inf else Lp(p, size)
        return made.fitted(fit)

    @classmethod
    def traits_of(cls, kind: str) -> frozenset[Trait]:
        return frozenset({Trait.BALL}) | lp_traits(kind)

    def at(self, x0: Tensor, box: Box = Box()) -> LpRegion:
        x0 = as_floats(x0)
        if self.fit is None:
            return ball_around(x0, filled(x0, self.eps), self.p, box.bounds(x0))
        return self._fitted_at(self.fit, x0, box)

    def _fitted_at(
        self, fit: Features, x0: Tensor, box: Box, place: Tensor | None = None
    ) -> LpRegion:
        def again(number: Tensor) -> LpRegion:
            return self._fitted_at(fit, x0, box, number)

        radius = filled(x0, self.eps)
        return fitted_around(
            fit.view(x0, box, place), radius, self.p, again if self.variants > 1 else None,
            fit.anywhere,
        )  # fmt: skip

    @property
    def variants(self) -> int:
        return 1 if self.fit is None or self.fit.patch is None else self.fit.patch.places

    def take(self, index: Tensor) -> Self:
        fit = None if self.fit is None else self.fit.take(index)
        return self if fit is self.fit else self.fitted(fit)

    def fitted(self, fit: Features | None) -> Self:
        """The ball of the same norm and size with other options."""
        return self._but(fit=fit)

    def scaled(self, factor: float) -> Self:
        size = self.eps * factor
        return self._but(eps=int(size) if self.p == 0 else size)

    def _but(self, **changed: Any) -> Self:
        made = copy(self)
        for name, value in changed.items():
            object.__setattr__(made, name, value)
        made.__post_init__()
        return made

    def __str__(self) -> str:
        size, options = shortest(self.eps, levels=255), "" if self.fit is None else str(self.fit)
        if self.fit is not None and self.fit.eps is not None and self.eps == 1:
            size, options = "", options[1:]  # the sizes of the features alone
        return f"l{shortest(self.p)}:{size}{options}"

    def __repr__(self) -> str:
        if self.fit is not None:
            return super().__repr__()
        named = {0: "L0", 1: "L1", 2: "L2", inf: "Linf"}.get(self.p)
        return f"{named}({self.eps:g})" if named else f"Lp({self.p:g}, {self.eps:g})"


class Linf(Ball):
    """Every feature may change by ``eps``; ``linf:8/255``.

    Args:
        eps: the largest change of a feature: of all, or an array with one for each.
        options: features that may not change, and the like: see
            :class:`~hauberk.threats.features.FeatureOptions`.

    Example:
        >>> import torch
        >>> Linf(0.3).distance(torch.zeros(1, 2), torch.tensor([[0.25, -0.125]]))
        tensor([0.2500], dtype=torch.float64)
    """

    def __init__(self, eps: Any, **options: Unpack[FeatureOptions]) -> None:
        size, fit = sized(eps, options)
        super().__init__(inf, size, fit)


class Lp(Ball):
    """The lp length of the change is at most ``eps``, any p >= 1; ``l1.5:3``.

    Args:
        p: a number >= 1, or inf.
        eps: the radius: ``sum |delta_i|^p <= eps^p``; an array divides each ``delta_i`` by its own
            number, and the radius is 1.
        options: see :class:`~hauberk.threats.features.FeatureOptions`.

    Example:
        >>> str(Lp(1.5, 3)), Lp(2, 0.5) == L2(0.5)
        ('l1.5:3', True)
    """

    def __init__(self, p: float, eps: Any, **options: Unpack[FeatureOptions]) -> None:
        size, fit = sized(eps, options)
        super().__init__(p, size, fit)


class L2(Lp):
    """The Euclidean length of the change is at most ``eps``; ``l2:0.5``.

    Args:
        eps: the radius, or sizes of the features, as of :class:`Lp`.
        options: see :class:`~hauberk.threats.features.FeatureOptions`.

    Example:
        >>> import torch
        >>> L2(0.5).distance(torch.zeros(1, 2), torch.tensor([[3.0, 4.0]]))
        tensor([5.], dtype=torch.float64)
    """

    def __init__(self, eps: Any, **options: Unpack[FeatureOptions]) -> None:
        super().__init__(2.0, eps, **options)


class L1(Lp):
    """The sum of absolute changes is at most ``eps``; ``l1:12``.

    Args:
        eps: the radius, or sizes of the features, as of :class:`Lp`.
        options: see :class:`~hauberk.threats.features.FeatureOptions`.

    Example:
        >>> import torch
        >>> L1(12.0).distance(torch.zeros(1, 2), torch.tensor([[3.0, -4.0]]))
        tensor([7.], dtype=torch.float64)
    """

    def __init__(self, eps: Any, **options: Unpack[FeatureOptions]) -> None:
        super().__init__(1.0, eps, **options)


class L0(Ball):
    """At most ``k`` features change, by any amount that the box allows; ``l0:10``.

    Args:
        k: a whole number of features, counted over all channels.
        options: see :class:`~hauberk.threats.features.FeatureOptions`; there is no ``eps``.

    Example:
        >>> import torch
        >>> L0(1).project(torch.zeros(1, 3), torch.tensor([[0.1, 0.9, 0.2]]))
        tensor([[0.0000, 0.9000, 0.0000]])
    """

    def __init__(self, k: float, **options: Unpack[FeatureOptions]) -> None:
        if not isfinite(k) or k != int(k):
            raise InputError(f"l0 counts features: give an integer, not {k:g}")
        super().__init__(0, int(k), Features.of(options))


def lp_traits(kind: str) -> frozenset[Trait]:
    """What the p of a ball or distance says, by its kind."""
    by_kind = {"linf": Trait.BOX, "l1": Trait.SPARSE, "l0": Trait.DISCRETE}
    return frozenset({by_kind[kind]}) if kind in by_kind else frozenset()
