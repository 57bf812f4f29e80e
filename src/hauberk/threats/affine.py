"""Mixtures of two threats: part of the one, then part of the other."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from math import inf, prod
from typing import NoReturn, Self

import torch
from torch import Tensor

from hauberk.errors import InputError
from hauberk.maths.rng import Draws
from hauberk.maths.steps import per_example
from hauberk.spec.numbers import number_in
from hauberk.threats.ball import Ball
from hauberk.threats.ball_regions import ball_around
from hauberk.threats.base import Threat, Trait, listed
from hauberk.threats.box import Box
from hauberk.threats.distances import LpRegion
from hauberk.threats.finite import ROUNDING, FiniteRegion, FiniteSet
from hauberk.threats.region import Mixed, Region

SPARSER = 1.5
"""In a mixture, an l1 step moves at most the share already changed over this (as l1-APGD does)."""
FIVE = (0.0, 0.25, 0.5, 0.75, 1.0)


class Affine(Threat):
    """``beta`` times the threat ``a``, then ``1 - beta`` times the ball ``b``, for some beta.

    ``Affine(Linf(0.3), L1(10))``; notation ``affine(linf:0.3,l1:10)``. It holds the union of ``a``
    and ``b`` (beta 1 and 0) and more. Every attack runs once for each beta (``variants``); in a
    finite set, once for each member, at the smallest beta that allows it, which misses no mixture.
    Its size is counted in shares of the budget, so step sizes are, too: 1 is all of beta times
    ``a`` and all of 1 - beta times ``b``.

    In an evaluation, name ``a`` and ``b`` beside it, ``Union(a, b, Affine(a, b))``: attacks made
    for one of them alone, a grid say, may be stronger there. Attacks move both parts at every step;
    :class:`hauberk.attacks.MixturePGD` moves them in turn, as published.

    Args:
        a: a ball, a finite set or a warp.
        b: a ball.
        betas: shares to try, each in [0, 1], 0 and 1 always among them; or a number of equally
            spaced ones. By default five, or those that the members of a finite set need.

    Source: Tramèr & Boneh 2019 (S_affine); five shares are those of their pictures.

    Raises:
        InputError: for a ``b`` that is no ball, an ``a`` that is a union or a mixture itself, and
            betas outside of [0, 1].

    Example:
        >>> from hauberk import L1, Linf
        >>> mixture = Affine(Linf(0.25), L1(2.0))
        >>> str(mixture), mixture.betas
        ('affine(linf:0.25,l1:2)', (0.0, 0.25, 0.5, 0.75, 1.0))
    """

    kinds = "affine"
    grammar = "affine(A,B) for part of A, then part of the ball B"

    def __init__(
        self, a: Threat | str, b: Threat | str, betas: int | Sequence[float] | None = None
    ) -> None:
        a, b = Threat.of(a), Threat.of(b)
        if not isinstance(b, Ball):
            raise InputError(f"the second threat of a mixture is {b}: give a ball, e.g. l1:10")
        if any(getattr(threat, "fit", None) is not None for threat in (a, b)):
            raise InputError("a mixture takes threats to all features alike: leave out masks, ...")
        if len(a.parts) > 1 or a.variants > 1 or isinstance(a, Affine):
            raise InputError(f"the first threat of a mixture is {a}: give one threat, e.g. a ball")
        if isinstance(betas, int):
            if betas < 2:
                raise InputError(f"betas is {betas}: give at least 2 (the two threats alone)")
            betas = [i / (betas - 1) for i in range(betas)]
        if betas is not None and not all(0 <= beta <= 1 for beta in betas):
            raise InputError(f"betas are {tuple(betas)}: give shares in [0, 1]")
        self.a, self.b = a, b
        self._grid = betas if betas is None else tuple(sorted({0.0, 1.0, *map(float, betas)}))
        self.betas: tuple[float, ...] = self._grid or FIVE
        self.pins: tuple[int, ...] | None = None
        self._alone: float | None = None
        if isinstance(a, FiniteSet):
            # Of the shares that allow a member, the least leaves most of the ball.
            least = [0.0, *(min(1.0, rank / a.size) for rank in range(2, a.members + 1))]
            if self._grid is not None:
                least = [min(g for g in self._grid if g >= beta - ROUNDING) for beta in least]
            self.betas, self.pins = tuple(least), tuple(range(a.members))

    @classmethod
    def traits_of(cls, kind: str) -> frozenset[Trait]:
        return frozenset({Trait.MIXTURE})

    @property
    def variants(self) -> int:
        return len(self.betas)

    @property
    def copies(self) -> int:
        return self.a.copies

    def at(self, x0: Tensor, box: Box = Box()) -> "AffineRegion":
        whole = self.a.at(x0, box)
        clean = self.b.at(x0, box).x0
        start = torch.cat([whole.start().flatten(1), clean.flatten(1)], 1)
        region = AffineRegion(
            x0=start, radius=torch.ones(len(x0), dtype=torch.float64, device=x0.device),
            clean=clean, number=torch.zeros(len(x0), dtype=torch.int64, device=x0.device),
            beta=torch.zeros(len(x0), dtype=torch.float64, device=x0.device),
            whole=whole, first=whole, p=self.b.p, second_eps=self.b.eps, edges=box.bounds(clean),
            shape=tuple(whole.start().shape[1:]), betas=self.betas, pins=self.pins,
        )  # fmt: skip
        return region.at_variant(region.number)

    def scaled(self, factor: float) -> "Affine":
        made = Affine(self.a.scaled(factor), self.b.scaled(factor), self._grid)
        return made if self._alone is None else made.only(self._alone)

    def only(self, beta: float) -> "Affine":
        """The mixtures at one share alone, to look at; no notation says it.

        Args:
            beta: the share of ``a``, in [0, 1]; all members of a finite set that it allows count.

        Raises:
            InputError: for a share outside of [0, 1].

        Example:
            >>> from hauberk import Linf
            >>> str(Affine(Linf(0.25), Ball(1, 2.0)).only(0.5))
            '0.5 linf:0.25 + 0.5 l1:2'
        """
        if not 0 <= beta <= 1:
            raise InputError(f"beta is {beta}: give a share in [0, 1]")
        made = Affine(self.a, self.b, self._grid)
        made._alone = float(beta)
        if made.pins is not None:
            made.pins = tuple(
                pin for pin, least in zip(made.pins, made.betas, strict=True) if least <= beta
            )
        made.betas = (made._alone,) * (1 if made.pins is None else len(made.pins))
        return made

    def project(self, *_: object, **__: object) -> NoReturn:
        raise InputError(f"{self} has no projection: project on {self.a} or on {self.b}")

    @classmethod
    def read(cls, text: str, part: Callable[[str], Threat]) -> "Affine | None":
        if not text.startswith("affine("):
            return None
        parts = listed(text[len("affine(") : -1]) if text.endswith(")") else []
        betas: list[float] | None = None
        if parts and ";" in parts[-1]:
            betas = [number_in(beta, text) for beta in parts.pop().split(";")]
        if len(parts) != 2:
            raise InputError(f"cannot read '{text}': write affine(A,B) or affine(A,B,0;0.5;1)")
        ball, comma, shares = parts[1].partition(",")
        if comma and ball.startswith("l"):
            raise InputError(
                f"cannot read '{shares}' in '{text}': write affine(A,B), with B a ball, or with "
                "the shares to try, split by semicolons, affine(A,B,0;0.5;1)"
            )
        return cls(part(parts[0]), part(parts[1]), betas)

    def __str__(self) -> str:
        if self._alone is not None:
            return f"{self._alone:g} {self.a} + {1 - self._alone:g} {self.b}"
        betas = "" if self._grid is None else "," + ";".join(f"{b!r}" for b in self._grid)
        return f"affine({self.a},{self.b}{betas})"

    def __repr__(self) -> str:
        if self._alone is not None:
            return f"{Affine(self.a, self.b, self._grid)!r}.only({self._alone:g})"
        betas = "" if self._grid is None else f", betas={self._grid}"
        return f"Affine({self.a!r}, {self.b!r}{betas})"


@dataclass
class AffineRegion(Mixed):
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
    def sparse(self) -> bool:
        return self.p == 1 or self.whole.sparse

    @property
    def both_move(self) -> bool:
        return isinstance(self.whole, LpRegion)

    @property
    def features(self) -> int:
        return prod(self.clean.shape[1:])

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
        if isinstance(self.first, LpRegion | FiniteRegion):
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
        radius = (radius + ROUNDING).floor() if self.p == 0 else radius
        return ball_around(middle, radius, self.p, self.edges)

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
        ball = isinstance(self.first, LpRegion)
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
        first, x = self._split(u)
        before = self._middle(first)
        return self._moved(u, grad, before, (step, step), self._shares(x, before, share))

    def ascent_of(
        self, second: Tensor, u: Tensor, grad: Tensor, step: Tensor | float,
        share: Tensor | None = None,
    ) -> Tensor:  # fmt: skip
        turn = second.to(u.dtype)
        before = self._middle(self._split(u)[0])
        return self._moved(u, grad, before, (step * (1 - turn), step * turn), (share, share))

    def _moved(
        self, u: Tensor, grad: Tensor, before: Tensor, steps: tuple[Tensor | float, Tensor | float],
        shares: tuple[Tensor | None, Tensor | None],
    ) -> Tensor:  # fmt: skip
        (first, x), (grad_first, grad_x) = self._split(u), self._split(grad)
        size = (self._unit_first.to(x) * steps[0], self._unit_second.to(x) * steps[1])
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
        d = self.features
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
