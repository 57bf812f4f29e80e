"""The union of several threats: an input is robust only if none of them breaks it."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NoReturn, Self

import torch
from torch import Tensor

from hauberk.errors import InputError
from hauberk.maths.rng import Draws
from hauberk.maths.steps import per_example
from hauberk.threats.base import Box, Region, Threat


class Union(Threat):
    """The union of threats; nested unions are flattened, repeated ones refused.

    ``Union(Linf(0.3), L2(2.0), L1(10.0))``, and ``Linf(0.3) | L2(2.0)`` is short for it.
    Source: Tramèr & Boneh 2019, section 2; Maini et al. 2020, section 3.

    Raises:
        InputError: for an empty union or one that names a threat twice.
    """

    def __init__(self, *threats: Threat) -> None:
        flat = tuple(part for threat in threats for part in threat.parts)
        names = [str(part) for part in flat]
        if not flat:
            raise InputError("a union needs at least one threat, e.g. Union(Linf(0.3), L2(2))")
        if len(set(names)) < len(names):
            twice = next(name for name in names if names.count(name) > 1)
            raise InputError(
                f"threat {twice} is named twice: name each threat once (a FiniteSet takes a name=)"
            )
        self._parts = flat

    @property
    def parts(self) -> tuple[Threat, ...]:
        return self._parts

    def at(self, x0: Tensor, box: Box = Box()) -> NoReturn:  # noqa: B008
        raise InputError(
            f"{self} is a union: a single attack needs one threat; "
            "use hauberk.evaluate for a union, or one of its .parts (MSD alone attacks it whole)"
        )

    def whole(self) -> "Whole":
        """The union as one threat, for solvers made for that (:class:`hauberk.attacks.msd.MSD`)."""
        return Whole(self)

    def scaled(self, factor: float) -> "Union":
        return Union(*(part.scaled(factor) for part in self._parts))

    def project(self, *_: object, **__: object) -> NoReturn:
        raise InputError(f"{self} is a union: project on one of its .parts")

    def contains(
        self,
        x0: Tensor,
        x: Tensor,
        witness: Tensor | None = None,
        box: Box | Sequence[Any] = (0.0, 1.0),
    ) -> Tensor:
        """True where any of the threats contains ``x``."""
        return torch.stack([part.contains(x0, x, witness, box) for part in self._parts]).any(0)

    def __str__(self) -> str:
        return " | ".join(str(part) for part in self._parts)

    def __repr__(self) -> str:
        return f"Union({', '.join(repr(part) for part in self._parts)})"


class Whole(Threat):
    """A union of threats on the input itself, bound as one region; ``Union.whole`` makes it.

    Apart from :class:`Union`, which refuses, so that no attack searches it unawares.

    Raises:
        InputError: if a part has variants (``Threat.variants``): it is no ball.
    """

    def __init__(self, union: Threat) -> None:
        for part in union.parts:
            if part.variants > 1:
                raise InputError(f"{part} is no ball: attack it on its own, not within a union")
        self.union = union

    @property
    def parts(self) -> tuple[Threat, ...]:
        return self.union.parts

    def at(self, x0: Tensor, box: Box = Box()) -> "UnionRegion":  # noqa: B008
        parts = tuple(part.at(x0, box) for part in self.parts)
        x0 = parts[0].x0
        return UnionRegion(
            x0=x0,
            radius=torch.ones(len(x0), dtype=torch.float64, device=x0.device),
            regions=parts,
            sizes=torch.stack([part.radius for part in parts], 1),
        )

    def scaled(self, factor: float) -> "Whole":
        return Whole(self.union.scaled(factor))

    def __str__(self) -> str:
        return str(self.union)

    def __repr__(self) -> str:
        return f"{self.union!r}.whole()"


@dataclass
class UnionRegion(Region):
    """The union of the parts' regions around each input; ``u`` is the input.

    Its unit is relative: the distance of a point is the least, over the parts, of its distance in
    the part's unit by the part's radius, so that a point inside is at most 1 away. A part of radius
    0 counts only for the clean input.
    """

    regions: tuple[Region, ...] = field(repr=False)
    sizes: Tensor = field(repr=False)
    """Radii of the parts as they were named, ``(S, K)`` float64: the units of the distance."""

    def take(self, index: Tensor) -> Self:
        return replace(super().take(index), regions=tuple(r.take(index) for r in self.regions))

    def join(self, other: Self) -> Self:
        pairs = zip(self.regions, other.regions, strict=True)
        return replace(super().join(other), regions=tuple(one.join(two) for one, two in pairs))

    def project_(self, u: Tensor) -> Tensor:
        """The nearest, in l2, of the parts' own projections."""
        return _nearest(u, [region.project_(u.clone()) for region in self.regions])

    def ascent(
        self, u: Tensor, grad: Tensor, step: Tensor | float, share: Tensor | None = None
    ) -> NoReturn:
        raise InputError(
            "a union has no steepest step of its own: attack it with MSD, or one of its .parts"
        )

    def random(self, draws: Draws, draw: int | Tensor) -> Tensor:
        """A random point of one of the parts, each as likely as another."""
        points = [region.random(draws, draw) for region in self.regions]
        which = draws.split(_WHICH).integers(draw, (), len(points))
        return _of(points, which)

    def distance(self, x: Tensor, witness: Tensor | None = None) -> Tensor:
        far = torch.stack([region.distance(x) for region in self.regions], 1)
        relative = torch.where(far == 0, 0.0, far / self.sizes)
        return relative.amin(1)

    def contains(self, x: Tensor, witness: Tensor | None = None) -> Tensor:
        return torch.stack([region.contains(x) for region in self.regions]).any(0)

    def scaled(self, factor: Tensor) -> Self:
        regions = tuple(region.scaled(factor) for region in self.regions)
        return replace(self, radius=self.radius * factor, regions=regions)

    def finalise(self, u: Tensor) -> Tensor:
        """Each point strictly inside the part that it belongs to: the one that moves it least."""
        return _nearest(u, [region.finalise(u.clone()) for region in self.regions])


_WHICH = 0x756E  # the stream that tells which part a random point is taken from


def _nearest(u: Tensor, points: list[Tensor]) -> Tensor:
    gaps = [(point - u).double().flatten(1).square().sum(1) for point in points]
    return _of(points, torch.stack(gaps, 1).argmin(1))


def _of(points: list[Tensor], which: Tensor) -> Tensor:
    """Row by row, the point of the list that ``which`` (S,) names."""
    chosen = points[0]
    for number, point in enumerate(points[1:], start=1):
        chosen = torch.where(per_example(which == number, point), point, chosen)
    return chosen
