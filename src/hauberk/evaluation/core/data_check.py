"""Do the examples say what they seem to? What can be seen without running a model."""

from math import comb, exp, log
from zlib import crc32

from torch import Tensor

from hauberk.evaluation.core.findings import Finding
from hauberk.threats.base import Box


def odd_data(x: Tensor, y: Tensor, classes: int, box: Box) -> list[Finding]:
    """What is odd about some inputs ``x`` (n, ...) and all labels ``y`` (N,) of a run.

    Args:
        classes: of the model.
    """
    some = x.detach().cpu()
    found = (few_classes(y.cpu(), classes), little_of_the_box(some, box), repeated(some))
    return [each for each in found if each is not None]


def few_classes(y: Tensor, classes: int) -> Finding | None:
    """A finding if the labels are of few classes, as the first ones of sorted data are."""
    n, seen = len(y), y.unique()
    if n < 10 or likely(n, len(seen), classes) > 1e-3:
        return None
    # A subset of many classes is often meant, unless its examples are sorted.
    changes = int((y.diff() != 0).sum())
    if changes + 1 > len(seen) and (classes > 100 or 2 * len(seen) > classes):
        return None
    which = f"class {int(seen[0])} only" if len(seen) == 1 else f"{len(seen)} classes"
    return Finding.of(
        "few classes",
        f"the {n} examples are of {which}, and the model has {classes}"
        + ("; they are sorted by class" if 1 < len(seen) == changes + 1 else ""),
        "Accuracies are those of these classes: take the examples from all of the data, in random "
        "order",
    )


def likely(n: int, seen: int, classes: int) -> float:
    """A bound on the chance that n labels, each class equally likely, are of so few classes.

    Example:
        >>> round(likely(10, 1, 10), 12), likely(10, 6, 10) > 0.5
        (1e-09, True)
    """
    if seen >= classes:
        return 1.0
    return min(1.0, exp(min(0.0, log(comb(classes, seen)) + n * log(seen / classes))))


def little_of_the_box(x: Tensor, box: Box) -> Finding | None:
    """A finding if the inputs use at most half of the box."""
    if x.numel() < 100:
        return None
    lo, hi = box.bounds(x.double())
    width = hi - lo
    if not bool((width.isfinite() & (width > 0)).all()):
        return None
    place = (x.double() - lo) / width
    low, high = float(place.min()), float(place.max())
    if high - low > 0.5:
        return None
    a, b = float(x.min()), float(x.max())
    if a == b:
        return Finding.of(
            "blank inputs", f"all {len(x)} inputs looked at are {a:.4g} everywhere",
            "Look at how the data are read",
        )  # fmt: skip
    return Finding.of(
        "data fill little of the box",
        f"the inputs lie in [{a:.4g}, {b:.4g}], {100 * (high - low):.2g}% of the box {box}",
        "Give the box that the data have, or scale the data to it: a threat's size and the box "
        "must be in the units of the inputs",
    )


def repeated(x: Tensor) -> Finding | None:
    """A finding if many inputs are the same."""
    n = len(x)
    if n < 20 or x[0].numel() < 64:
        return None
    each = len({crc32(row.contiguous().numpy().tobytes()) for row in x.float()})
    if each > 0.9 * n:
        return None
    return Finding.of(
        "repeated inputs",
        f"of {n} inputs looked at only {each} are different",
        "Look at how the data are read: repeated examples make the interval too narrow",
    )
