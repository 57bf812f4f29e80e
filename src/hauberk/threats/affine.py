"""Mixtures of two threats: part of the one, then part of the other."""

from collections.abc import Callable, Sequence
from typing import NoReturn

import torch
from torch import Tensor

from hauberk.errors import InputError
from hauberk.threats.affine_region import AffineRegion
from hauberk.threats.ball import Ball
from hauberk.threats.base import Box, Threat
from hauberk.threats.finite import ROUNDING, FiniteSet

FIVE = (0.0, 0.25, 0.5, 0.75, 1.0)


class Affine(Threat):
    """``beta`` times the threat ``a``, then ``1 - beta`` times the ball ``b``, for some beta.

    ``Affine(Linf(0.3), L1(10))``; notation ``affine(linf:0.3,l1:10)``. It holds the union of ``a``
    and ``b`` (beta 1 and 0) and more. Every attack runs once for each beta (``variants``); in a
    finite set, once for each member, at the smallest beta that allows it, which misses no mixture.
    Its size is counted in shares of the budget, so step sizes are, too: 1 is all of beta times
    ``a`` and all of 1 - beta times ``b``.

    In an evaluation, name ``a`` and ``b`` beside it, ``Union(a, b, Affine(a, b))``: attacks made
    for one of them alone, a grid say, may be stronger there.

    Args:
        a: a ball, a finite set or a warp.
        b: a ball.
        betas: shares to try, each in [0, 1], 0 and 1 always among them; or a number of equally
            spaced ones. By default five, or those that the members of a finite set need.

    Source: Tramèr & Boneh 2019 (S_affine); five shares are those of their pictures.

    Raises:
        InputError: for a ``b`` that is no ball, an ``a`` that is a union or a mixture itself, and
            betas outside of [0, 1].
    """

    def __init__(self, a: Threat, b: Threat, betas: int | Sequence[float] | None = None) -> None:
        if not isinstance(b, Ball):
            raise InputError(f"the second threat of a mixture is {b}: give a ball, e.g. l1:10")
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
        if isinstance(a, FiniteSet):
            # Of the shares that allow a member, the least leaves most of the ball.
            least = [0.0, *(min(1.0, rank / a.size) for rank in range(2, a.members + 1))]
            if self._grid is not None:
                least = [min(g for g in self._grid if g >= beta - ROUNDING) for beta in least]
            self.betas, self.pins = tuple(least), tuple(range(a.members))

    @property
    def variants(self) -> int:
        return len(self.betas)

    def at(self, x0: Tensor, box: Box = Box()) -> "AffineRegion":  # noqa: B008
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
        return Affine(self.a.scaled(factor), self.b.scaled(factor), self._grid)

    def project(self, *_: object, **__: object) -> NoReturn:
        raise InputError(f"{self} knows no nearest point: project on {self.a} or on {self.b}")

    def __str__(self) -> str:
        betas = "" if self._grid is None else "," + ";".join(f"{b!r}" for b in self._grid)
        return f"affine({self.a},{self.b}{betas})"

    def __repr__(self) -> str:
        betas = "" if self._grid is None else f", betas={self._grid}"
        return f"Affine({self.a!r}, {self.b!r}{betas})"


def read_affine(text: str, read: Callable[[str], Threat]) -> Affine | None:
    """``affine(A,B)`` or ``affine(A,B,0;0.5;1)`` as a threat; None for any other text.

    ``read`` reads the notation of A and B.

    Raises:
        InputError: if it starts like a mixture but is none.
    """
    text = text.strip()
    if not text.lower().startswith("affine("):
        return None
    parts = _split(text[len("affine(") : -1]) if text.endswith(")") else []
    betas: list[float] | None = None
    if parts and ";" in parts[-1]:
        last = parts.pop()
        try:
            betas = [float(beta) for beta in last.split(";")]
        except ValueError:
            raise InputError(
                f"cannot read the shares '{last}' in '{text}': write numbers, as 0;0.5;1"
            ) from None
    if len(parts) != 2:
        raise InputError(f"cannot read '{text}': write affine(A,B) or affine(A,B,0;0.5;1)")
    ball, comma, shares = parts[1].partition(",")
    if comma and ball.lower().startswith("l"):
        raise InputError(
            f"cannot read '{shares}' in '{text}': write affine(A,B), with B a ball, or with the "
            "shares to try, split by semicolons, affine(A,B,0;0.5;1)"
        )
    return Affine(read(parts[0]), read(parts[1]), betas)


def _split(text: str) -> list[str]:
    """The two threats, and the shares where there are some. A threat may hold commas (rt:30,3)."""
    parts: list[str] = []
    for piece in text.split(","):
        if parts and ":" not in piece and ";" not in piece:
            parts[-1] += "," + piece
        else:
            parts.append(piece)
    return [part.strip() for part in parts]
