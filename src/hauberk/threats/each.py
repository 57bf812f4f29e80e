"""One perturbation of an input for each of several threats, moved side by side: ``Each``."""

from collections.abc import Callable
from copy import copy
from dataclasses import dataclass
from math import prod
from typing import NoReturn

import torch
from torch import Tensor

from hauberk.errors import InputError
from hauberk.maths.rng import Draws
from hauberk.threats.base import Threat, Trait, listed
from hauberk.threats.box import Box
from hauberk.threats.region import CompoundRegion, Region, filled


class Each(Threat):
    """A point in each of K threats to the same input; ``each(linf:0.3, l2:2)``.

    Unlike a union, whose points lie in one of the threats, one point of this is a K-tuple: the k-th
    of the K inputs that it stands for lies in the k-th threat (``parts``). Unions are flattened.

    Args:
        threats: the K threats, at least one.

    Source: Wang et al. 2021 (generalised adversarial training), Lemma 1.

    Raises:
        InputError: for no threat, one that is named twice, has variants (``Threat.variants``), or
            is one to groups.

    Example:
        >>> from hauberk import L2, Linf
        >>> region = Each(Linf(0.3), L2(2.0)).at(torch.zeros(5, 1, 4, 4))
        >>> tuple(region.decode(region.start()).shape)  # five inputs, each for two threats
        (5, 2, 1, 4, 4)
    """

    kinds = "each"
    grammar = "each(A,B,...) for one point in each of several"
    cased = True

    def __init__(self, *threats: Threat | str) -> None:
        flat = tuple(part for threat in threats for part in Threat.of(threat).parts)
        names = [str(part) for part in flat]
        if not flat:
            raise InputError("Each needs at least one threat, e.g. Each(Linf(0.3), L2(2))")
        for part, name in zip(flat, names, strict=True):
            if part.variants > 1:
                raise InputError(f"{part} has variants: it cannot be moved beside other threats")
            if part.grouped:
                raise InputError(f"{part} is a threat to groups: give threats to one input")
            if names.count(name) > 1:
                raise InputError(f"threat {name} is named twice: name each threat once")
        self._parts = flat

    @classmethod
    def read(cls, text: str, part: Callable[[str], Threat]) -> "Each | None":
        if not (text.lower().startswith("each(") and text.endswith(")")):
            return None
        return cls(*map(part, listed(text[len("each(") : -1])))

    @classmethod
    def traits_of(cls, kind: str) -> frozenset[Trait]:
        return frozenset({Trait.SEVERAL})

    @property
    def parts(self) -> tuple[Threat, ...]:
        """The K threats."""
        return self._parts

    def at(self, x0: Tensor, box: Box = Box()) -> "EachRegion":
        regions = tuple(threat.at(x0, box) for threat in self._parts)
        starts = [region.start() for region in regions]
        u = _pack(starts)
        return EachRegion(
            x0=u,
            radius=filled(u, 1.0),
            regions=regions,
            shapes=tuple(tuple(start.shape[1:]) for start in starts),
            sizes=torch.stack([region.radius for region in regions], 1),
        )

    def take(self, index: Tensor) -> "Each":
        made = copy(self)
        made._parts = tuple(threat.take(index) for threat in self._parts)
        return made

    def scaled(self, factor: float) -> "Each":
        return Each(*(threat.scaled(factor) for threat in self._parts))

    def project(self, *_: object, **__: object) -> NoReturn:
        raise InputError(f"{self} stands for several inputs: project on one of its .parts")

    def __str__(self) -> str:
        return f"each({', '.join(map(str, self._parts))})"

    def __repr__(self) -> str:
        return f"Each({', '.join(map(repr, self._parts))})"


@dataclass
class EachRegion(CompoundRegion):
    """The parts' regions side by side. ``u`` (S, N1 + ... + NK) holds their variables, flat.

    The unit is relative, so that the radius is 1: each part moves by that share of its own radius.
    ``x0`` is the ``u`` of the clean inputs.
    """

    shapes: tuple[tuple[int, ...], ...]
    """Of one example's variable in each part."""

    @property
    def members(self) -> int:
        return len(self.regions)

    def split(self, u: Tensor) -> list[Tensor]:
        """The parts' own variables, each ``(S, ...)`` in its own shape."""
        pieces = u.split([prod(shape) for shape in self.shapes], 1)
        # Contiguous: a strided row may be summed in another order.
        pairs = zip(pieces, self.shapes, strict=True)
        return [piece.reshape(len(u), *shape).contiguous() for piece, shape in pairs]

    def _each(self, do: Callable[[Region, Tensor], Tensor], u: Tensor) -> Tensor:
        pairs = zip(self.regions, self.split(u), strict=True)
        return _pack([do(region, part) for region, part in pairs])

    def decode(self, u: Tensor) -> Tensor:
        """The inputs, ``(S, K, ...)``, one for each threat."""
        pairs = zip(self.regions, self.split(u), strict=True)
        return torch.stack([region.decode(part) for region, part in pairs], 1)

    def encode(self, x: Tensor) -> Tensor | None:
        found = [region.encode(x[:, k]) for k, region in enumerate(self.regions)]
        given = [part for part in found if part is not None]
        return _pack(given).to(self.x0) if len(given) == len(found) else None

    def project_(self, u: Tensor) -> Tensor:
        return self._each(lambda region, part: region.project_(part), u)

    def ascent(
        self, u: Tensor, grad: Tensor, step: Tensor | float, share: Tensor | None = None
    ) -> Tensor:
        lengths = (self.sizes.to(u.dtype) * torch.as_tensor(step).to(u).view(-1, 1)).unbind(1)
        rows = zip(self.regions, self.split(u), self.split(grad), lengths, strict=True)
        return _pack([r.ascent(part, slope, length, share) for r, part, slope, length in rows])

    def random(self, draws: Draws, draw: int | Tensor) -> Tensor:
        points = [r.random(draws.split(k), draw) for k, r in enumerate(self.regions)]
        return _pack(points)

    def distance(self, x: Tensor, witness: Tensor | None = None) -> Tensor:
        """The largest, over the parts, of the distance in units of the part's radius."""
        rows = enumerate(zip(self.regions, self._witnesses(witness), strict=True))
        far = torch.stack([part.distance(x[:, k], own) for k, (part, own) in rows], 1)
        return torch.where(far == 0, 0.0, far / self.sizes).amax(1)

    def contains(self, x: Tensor, witness: Tensor | None = None) -> Tensor:
        """Whether the k-th of the inputs ``x`` (S, K, ...) lies in the k-th threat, for all k."""
        rows = enumerate(zip(self.regions, self._witnesses(witness), strict=True))
        return torch.stack([part.contains(x[:, k], own) for k, (part, own) in rows]).all(0)

    def finalise(self, u: Tensor) -> Tensor:
        return self._each(lambda region, part: region.finalise(part), u)

    def witness(self, u: Tensor) -> Tensor:
        """``u`` itself: the parts read their own witnesses from it."""
        return u

    def _witnesses(self, u: Tensor | None) -> list[Tensor | None]:
        if u is None or u.shape != self.x0.shape:
            return [None] * len(self.regions)
        pairs = zip(self.regions, self.split(u.to(self.x0)), strict=True)
        return [region.witness(part) for region, part in pairs]


def _pack(parts: list[Tensor]) -> Tensor:
    return torch.cat([part.flatten(1) for part in parts], 1)
