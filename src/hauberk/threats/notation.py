"""Threats as text: ``linf:8/255``, ``l1.5:3``, ``rt:30,3``, ``affine(A,B)``; ``|`` unites."""

import re
from math import inf

from hauberk.errors import InputError
from hauberk.spec.numbers import number
from hauberk.threats.affine import read_affine
from hauberk.threats.ball import L0, Linf, Lp
from hauberk.threats.base import Threat
from hauberk.threats.finite import Swaps
from hauberk.threats.metric import Metric
from hauberk.threats.union import Union
from hauberk.threats.warp import RotationTranslation

GRAMMAR = (
    "linf:EPS, l2:EPS, l1:EPS, l0:COUNT or lP:EPS with a number P >= 1, where EPS is a number or a "
    "fraction (linf:8/255, l2:0.5, l1:12, l0:10, l1.5:3); or rt:DEGREES,PIXELS (rt:30,3) for "
    "rotations and translations; swaps:COUNT; affine(A,B) for part of A, then part of the ball B; "
    "join several with '|'"
)
_NUMBER = r"[0-9]*\.?[0-9]+(?:e[+-]?[0-9]{1,3})?"
_BALL = re.compile(rf"l(?P<p>inf|{_NUMBER}):(?P<size>[+-]?{_NUMBER}(?:/{_NUMBER})?)")
_METRIC = re.compile(rf"l(?P<p>inf|{_NUMBER})")
_SWAPS = re.compile(rf"swaps:(?P<n>{_NUMBER})")
_WARP = re.compile(rf"rt:(?P<degrees>[+-]?{_NUMBER}),(?P<pixels>[+-]?{_NUMBER})")


def threat(text: str) -> Threat:
    """Read a threat's notation; ``str(threat)`` writes it back.

    Raises:
        InputError: if the text is not a threat; the message shows the grammar.
    """
    return _one_or_union([_read(part) for part in str(text).split("|")])


def metric(text: str) -> Metric:
    """Read a distance: ``linf``, ``l2``, ``l1``, ``l0`` or ``lP`` with a number P >= 1.

    Raises:
        InputError: if the text is none of these.
    """
    found = _METRIC.fullmatch(str(text).strip().lower())
    if found is None:
        raise InputError(f"unknown metric '{text}': write linf, l2, l1, l0, or lP with P >= 1")
    return Metric(float(found["p"]))


def _one_or_union(threats: list[Threat]) -> Threat:
    return threats[0] if len(threats) == 1 else Union(*threats)


def _read(text: str) -> Threat:
    text = text.strip().lower().replace(" ", "")
    mixed = read_affine(text, _read)
    if mixed is not None:
        return mixed
    swaps = _SWAPS.fullmatch(text)
    if swaps is not None:
        return Swaps(float(swaps["n"]))
    warp = _WARP.fullmatch(text)
    if warp is not None:
        return RotationTranslation(float(warp["degrees"]), float(warp["pixels"]))
    found = _BALL.fullmatch(text)
    if found is None:
        raise InputError(f"unknown threat '{text}': write {GRAMMAR}")
    size = number(found["size"])
    if size is None:
        raise InputError(f"the size of threat '{text}' is no finite number: write {GRAMMAR}")
    p = float(found["p"])
    if p == 0:
        return L0(size)
    return Linf(size) if p == inf else Lp(p, size)
