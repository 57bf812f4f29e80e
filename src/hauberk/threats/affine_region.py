"""The geometry of a mixture of two threats: what an attack moves, and how."""

from dataclasses import dataclass, field, replace
from math import inf, prod
from typing import Self

import torch
from torch import Tensor

from hauberk.maths.rng import Draws
from hauberk.maths.steps import per_example
from hauberk.threats.ball_region import BallRegion, LinfRegion
from hauberk.threats.base import Region
from hauberk.threats.finite import ROUNDING, FiniteRegion

SPARSER = 1.5
"""In a mixture, an l1 step moves at most the share already changed over this (as l1-APGD does)."""


@dataclass
class AffineRegion(Region):
    """A mixture around each input, at one beta per row.

    ``u`` (S, m + d) holds the variable of the first threat, then the input that both steps lead to.
    """

    clean: Tensor = field(repr=False)
    """The clean inputs, ``(S, ...)``; ``x0`` is their ``u``."""
    number: Tensor
    """Which variant, ``(S,)`` int64, and its ``beta``, ``(S,)`` float64."""
    beta: Tensor
    whole: Region = field(repr=False)
    """The first threat at its full size, and ``first`` at its share of it."""
    first: Region = field(repr=False)
    p: float
    second_eps: float
    """The ball of the second threat."""
    edges: tuple[Tensor, Tensor] = field(repr=False)
    shape: tuple[int, ...]
    """Of one example's ``u`` in the first threat."""
    betas: tuple[float, ...] = field(repr=False)
    pins: tuple[int, ...] | None = field(repr=False)

    @property
    def direct(self) -> bool:
        return False

    @property
    def sparse(self) -> bool:
        return self.p == 1 or self.whole.sparse

    def at_variant(self, number: Tensor) -> "AffineRegion":
        beta = torch.tensor(self.betas, dtype=torch.float64, device=number.device)[number]
        first = self.whole.scaled(beta * self.radius)
        if self.pins is not None and isinstance(first, FiniteRegion):
            first = first.pinned(torch.tensor(self.pins, device=number.device)[number])
        return replace(self, number=number, beta=beta, first=first)

    def scaled(self, factor: Tensor) -> Self:
        return replace(self, radius=self.radius * factor, first=self.first.scaled(factor))

    def start(self) -> Tensor:
        first = self.first.start()
        return self._pack(first, self._middle(first))

    # Taking u apart and putting it together.

    def _split(self, u: Tensor) -> tuple[Tensor, Tensor]:
        m = prod(self.shape)
        first, x = u[:, :m], u[:, m:]
        return first.view(-1, *self.shape), x.view(-1, *self.clean.shape[1:])

    def _pack(self, first: Tensor, x: Tensor) -> Tensor:
        if isinstance(self.first, BallRegion | LinfRegion | FiniteRegion):
            # Where the first threat has no share, its half of u says what the other says: attacks
            # that count changed coordinates then count as they would in the second threat alone.
            first = torch.where(per_example(self.beta == 0, first), x, first)
        return torch.cat([first.flatten(1).to(x), x.flatten(1)], 1)

    def _middle(self, first: Tensor) -> Tensor:
        """The inputs after the first step alone."""
        x = self.first.decode(first).to(self.clean)
        return torch.where(per_example(self.beta == 0, x), self.clean, x)

    def _second(self, middle: Tensor) -> Region:
        """The second threat's share, around the inputs after the first step."""
        radius = self._unit_second * self.radius
        if self.p == inf:
            return LinfRegion.around(middle, radius, self.edges)
        lo, hi = self.edges
        radius = (radius + ROUNDING).floor() if self.p == 0 else radius
        return BallRegion(
            x0=middle, radius=radius, p=self.p, edges=self.edges, lo=lo - middle, hi=hi - middle
        )

    @property
    def _unit_first(self) -> Tensor:
        """What the step size 1 means in the first threat, ``(S,)``."""
        return self.whole.radius * self.beta

    @property
    def _unit_second(self) -> Tensor:
        return (1 - self.beta) * self.second_eps

    def decode(self, u: Tensor) -> Tensor:
        first, x = self._split(u)
        if not u.requires_grad:
            return x
        # The value is x to the bit; the gradient reaches the first step as well.
        middle = self._middle(first)
        return x + (middle - middle.detach())

    def encode(self, x: Tensor) -> Tensor | None:
        x = x.to(self.clean)
        ball = isinstance(self.first, BallRegion | LinfRegion)
        first = x if ball else self.first.start()
        return torch.cat([first.flatten(1).to(x), x.flatten(1)], 1)

    # Moving.

    def project_(self, u: Tensor) -> Tensor:
        first, x = self._split(u)
        first = self.first.project_(first)
        return self._pack(first, self._second(self._middle(first)).project_(x))

    def ascent(
        self, u: Tensor, grad: Tensor, step: Tensor | float, share: Tensor | None = None
    ) -> Tensor:
        (first, x), (grad_first, grad_x) = self._split(u), self._split(grad)
        before = self._middle(first)
        shares = self._shares(x, before, share)
        size = (self._unit_first.to(x) * step, self._unit_second.to(x) * step)
        moved = self.first.ascent(first, grad_first, size[0], shares[0])
        after = self._middle(self.first.project_(moved.clone()))
        x = self._second(before).ascent(x, grad_x, size[1], shares[1])
        return torch.cat([moved.flatten(1), (x + (after - before)).flatten(1)], 1)

    def _shares(
        self, x: Tensor, middle: Tensor, share: Tensor | None
    ) -> tuple[Tensor | None, Tensor | None]:
        """Each part's own: the whole change is dense as soon as one part is."""
        if share is None or not self.sparse:
            return share, share
        mixed = (self.beta > 0) & (self.beta < 1)

        def own(delta: Tensor, reach: Tensor) -> Tensor:
            least = per_example((reach * 1e-6).to(delta), delta)
            count = (delta.abs() > least).flatten(1).sum(1)
            few = count.to(share) / (SPARSER * max(1, delta[0].numel() if len(delta) else 1))
            return torch.where(mixed & (count > 0), torch.minimum(few, share), share)

        return own(middle - self.clean, self._unit_first), own(x - middle, self._unit_second)

    def random(self, draws: Draws, draw: int | Tensor) -> Tensor:
        first = self.first.random(draws, draw)
        return self._pack(first, self._second(self._middle(first)).random(draws.split(11), draw))

    def finalise(self, u: Tensor) -> Tensor:
        first, x = self._split(u)
        first = self.first.finalise(first.clone())
        second = self._second(self._middle(first))
        return self._pack(first, second.finalise(second.project_(x.clone())))

    # Judging.

    def witness(self, u: Tensor) -> Tensor:
        """The variant's number, the first threat's own witness, the input after the first step.

        ``(S, 1 + w + d)``; the second step leads from there to x.
        """
        first, _ = self._split(u)
        middle = self._middle(first).flatten(1)
        own = self.first.witness(first)
        parts = [self.number.to(middle).unsqueeze(1)]
        parts += [] if own is None else [own.flatten(1).to(middle)]
        return torch.cat([*parts, middle], 1)

    def _read(self, x: Tensor, witness: Tensor) -> tuple["AffineRegion", Tensor, Tensor, Tensor]:
        """The region of the witness, the witness of the first step, the input after it, sanity.

        A witness of another shape proves nothing.
        """
        sample = self.whole.witness(self.whole.start())
        w = 0 if sample is None else prod(sample.shape[1:])
        d = prod(self.clean.shape[1:])
        witness = witness.to(self.clean.device, torch.float64)
        if witness.shape != (len(x), 1 + w + d):
            witness = witness.new_full((len(x), 1 + w + d), torch.nan)  # of another threat
        number = witness[:, 0]
        sane = (number >= 0) & (number < len(self.betas)) & (number == number.floor())
        region = self.at_variant(torch.where(sane, number, 0.0).long())
        shape = (0,) if sample is None else sample.shape[1:]
        own = witness[:, 1 : 1 + w].reshape(len(x), *shape).to(self.clean)
        middle = witness[:, 1 + w :].reshape(self.clean.shape)
        return region, own, middle.to(self.clean), sane

    def distance(self, x: Tensor, witness: Tensor | None = None) -> Tensor:
        """The larger of the two steps, each as a share of its budget; at most 1 inside.

        Without a witness, of one step alone, in the threat where it is the smaller.
        """
        if witness is None:
            second = _share(self._whole_second().distance(x), self._whole_second().radius)
            return torch.minimum(_share(self.whole.distance(x), self.whole.radius), second)
        region, own, middle, sane = self._read(x, witness)
        first = _share(self.whole.distance(middle, own), region._unit_first)
        still = (middle == self.clean).flatten(1).all(1)
        first = torch.where(still, 0.0, first)
        second = _share(region._second(middle).distance(x), region._unit_second)
        return torch.where(sane, torch.maximum(first, second), inf)

    def contains(self, x: Tensor, witness: Tensor | None = None) -> Tensor:
        """Checks both steps of the witness; without one, only whether a single step leads there."""
        if witness is None:
            return self.whole.contains(x) | self._whole_second().contains(x)
        region, own, middle, sane = self._read(x, witness)
        still = (middle == self.clean).flatten(1).all(1)
        first = torch.where(region.beta == 0, still, region.first.contains(middle, own) | still)
        return sane & first & region._second(middle).contains(x)

    def _whole_second(self) -> Region:
        return replace(self, beta=torch.zeros_like(self.beta))._second(self.clean)


def _share(distance: Tensor, budget: Tensor) -> Tensor:
    return torch.where(distance == 0, 0.0, distance / budget)
