"""One perturbation shared by a group of inputs ("universal"): ``Shared``."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from math import inf
from typing import Any, Self

import torch
from torch import Tensor

from hauberk.errors import InputError
from hauberk.maths.norms import norm
from hauberk.maths.rng import Draws
from hauberk.maths.rowwise import toward_zero
from hauberk.maths.square_windows import Windows
from hauberk.maths.steps import per_example
from hauberk.threats.ball import Ball
from hauberk.threats.ball_regions import BallRegion, LinfRegion, ball_around
from hauberk.threats.base import Threat, Trait
from hauberk.threats.box import Box, narrowed
from hauberk.threats.region import Patchable, as_floats, filled


class Shared(Threat):
    """The same perturbation added to all M inputs of a group; ``shared(linf:0.2)``.

    Inputs are groups (S, M, ...). Without ``clip`` every perturbed input lies in the box by itself,
    so that one pixel at the end of the box in one input holds that pixel for the whole group; with
    it, inputs are clipped to the box after the perturbation is added.

    Args:
        threat: an lp ball, for the perturbation.
        clip: whether inputs are clipped to the box after the perturbation is added.

    Source: Wang et al. 2021 (universal perturbations) and its Proposition 1.

    Raises:
        InputError: for a threat that is no lp ball, and for inputs that are no groups.

    Example:
        >>> from hauberk import Linf
        >>> region = Shared(Linf(0.2)).at(torch.full((1, 3, 4), 0.5))  # one group of three inputs
        >>> tuple(region.start().shape), tuple(region.decode(region.start()).shape)
        ((1, 4), (1, 3, 4))
    """

    grouped = True

    kinds = "shared"
    grammar = "shared(BALL) or shared(BALL,clip) for one perturbation of a group"

    def __init__(self, threat: Threat | str, clip: bool = False) -> None:
        threat = Threat.of(threat)
        if not isinstance(threat, Ball):
            raise InputError(f"only an lp ball can be shared, not {threat}: try Shared(Linf(0.2))")
        if threat.fit is not None and not threat.fit.only_some:
            raise InputError(
                f"{threat} cannot be shared: a shared ball may say which features change (mask, "
                "fixed, patch=HxW+ROW+COLUMN), for all examples alike, and no more"
            )
        self.threat, self.clip = threat, bool(clip)

    @classmethod
    def read(cls, text: str, part: Callable[[str], Threat]) -> "Shared | None":
        if not (text.startswith("shared(") and text.endswith(")")):
            return None
        inner = text[len("shared(") : -1]
        return cls(part(inner.removesuffix(",clip")), clip=inner.endswith(",clip"))

    @classmethod
    def traits_of(cls, kind: str) -> frozenset[Trait]:
        return frozenset({Trait.SEVERAL})

    def at(self, x0: Tensor, box: Box = Box()) -> "SharedRegion":
        if x0.dim() < 3 or x0.shape[1] == 0:
            raise InputError(
                f"inputs have shape {tuple(x0.shape)}, but groups are (S, M, ...) with at least "
                f"one input in each: {self} adds one perturbation to the M inputs of a group"
            )
        x0 = as_floats(x0)
        edges = box.bounds(x0[:, 0])
        down, up = (edge.double() - x0.double() for edge in edges)
        if self.clip:
            # Beyond these every input of the group is at the end of the box: nothing changes there.
            lo, hi = down.amin(1), up.amax(1)
        else:
            lo, hi = down.amax(1), up.amin(1)
        free = None
        if self.threat.fit is not None:
            free = self.threat.fit.free_of(x0[:, 0])
            lo, hi = lo * free, hi * free
        radius = filled(x0, self.threat.eps)
        return SharedRegion(
            x0=x0.new_zeros(len(x0), *x0.shape[2:]), radius=radius, clean=x0, p=self.threat.p,
            clip=self.clip, edges=edges, free=free, lo=toward_zero(lo, x0.dtype),
            hi=toward_zero(hi, x0.dtype),
        )  # fmt: skip

    def scaled(self, factor: float) -> "Shared":
        return Shared(self.threat.scaled(factor), self.clip)

    def project(self, x0: Tensor, x: Tensor, box: Box | Sequence[Any] = (0.0, 1.0)) -> Tensor:
        """The nearest group to ``x`` (S, M, ...) that shares one perturbation inside the threat.

        Raises:
            InputError: with ``clip``, where there is no closed form.
        """
        if self.clip:
            raise InputError(f"{self} has no projection: attack it, its attacks stay inside")
        region = self.at(x0, Box.of(box))
        # The distances to all inputs add up to that from their mean difference, and a constant.
        u = region.encode(x.to(region.clean))
        near = region.decode(region.finalise(region.project_(u)))
        return narrowed(near, region.clean, torch.promote_types(x0.dtype, x.dtype))

    def __str__(self) -> str:
        return f"shared({self.threat}{', clip' if self.clip else ''})"

    def __repr__(self) -> str:
        return f"Shared({self.threat!r}{', clip=True' if self.clip else ''})"


@dataclass
class SharedRegion(Patchable):
    """One perturbation in lp ball ∩ the boxes of all inputs of its group; ``u`` (S, ...) is it.

    ``x0``, the ``u`` of the clean inputs, is 0; they themselves are ``clean``.
    """

    clean: Tensor = field(repr=False)
    """The clean inputs, ``(S, M, ...)``."""
    p: float
    clip: bool
    edges: tuple[Tensor, Tensor] = field(repr=False)
    """The box of the inputs, shared by all."""
    free: Tensor | None = field(repr=False)
    """Which features may change, ``(S, ...)`` bool; None for all."""
    lo: Tensor = field(repr=False)
    hi: Tensor = field(repr=False)
    """Bounds of the perturbation, ``(S, ...)``, ``lo <= 0 <= hi``: what all inputs allow."""

    @cached_property
    def inner(self) -> BallRegion | LinfRegion:
        """The ball around 0 in those bounds, where the perturbation moves."""
        return ball_around(self.x0, self.radius, self.p, (self.lo, self.hi))

    def widened(self) -> Self:
        """The same region, where the perturbation may be as large as the box is wide.

        For a stream of groups: a group whose features all lie at one end of the box would hold
        the perturbation that serves the next.
        """
        wide = (self.edges[1] - self.edges[0]).expand_as(self.lo)
        wide = wide if self.free is None else wide * self.free
        return replace(self, lo=-wide, hi=wide.clone())

    @property
    def members(self) -> int:
        return self.clean.shape[1]

    @property
    def sparse(self) -> bool:
        return self.inner.sparse

    def decode(self, u: Tensor) -> Tensor:
        """The perturbed inputs, ``(S, M, ...)``."""
        u = u if self.free is None else u * self.free
        x = self.clean + u.unsqueeze(1)
        if self.clip:
            return torch.clamp(x, *self.edges)
        # This repairs roundings of the sum, whose gradient stays that of a plain sum.
        x.detach().clamp_(*self.edges)
        return x

    def encode(self, x: Tensor) -> Tensor:
        """The mean difference of inputs ``(S, M, ...)``; with ``clip``, the least that explains it.

        That is: of the perturbations that lead to ``x``, the smallest.
        """
        x = x.to(self.clean)
        return self._least(x, 0.0) if self.clip else (x - self.clean).mean(1)

    def _least(self, x: Tensor, slack: Tensor | float) -> Tensor:
        """The smallest perturbation that leads to ``x`` once clipped, give or take ``slack``."""
        delta = x - self.clean.to(x)
        # An input at the end of the box tells only that the perturbation goes at least so far.
        low = torch.where(x <= self.edges[0], -inf, delta).amax(1) - slack
        high = torch.where(x >= self.edges[1], inf, delta).amin(1) + slack
        return torch.clamp(torch.zeros_like(low), low, high)

    def project_(self, u: Tensor) -> Tensor:
        return self.inner.project_(u)

    def ascent(
        self, u: Tensor, grad: Tensor, step: Tensor | float, share: Tensor | None = None
    ) -> Tensor:
        return self.inner.ascent(u, grad, step, share)

    def random(self, draws: Draws, draw: int | Tensor) -> Tensor:
        if self.p != 0:
            return self.inner.random(draws, draw)
        # The ball draws in one box for all rows: from (0, 1), stretched to the bounds of each.
        one = torch.ones((), dtype=self.x0.dtype, device=self.x0.device)
        drawn = replace(self.inner, edges=(one - one, one)).random(draws, draw)
        return torch.where(drawn > 0, self.lo + drawn * (self.hi - self.lo), 0.0)

    def random_coarse(self, draws: Draws, draw: int | Tensor) -> Tensor:
        return self.random(draws, draw) if self.p == 0 else self.inner.random_coarse(draws, draw)

    def repaint_window(self, u: Tensor, windows: Windows, draws: Draws, draw: Tensor) -> Tensor:
        return self.inner.repaint_window(u, windows, draws, draw)

    def distance(self, x: Tensor, witness: Tensor | None = None) -> Tensor:
        """The largest distance of an input of the group ``x`` (S, M, ...) from its clean one."""
        delta = x.double() - self.clean.double()
        return norm(delta.flatten(0, 1), self.p).view(len(x), self.members).amax(1)

    def contains(self, x: Tensor, witness: Tensor | None = None) -> Tensor:
        """Whether all inputs lie in ball and box, without slack, and share their perturbation.

        That they share it is checked up to rounding in the dtype of either. ``witness`` (S, ...)
        is the perturbation; it matters with ``clip`` only, and is found from ``x`` if left out.
        """
        inside = (x >= self.edges[0]) & (x <= self.edges[1])
        if self.free is not None:
            inside &= (x == self.clean) | self.free.unsqueeze(1)
        inside = inside.flatten(1).all(1) & (self.distance(x) <= self.radius)
        wide, clean = x.double(), self.clean.double()
        once = max(torch.finfo(dtype).eps for dtype in (self.clean.dtype, x.dtype))
        slack = 4 * once * torch.maximum(wide.abs(), clean.abs()).amax(1)
        if self.clip:
            u = self._least(wide, slack / 2) if witness is None else witness.to(clean)
            if u.shape != self.x0.shape:
                return torch.zeros_like(inside)
            inside &= norm(u, self.p) <= self.radius
            gap = (wide - torch.clamp(clean + u.unsqueeze(1), *self.edges)).abs().amax(1)
        else:
            delta = wide - clean
            gap = delta.amax(1) - delta.amin(1)
        return inside & (gap <= slack).flatten(1).all(1)

    def scaled(self, factor: Tensor) -> Self:
        radius = self.radius * factor
        return replace(self, radius=radius.floor() if self.p == 0 else radius)

    def finalise(self, u: Tensor) -> Tensor:
        u = self.inner.finalise(u)
        for attempt in range(8):
            distance = self.distance(self.decode(u))
            over = ~(distance <= self.radius)
            if not bool(over.any()):
                return u
            # The sum of input and perturbation was rounded outwards.
            shrink = self.radius / distance.clamp_min(1e-300) * (1 - 1e-7 * 8**attempt)
            factor = torch.where(over, shrink, 1.0).clamp_(0, 1)
            u = toward_zero(u.double() * per_example(factor, u), u.dtype)
        over = ~(self.distance(self.decode(u)) <= self.radius)
        return torch.where(per_example(over, u), 0.0, u)

    def witness(self, u: Tensor) -> Tensor:
        return u
