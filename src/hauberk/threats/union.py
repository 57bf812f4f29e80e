"""A union of threats searched as one: ``Whole``."""

from dataclasses import dataclass
from typing import NoReturn

import torch
from torch import Tensor

from hauberk.errors import InputError
from hauberk.maths.rng import Draws
from hauberk.maths.steps import per_example
from hauberk.threats.base import Threat
from hauberk.threats.box import Box
from hauberk.threats.region import CompoundRegion, filled


class Whole(Threat):
    """A union of threats on the input itself, bound as one region.

    A :class:`hauberk.threats.Union` itself cannot be bound, so that no attack is run on it by
    mistake; only :class:`hauberk.attacks.MultiSteepestDescent` moves in a union as a whole.

    Args:
        union: the threats, each of which moves the input itself.

    Raises:
        InputError: if a part has variants (``Threat.variants``): it is no ball.

    Example:
        >>> from hauberk import L2, Linf
        >>> region = Whole(Linf(0.3) | L2(0.5)).at(torch.zeros(1, 4))
        >>> region.contains(torch.tensor([[0.4, 0.0, 0.0, 0.0]]))  # in the l2 ball alone
        tensor([True])
    """

    def __init__(self, union: Threat) -> None:
        for part in union.parts:
            if part.variants > 1:
                raise InputError(f"{part} is no ball: attack it on its own, not within a union")
        self.union = union

    @property
    def parts(self) -> tuple[Threat, ...]:
        return self.union.parts

    def at(self, x0: Tensor, box: Box = Box()) -> "UnionRegion":
        if fitted := [part for part in self.parts if getattr(part, "fit", None) is not None]:
            raise InputError(
                f"one perturbation that moves through a whole union takes threats to all features "
                f"alike, not {fitted[0]}: attack its parts one by one"
            )
        parts = tuple(part.at(x0, box) for part in self.parts)
        x0 = parts[0].x0
        return UnionRegion(
            x0=x0,
            radius=filled(x0, 1.0),
            regions=parts,
            sizes=torch.stack([part.radius for part in parts], 1),
        )

    def scaled(self, factor: float) -> "Whole":
        return Whole(self.union.scaled(factor))

    def __str__(self) -> str:
        return str(self.union)

    def __repr__(self) -> str:
        return f"Whole({self.union!r})"


@dataclass
class UnionRegion(CompoundRegion):
    """The union of the parts' regions around each input; ``u`` is the input.

    Its unit is relative: the distance of a point is the least, over the parts, of its distance in
    the part's unit by the part's radius, so that a point inside is at most 1 away. A part of radius
    0 counts only for the clean input.
    """

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

    def finalise(self, u: Tensor) -> Tensor:
        """Each point strictly inside the part that it belongs to: the one that moves it least."""
        return _nearest(u, [region.finalise(u.clone()) for region in self.regions])


_WHICH = 0x756E  # the stream that decides which part a random point is taken from


def _nearest(u: Tensor, points: list[Tensor]) -> Tensor:
    gaps = [(point - u).double().flatten(1).square().sum(1) for point in points]
    return _of(points, torch.stack(gaps, 1).argmin(1))


def _of(points: list[Tensor], which: Tensor) -> Tensor:
    """Row by row, the point of the list that ``which`` (S,) names."""
    chosen = points[0]
    for number, point in enumerate(points[1:], start=1):
        chosen = torch.where(per_example(which == number, point), point, chosen)
    return chosen
