"""Threats and metrics as text: ``linf:8/255``, ``rt:30,3``, ``affine(A,B)``; ``|`` unites.

Each threat class brings its own reader (:meth:`hauberk.threats.Threat.read`), its ``grammar`` and
its ``kinds``; classes defined elsewhere are read as well, once they are imported.
"""

import re

from hauberk.errors import InputError
from hauberk.threats.base import Threat, Trait, compact, kind_of, threat_classes
from hauberk.threats.base import grammar as grammar
from hauberk.threats.features import Features
from hauberk.threats.metric import Metric

_METRIC = re.compile(r"l(inf|[0-9]*\.?[0-9]+(?:e[+-]?[0-9]{1,3})?)")


def threat(text: str | Threat) -> Threat:
    """Read a threat's notation; ``str(threat)`` writes it back.

    Args:
        text: as :func:`hauberk.threats.base.grammar` describes; capitals and spaces do not matter.

    Raises:
        InputError: if the text is not a threat; the message shows the grammar.

    Example:
        >>> threat("linf:8/255"), threat("l2:0.5 | l1:12")
        (Linf(0.0313725), Union(L2(0.5), L1(12)))
    """
    return Threat.of(text)


def metric(text: str | Threat) -> Metric:
    """Read a distance: ``linf``, ``l2``, ``l1``, ``l0`` or ``lP`` with a number P >= 1.

    Raises:
        InputError: if the text is none of these.

    Example:
        >>> metric("l2")
        Metric(2)
    """
    head, *words = compact(str(text)).split(",")
    found = _METRIC.fullmatch(head.lower())
    if found is None:
        raise InputError(f"unknown metric '{text}': write linf, l2, l1, l0, or lP with P >= 1")
    return Metric(float(found[1]), Features.read(words, str(text)) if words else None)


def distance(text: str | Threat) -> Threat:
    """Read a distance: one that :func:`metric` reads, or that of a measured threat without size.

    Raises:
        InputError: for anything else.

    Example:
        >>> distance("l2"), str(distance("perceptual(conv1 + conv2)"))
        (Metric(2), 'perceptual(conv1+conv2)')
    """
    written = str(text).strip()
    if "(" not in written.partition(",")[0]:
        return metric(text)
    found = threat(f"{written}:inf")
    if Trait.EVALUATED not in found.traits:
        raise InputError(
            f"unknown metric '{text}': write linf, l2, l1, l0, lP, or a perceptual one"
        )
    return found


def is_kind(word: str) -> bool:
    """Whether a suite may say that a stage is for such threats: a kind, or a trait.

    Example:
        >>> is_kind("l1.5"), is_kind("measured"), is_kind("ball"), is_kind("l")
        (True, True, True, False)
    """
    traits = {trait.value for trait in Trait}
    return word in traits or any(re.fullmatch(cls.kinds, word) for cls in threat_classes())


def traits_of(notation: str) -> frozenset[Trait]:
    """The traits of a threat by its notation, also of one that text alone cannot make.

    Example:
        >>> Trait.RUGGED in traits_of("finite:flips:3"), Trait.RUGGED in traits_of("linf:0.3")
        (True, False)
    """
    kind = kind_of(notation)
    for cls in threat_classes():
        if re.fullmatch(cls.kinds, kind):
            return cls.traits_of(kind)
    return frozenset()
