"""Are the sizes of threats in the units of the inputs? What 8 for 8/255, or the reverse, does."""

from collections.abc import Sequence
from math import inf, prod

import torch
from torch import Tensor

from hauberk.errors import InputError
from hauberk.evaluation.core.findings import Finding
from hauberk.spec.numbers import shortest
from hauberk.threats.ball import Ball
from hauberk.threats.base import Box, Threat
from hauberk.threats.distances import LpRegion

PAIRED = 64
"""Inputs that are looked at."""
TINY = 5e-4
"""Share of the box, feature by feature, below which a size is tiny: 8/255 is 0.03."""


def odd_sizes(threats: Sequence[Threat], x: Tensor, y: Tensor, box: Box) -> list[Finding]:
    """Sizes that nothing can resist, or that change nothing.

    Of several sizes of one kind, such as those of a curve, all must be so.

    Args:
        threats: unions are taken apart.
        x: some inputs ``(n, ...)``; y: their labels ``(n,)``.
    """
    some, labels = x.detach().cpu(), y.cpu()
    kinds: dict[str, list[Threat]] = {}
    for threat in (part for each in threats for part in each.parts):
        kinds.setdefault(threat.kind, []).append(threat)
    found = []
    for same in kinds.values():
        for check in (all_alike, next_to_nothing):
            each = [check(threat, some, labels, box) for threat in same]
            if all(each):
                found += [one for one in each[:1] if one is not None]
    return found


def all_alike(threat: Threat, x: Tensor, y: Tensor, box: Box) -> Finding | None:
    """A finding if inputs of different classes can be turned into one and the same."""
    order = torch.randperm(len(x), generator=torch.Generator().manual_seed(0))
    other = order.roll(1)
    pairs = y[order] != y[other]
    a, b = x[order[pairs]], x[other[pairs]]
    met = _meet(threat, a, b, box)
    if len(a) >= 4 and met >= 0.9 * len(a):
        seen = f"{met} of {len(a)} pairs of clean inputs of different classes can be made the same"
    elif len(x) >= 4 and _centred(threat, x, box) >= 0.9 * len(x):
        seen = "nearly every clean input can be made the middle of the box, the same for all"
    else:
        return None
    lo, hi = box.bounds(x)
    small = threat.kind == "linf" and float(hi.max() - lo.min()) <= 2
    fraction = ", such as linf:8/255" if small else ""
    return Finding.of(
        "threat larger than the data", f"{seen}: no model can resist that",
        f"Give a smaller size, in the units of the inputs{fraction}", str(threat),
    )  # fmt: skip


def next_to_nothing(threat: Threat, x: Tensor, y: Tensor, box: Box) -> Finding | None:
    """A finding if the size of a ball is tiny beside the box, or less than a step of the data."""
    if not isinstance(threat, Ball) or not threat.eps or threat.p == 0:
        return None
    lo, hi = box.bounds(x.double())
    width = float((hi - lo).expand(x.shape[1:]).mean())
    if not 0 < width < inf:
        return None
    features = prod(x.shape[1:])
    largest = threat.eps / width
    share = largest / features ** (1 / threat.p)
    steps = width >= 16 and threat.eps < 1 and bool((x == x.round()).all())
    if not steps and not (share < TINY and largest < 0.1):
        return None
    what = f"its size is {100 * share:.2g}% of the box {box} in every feature"
    if steps:
        what = f"its size is less than one step of the inputs, whole numbers in the box {box}"
    size = f"l{shortest(threat.p)}:{threat.eps * width:.4g}"
    remedy = "Give a larger size, in the units of the inputs"
    if width > 2:
        remedy = (
            f"Sizes are in the units of the inputs: what is {threat} for inputs in [0, 1] is "
            f"{size} here; or scale the inputs to [0, 1]"
        )
    return Finding.of(
        "threat next to nothing", what,
        remedy,
        str(threat),
    )  # fmt: skip


def _meet(threat: Threat, a: Tensor, b: Tensor, box: Box) -> int:
    """How many of the pairs can be turned into the same input: one of the two, or half-way."""
    if not len(a):
        return 0
    try:
        one, two = threat.at(a, box), threat.at(b, box)
        if not isinstance(one, LpRegion):
            return 0
        half = ((a.double() + b.double()) / 2).to(a.dtype)
        both = one.contains(half) & two.contains(half)
        return int((both | one.contains(b)).sum())
    except InputError:  # for other inputs, or for groups
        return 0


def _centred(threat: Threat, x: Tensor, box: Box) -> int:
    """How many inputs can be turned into the middle of the box."""
    lo, hi = box.bounds(x)
    middle = ((lo + hi) / 2).expand_as(x)
    if not bool(middle.isfinite().all()):
        return 0
    try:
        region = threat.at(x, box)
        return int(region.contains(middle).sum()) if isinstance(region, LpRegion) else 0
    except InputError:
        return 0
