"""``Features``: which of an input may change, by how much each, and within which values."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from functools import cached_property
from typing import Any, Self, TypedDict

import torch
from torch import Tensor

from hauberk.errors import InputError
from hauberk.spec.arrays import Array
from hauberk.threats.box import Box, round_up
from hauberk.threats.patch import Patch
from hauberk.threats.view import View, rows_of

WORDS = "mask=FILE, fixed=I;J, eps=FILE, lo=FILE, hi=FILE, patch=HxW+ROW+COLUMN"
_WORD = re.compile(r"([a-z]+)=(.*)")


class FeatureOptions(TypedDict, total=False):
    """What the constructors of balls and distances take beside their size.

    ``mask``, ``fixed``, ``lo`` and ``hi`` are tensors, arrays, lists or names of files, ``patch`` a
    :class:`~hauberk.threats.patch.Patch` or its notation; see :class:`Features`.
    """

    mask: Any
    fixed: Any
    lo: Any
    hi: Any
    patch: Any


def sized(eps: Any, options: Mapping[str, Any]) -> tuple[float, "Features | None"]:
    """The radius and the options of a ball whose ``eps`` may be an array: then the radius is 1.

    Example:
        >>> sized(0.5, {}), sized([0.5, 0.25], {})[0]
        ((0.5, None), 1.0)
    """
    if isinstance(eps, int | float):
        return eps, Features.of(options)
    if isinstance(eps, Tensor) and eps.dim() == 0:
        return float(eps), Features.of(options)
    return 1.0, Features.of({**options, "eps": eps})


@dataclass(frozen=True, eq=False, kw_only=True)
class Features:
    """The options of a ball or a distance: each an array, or the name of a file that holds one.

    An array has the shape of an input, or one that broadcasts to it; of images and signals one
    number for each channel will do. With one dimension more it has a row for each example, in their
    order. The norm runs over the features that may change; the others never do.

    Args:
        mask: which features may change (not 0).
        fixed: numbers of features of a table, or channels, that may not.
        eps: the size of each feature: the norm is that of the change divided by it. Where it is 0
            the feature may not change.
        lo, hi: values that a feature may not leave, besides those of the box.
        patch: the window of an image that may change.

    Example:
        >>> str(Features.of({"fixed": "0;2"})), Features.of({}) is None
        (',fixed=0;2', True)
    """

    mask: Array | None = None
    fixed: Array | None = None
    eps: Array | None = None
    lo: Array | None = None
    hi: Array | None = None
    patch: Patch | None = None
    rows: Tensor | None = None
    """Of per-example arrays the rows that the next inputs have, ``(B,)``; None for all."""

    @classmethod
    def of(cls, options: Mapping[str, Any]) -> "Features | None":
        """From options by name, None among them; None if all are."""
        known = [f.name for f in fields(cls) if f.name != "rows"]
        if unknown := [word for word in options if word not in known]:
            raise InputError(f"a threat has no option '{unknown[0]}': give {', '.join(known)}")
        some = {word: value for word, value in options.items() if value is not None}
        if not some:
            return None
        made: dict[str, Any] = {
            word: Patch.of(value) if word == "patch" else Array.of(value)
            for word, value in some.items()
        }
        return cls(**made)

    @classmethod
    def read(cls, words: list[str], notation: str) -> "Features | None":
        """From the words of a notation after the size, ``mask=FILE``.

        Raises:
            InputError: for a word that is no option.
        """
        known = [f.name for f in fields(cls) if f.name != "rows"]
        options: dict[str, str] = {}
        for word in words:
            found = _WORD.fullmatch(word)
            if found is None or found[1] not in known or not found[2]:
                raise InputError(f"{notation}: '{word}' is no option of a threat: give {WORDS}")
            if found[1] in options:
                raise InputError(f"{notation}: {found[1]} is given twice")
            options[found[1]] = found[2]
        return cls.of(options)

    def __str__(self) -> str:
        held = {f.name: getattr(self, f.name) for f in fields(self) if f.name != "rows"}
        return "".join(
            f",{word}={value.name if isinstance(value, Array) else value}"
            for word, value in held.items()
            if value is not None
        )

    @property
    def anywhere(self) -> tuple[int, int] | None:
        """Rows and columns of a patch that may lie anywhere; None without one."""
        patch = self.patch
        return None if patch is None or patch.row is not None else (patch.height, patch.width)

    @property
    def arrays(self) -> list[Array]:
        """The arrays that it is made of, for the record."""
        held = (getattr(self, f.name) for f in fields(self))
        return [value for value in held if isinstance(value, Array)]

    def take(self, index: Tensor) -> Self:
        """The same for the examples ``index`` (N,) int64 of those that it is for."""
        if not self.by_example:
            return self
        index = index.cpu()
        return replace(self, rows=index if self.rows is None else self.rows[index])

    @cached_property
    def by_example(self) -> bool:
        """Whether arrays may have a row for each example."""
        return any(array.value.dim() > 1 for array in self.arrays)

    @property
    def only_some(self) -> bool:
        """Whether it says which features may change, for all examples alike, and no more."""
        return all(v is None for v in (self.eps, self.lo, self.hi, self.anywhere))

    def free_of(self, x0: Tensor) -> Tensor:
        """Which features of inputs ``x0`` (S, ...) may change, ``(S, ...)`` bool."""
        view = self.view(x0, Box(-torch.inf, torch.inf))
        return torch.ones_like(x0, dtype=torch.bool) if view.free is None else view.free

    def differs(self, dims: int) -> bool:
        """Whether examples differ, of inputs ``(S, ...)`` of so many dimensions."""
        return any(array.value.dim() == dims for array in self.arrays)

    def view(self, x0: Tensor, box: Box, place: Tensor | None = None) -> View:
        """What attacks see of inputs ``x0`` (S, ...): the features that may change, in their unit.

        Args:
            place: of a patch in each input, ``(S,)``.

        Raises:
            InputError: for an array of another shape, no feature that may change, and inputs that
                leave ``lo`` or ``hi``.
        """
        free, scale = self._free(x0), None
        if self.eps is not None:
            scale = self._spread(self.eps, "eps", x0).double()
            if not bool((scale >= 0).all()) or not bool(scale.isfinite().all()):
                raise InputError(f"eps={self.eps.name} holds numbers below 0 or infinite ones")
            free = (scale > 0) if free is None else free & (scale > 0)
        low, high = box.bounds(x0)
        if self.lo is not None or self.hi is not None:
            low, high = self._limits(x0, low, high)
        own = place is not None or self.differs(x0.dim())
        window = None if self.patch is None else self.patch.window(x0, place)
        return View.of(
            x0, free, scale, (low, high), own=own, window=window, anywhere=self.anywhere is not None
        )

    def _free(self, x0: Tensor) -> Tensor | None:
        """Which features may change but for a patch, ``(1 or S, ...)`` bool; None for all."""
        free: Tensor | None = None
        if self.mask is not None:
            free = self._spread(self.mask, "mask", x0) != 0
        if self.fixed is not None:
            open_ = torch.ones(x0.shape[1], dtype=torch.bool, device=x0.device)
            named = self.fixed.value.long()
            if bool((named < 0).any()) or bool((named >= len(open_)).any()):
                raise InputError(
                    f"fixed={self.fixed.name}: inputs {tuple(x0.shape[1:])} have features 0 to "
                    f"{len(open_) - 1}"
                )
            open_[named.to(x0.device)] = False
            open_ = open_.view(1, -1, *[1] * (x0.dim() - 2)).expand(1, *x0.shape[1:])
            free = open_ if free is None else free & open_
        return free

    def _limits(self, x0: Tensor, low: Tensor, high: Tensor) -> tuple[Tensor, Tensor]:
        """The box's ends and ``lo`` and ``hi`` in one, ``(1 or S, ...)`` each."""
        if self.lo is not None:
            low = torch.maximum(low, round_up(self._spread(self.lo, "lo", x0), x0))
        if self.hi is not None:
            high = torch.minimum(high, -round_up(-self._spread(self.hi, "hi", x0).double(), x0))
        outside = ((x0 < low) | (x0 > high)).flatten(1).any(1)
        if bool(outside.any()):
            bad = int(outside.nonzero()[0])
            raise InputError(
                f"{int(outside.sum())} of {len(x0)} inputs (the first: {bad}) leave the values of "
                "lo and hi: give limits that the clean inputs keep"
            )
        return low, high

    def _spread(self, array: Array, word: str, x0: Tensor) -> Tensor:
        """An array as ``(1 or S, ...)``, of the shape of the inputs."""
        value, shape = array.value, x0.shape[1:]
        if value.dim() == len(shape) + 1:
            value = rows_of(value, self.rows, len(x0), f"{word}={array.name}")
        elif value.dim() == 1 and len(shape) > 1 and len(value) == shape[0]:
            value = value.view(1, -1, *[1] * (len(shape) - 1))
        else:
            value = value.unsqueeze(0)
        try:
            return value.to(x0.device).expand(len(value), *shape)
        except RuntimeError:
            raise InputError(
                f"{word}={array.name} has shape {tuple(array.value.shape)}, which does not go with "
                f"inputs {tuple(shape)}: give {tuple(shape)}, one number a channel, or "
                f"{('N', *shape)} for N examples".replace("'", "")
            ) from None
