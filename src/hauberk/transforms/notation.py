"""Transforms as text: ``rot:30``, ``crop:0.6..1``, ``sometimes(flh,0.8)``; ``+`` composes."""

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from math import isfinite
from typing import ClassVar

from torch import Tensor

from hauberk.errors import InputError
from hauberk.maths.rng import Draws
from hauberk.spec.imports import import_object
from hauberk.spec.numbers import number
from hauberk.transforms.base import Function, Transform, apply, check_function, is_random
from hauberk.transforms.combined import Compose, Sometimes
from hauberk.transforms.geometry import CropResize, RandomCropResize, RandomRotate, Rotate
from hauberk.transforms.jpeg import JPEG
from hauberk.transforms.pixels import Brightness, FlipH, FlipV, Gamma, Identity
from hauberk.transforms.straight_through import StraightThrough

GRAMMAR = (
    "ori, flh, flv, bri:SHIFT, bri:SHIFT,clip, gam:GAMMA, crop:SIZE, crop:LOW..HIGH, rot:DEGREES, "
    "rot:LOW..HIGH, jpeg:QUALITY, sometimes(TRANSFORM,P), through(TRANSFORM), your own callable as "
    "package.module:name or file.py:name, or several of these joined with '+'"
)
_WRAPPED = re.compile(r"([a-z]+)\s*\((.*)\)", re.IGNORECASE | re.DOTALL)


def transform(notation: str) -> Transform:
    """The transform that a text names; ``str(transform)`` is its inverse.

    Args:
        notation: such as ``rot:30``, ``flh+rot:-10..10`` or ``sometimes(flh,0.8)``; or the import
            path of a callable from images (B, C, H, W) to images, ``package.module:name`` or
            ``file.py:name``, whose module is then run. :func:`hauberk.transforms.check` tests
            what the callable does.

    Raises:
        InputError: if the text is no transformation; the message lists the grammar.

    Example:
        >>> from hauberk.transforms import transform
        >>> transform("flh + rot:30")
        Compose(parts=(FlipH(), Rotate(degrees=30.0)))
    """
    if not isinstance(notation, str):
        raise InputError(f"a transform as text was expected, not {notation!r}: write {GRAMMAR}")
    parts = [_read(part) for part in _split(notation, "+")]
    return parts[0] if len(parts) == 1 else Compose(*parts)


@dataclass(frozen=True)
class Imported(Transform):
    """A user's callable, compared by the import path ``name`` that it was loaded from.

    Args:
        function: from images (B, C, H, W) to images.
        name: its import path.

    Example:
        >>> import torch
        >>> from hauberk.transforms import Imported
        >>> str(Imported(torch.sigmoid, "torch:sigmoid"))
        'torch:sigmoid'
    """

    function: Function = field(compare=False, repr=False)
    name: str

    shape_matters: ClassVar[bool] = False

    @property
    def random(self) -> bool:
        return is_random(self.function)

    def apply(self, x: Tensor, draws: Draws | None, draw: int | Tensor) -> Tensor:
        return apply(self.function, x, draws, draw)

    def __str__(self) -> str:
        return self.name


def _read(part: str) -> Transform:
    """One transform, not a composition."""
    part = part.strip()
    wrapped = _WRAPPED.fullmatch(part)
    if wrapped is not None:
        return _wrapped(wrapped[1].lower(), wrapped[2], part)
    word, colon, argument = part.partition(":")
    word = word.strip().lower()
    if word in _WORDS:
        argument = argument.strip().lower().replace(" ", "")
        if colon and not argument:
            raise InputError(f"transformation '{part}' ends in ':': write {GRAMMAR}")
        return _WORDS[word](argument, part)
    if not colon:
        raise InputError(f"unknown transformation '{part}': write {GRAMMAR}")
    found = import_object(part, "transform", known=GRAMMAR)
    if isinstance(found, Transform):
        return found
    check_function(f"transformation '{part}':", found)
    assert callable(found)
    return Imported(found, part)


def _wrapped(word: str, inside: str, part: str) -> Transform:
    if word == "through":
        return StraightThrough(transform(inside))
    if word != "sometimes":
        raise InputError(f"unknown transformation '{part}': write {GRAMMAR}")
    *inner, p = _split(inside, ",")
    if not inner:
        raise InputError(
            f"transformation '{part}' lacks a probability: write sometimes({inside},0.8)"
        )
    return Sometimes(transform(",".join(inner)), _number(p.strip(), part))


def _plain(make: Callable[[], Transform]) -> Callable[[str, str], Transform]:
    def read(argument: str, part: str) -> Transform:
        if argument:
            raise InputError(f"transformation '{part}' takes no number: write {GRAMMAR}")
        return make()

    return read


def _brightness(argument: str, part: str) -> Transform:
    shift, comma, clip = argument.partition(",")
    if comma and clip != "clip":
        raise InputError(f"transformation '{part}' is not understood: write {GRAMMAR}")
    return Brightness(_number(shift, part), clip=bool(comma))


def _gamma(argument: str, part: str) -> Transform:
    return Gamma(_number(argument, part))


def _crop(argument: str, part: str) -> Transform:
    ends = _range(argument, part)
    return CropResize(*ends) if len(ends) == 1 else RandomCropResize(*ends)


def _rotation(argument: str, part: str) -> Transform:
    ends = _range(argument, part)
    return Rotate(*ends) if len(ends) == 1 else RandomRotate(*ends)


def _jpeg(argument: str, part: str) -> Transform:
    quality = _number(argument, part)
    # Pillow takes whole numbers; another one is shown to the user as it is.
    return JPEG(int(quality) if quality.is_integer() else quality)  # type: ignore[arg-type]


_WORDS: dict[str, Callable[[str, str], Transform]] = {
    "ori": _plain(Identity),
    "flh": _plain(FlipH),
    "flv": _plain(FlipV),
    "bri": _brightness,
    "gam": _gamma,
    "crop": _crop,
    "rot": _rotation,
    "jpeg": _jpeg,
}


def _number(text: str, part: str) -> float:
    """A number or a fraction."""
    found = number(text)
    if found is None or not isfinite(found):
        raise InputError(
            f"transformation '{part}': '{text.strip()}' is no finite number: write {GRAMMAR}"
        )
    return found


def _range(text: str, part: str) -> list[float]:
    """One number, or the two ends of ``low..high``."""
    low, dots, high = text.partition("..")
    return [_number(end, part) for end in ((low, high) if dots else (low,))]


def _split(text: str, mark: str) -> Iterable[str]:
    """The pieces between the marks that stand outside of parentheses."""
    pieces, depth = [""], 0
    for sign in text:
        depth += (sign == "(") - (sign == ")")
        if depth < 0:
            break
        if sign == mark and depth == 0:
            pieces.append("")
        else:
            pieces[-1] += sign
    if depth:
        raise InputError(
            f"the parentheses of transformation '{text}' do not match: write {GRAMMAR}"
        )
    return pieces
