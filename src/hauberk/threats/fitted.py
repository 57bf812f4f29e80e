"""lp balls and distances of which some features may not change, or are measured in own units.

An attack moves the features that may change, each divided by its size: there the ball is an
ordinary one, so that every projection, step and draw is the ball's own, exact one.
"""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from math import inf
from typing import Any, Self

import torch
from torch import Tensor

from hauberk.maths.norms import norm
from hauberk.maths.rows import Ends
from hauberk.maths.steps import per_example
from hauberk.threats.ball_regions import BallRegion, LinfRegion, linf_ends
from hauberk.threats.distances import LpRegion
from hauberk.threats.levels import within
from hauberk.threats.region import Region
from hauberk.threats.view import View


@dataclass
class Fitted(LpRegion):
    """What such regions have in common; ``x0`` is the ``u`` of the clean inputs.

    Lengths are those of changes divided by the features' sizes: of a point ``x`` for
    :meth:`distance`, of ``u`` for :meth:`measure`.
    """

    view: View = field(repr=False)
    tight: Ends | None = field(repr=False)
    """What the features that ``u`` holds may be, where decoding rounds; None where it is exact."""
    again: Callable[[Tensor], Any] | None = field(repr=False)
    """Makes the region at places (S,) of a patch; None where there is one place."""
    window: tuple[int, int] | None = field(repr=False)
    """Rows and columns that may change, wherever they lie."""

    def decode(self, u: Tensor) -> Tensor:
        return self.view.inputs(u, self.tight)

    def encode(self, x: Tensor) -> Tensor:
        return self.view.encode(x)

    def pulled_back(self, grad: Tensor) -> Tensor:
        return self.view.pulled_back(grad)

    def at_variant(self, number: Tensor) -> Region:
        if self.again is None:
            return self
        found: Region = self.again(number)
        return found

    def _change(self, x: Tensor) -> tuple[Tensor, Tensor]:
        change, illegal = self.view.change(x)
        if self.window is not None:
            illegal = illegal | ~fits(change != 0, *self.window)
        return change, illegal

    def distance(self, x: Tensor, witness: Tensor | None = None) -> Tensor:
        """Of points ``x`` (S, ...); inf where a feature changed that may not."""
        change, illegal = self._change(x)
        far = norm(change, self.p)
        if self.p == inf:
            # A quotient may be rounded beyond the radius of a change that is inside, and so may
            # a difference of 8-bit values.
            near = self._in_reach(x)
            far = torch.where(near, torch.minimum(far, self.radius), far)
        return torch.where(illegal, inf, far)

    def contains(self, x: Tensor, witness: Tensor | None = None) -> Tensor:
        return self.view.in_ends(x) & (self.distance(x) <= self.radius)

    def _in_reach(self, x: Tensor) -> Tensor:
        reach = per_example(self.radius, self.view.clean)
        reach = reach if self.view.scale is None else self.view.scale * reach
        return within(x, self.view.clean, reach, self.view.ends)

    def keep_in_box(self, x: Tensor) -> Tensor:
        return torch.clamp(x, *self.view.ends)


def fits(changed: Tensor, height: int, width: int) -> Tensor:
    """Whether what changed of images ``(S, ..., H, W)`` lies in some window, ``(S,)`` bool.

    Example:
        >>> changed = torch.tensor([[[True, False, True]]])
        >>> fits(changed, 1, 3), fits(changed, 1, 2)
        (tensor([True]), tensor([False]))
    """
    image = changed.flatten(1, -3).any(1) if changed.dim() > 3 else changed
    return (_extent(image.any(2)) <= height) & (_extent(image.any(1)) <= width)


def _extent(line: Tensor) -> Tensor:
    """From the first to the last that is set, ``(S,)``; 0 if none is."""
    place = torch.arange(1, line.shape[1] + 1, device=line.device)
    last = (line * place).amax(1)
    first = torch.where(line, place, line.shape[1] + 1).amin(1)
    return (last - first + 1).clamp_min(0) * line.any(1)


@dataclass
class FittedBall(Fitted, BallRegion):
    """Such a ball, p finite."""


@dataclass
class FittedLinf(Fitted, LinfRegion):
    """Such a ball, p = inf: every feature may change by its own size times ``radius``."""

    def with_radius(self, radius: Tensor) -> "LpRegion":
        return self._sized(radius.double())

    def scaled(self, factor: Tensor) -> Self:
        return self._sized(self.radius * factor)

    def _sized(self, radius: Tensor) -> Self:
        lo, hi = linf_ends(self.x0, per_example(radius, self.x0), self.edges)
        return replace(self, radius=radius, lo=lo, hi=hi, tight=exact_ends(self.view, radius))


def exact_ends(view: View, radius: Tensor | None) -> Ends | None:
    """What the features that ``u`` holds may be; None where decoding rounds nothing.

    Args:
        radius: of an linf ball, ``(S,)``; None for other balls, where the box alone says it.
    """
    unit = view.scale
    if unit is None:
        return None
    ends = Ends(view.held(end) for end in view.ends)
    if radius is None:
        return ends
    reach = view.held(unit) * per_example(radius, view.held(unit))
    return Ends(linf_ends(view.held(view.clean), reach, ends))


def fitted_around(
    view: View, radius: Tensor, p: float, again: Callable[[Tensor], Any] | None,
    window: tuple[int, int] | None,
) -> FittedBall | FittedLinf:  # fmt: skip
    """The lp balls of so many radii in what the view shows.

    Args:
        radius: of each, ``(S,)`` float64.
        p: 0, a number >= 1, or inf.
        again, window: see :class:`Fitted`.
    """
    u, edges = view.start(), view.edges()
    made: dict[str, Any] = {
        "x0": u, "radius": radius, "p": p, "edges": edges, "view": view, "again": again,
        "window": window,
    }  # fmt: skip
    if p == inf:
        lo, hi = linf_ends(u, per_example(radius, u), edges)
        return FittedLinf(lo=lo, hi=hi, tight=exact_ends(view, radius), **made)
    lo, hi = edges[0] - u, edges[1] - u
    return FittedBall(lo=lo, hi=hi, tight=exact_ends(view, None), **made)
