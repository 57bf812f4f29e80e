"""Numbers as people write them: ``0.03``, ``8/255``, ``1e-3``, ``inf``."""

import re
from fractions import Fraction
from math import inf, isfinite

from hauberk.errors import InputError

_DECIMAL = r"(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:e[+-]?[0-9]{1,3})?"
_NUMBER = re.compile(rf"([+-]?{_DECIMAL})(?:/({_DECIMAL}))?")


def number(text: str) -> float | None:
    """The number that a text stands for, rounded once; None if it is not a number.

    Args:
        text: a decimal (``0.03``, ``1e-3``), a fraction of two decimals (``8/255``), ``inf`` or
            ``-inf``. Spaces around it and capitals do not matter. ``nan``, a division by zero and
            what is too large for a float are not numbers.

    Example:
        >>> number("8/255") == 8 / 255
        True
        >>> number("1e-3"), number("inf"), number("1/0"), number("eps")
        (0.001, inf, None, None)
    """
    text = text.strip().lower()
    if text in ("inf", "+inf", "-inf"):
        return -inf if text[0] == "-" else inf
    found = _NUMBER.fullmatch(text)
    if found is None:
        return None
    try:
        value = float(Fraction(found[1]) / Fraction(found[2] or 1))
    except (ZeroDivisionError, OverflowError):
        return None
    return value if isfinite(value) else None


def number_in(text: str, notation: str) -> float:
    """The finite number that a part of a notation stands for.

    Args:
        text: the part, a decimal or a fraction of two decimals.
        notation: the whole, which the message shows.

    Raises:
        InputError: if the part is no finite number.

    Example:
        >>> number_in("1/4", "head:20,1/4")
        0.25
        >>> number_in("abc", "head:20,abc")
        Traceback (most recent call last):
        hauberk.errors.InputError: head:20,abc: 'abc' is no number: give e.g. 0.3 or 8/255
    """
    found = number(text)
    if found is None or not isfinite(found):
        raise InputError(f"{notation}: '{text}' is no number: give e.g. 0.3 or 8/255")
    return found


def count_in(text: str, notation: str) -> int:
    """The whole number, 0 or more, that a part of a notation stands for; see :func:`number_in`.

    Raises:
        InputError: if the part is no such number.

    Example:
        >>> count_in("20", "head:20,1/4")
        20
    """
    found = number(text)
    if found is None or not isfinite(found) or found < 0 or found % 1:
        raise InputError(f"{notation}: '{text}' is no whole number: give e.g. 20")
    return int(found)


def as_number(value: object) -> object:
    """A text that is a number as ``int`` or ``float``; any other value unchanged.

    Args:
        value: what YAML or a command line gave, where ``1e-3`` and ``8/255`` are text.

    Example:
        >>> as_number("40"), as_number("1/4"), as_number(3), as_number("margin")
        (40, 0.25, 3, 'margin')
    """
    if not isinstance(value, str):
        return value
    found = number(value)
    if found is None:
        return value
    whole = value.strip().lstrip("+-").isdecimal()
    return int(value) if whole else found


def shortest(value: float, levels: int = 0) -> str:
    """The shortest text of a number that :func:`number` reads back as the same.

    Args:
        value: the number.
        levels: where given, a number that takes more than eight characters is written as a
            fraction of so many levels, if that is what it is.

    Example:
        >>> shortest(0.5), shortest(2.0), shortest(inf), shortest(8 / 255, levels=255)
        ('0.5', '2', 'inf', '8/255')
    """
    text = repr(float(value)).removesuffix(".0")
    if levels and len(text) > 8 and isfinite(value * levels):
        share = Fraction(round(value * levels), levels)
        if float(share) == value:
            return f"{round(value * levels)}/{levels}"
    return text
