"""The union of several threats: an input is robust only if none of them breaks it."""

from collections.abc import Sequence
from typing import Any, NoReturn

import torch
from torch import Tensor

from hauberk.errors import InputError
from hauberk.threats.base import Box, Threat


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
            raise InputError(f"threat {twice} is named twice: name each threat once")
        self._parts = flat

    @property
    def parts(self) -> tuple[Threat, ...]:
        return self._parts

    def at(self, x0: Tensor, box: Box = Box()) -> NoReturn:  # noqa: B008
        raise InputError(
            f"{self} is a union: a single attack needs one threat; "
            "use hauberk.evaluate for a union, or one of its .parts"
        )

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
