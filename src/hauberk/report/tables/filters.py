"""First-layer filters of several models, as a table for a terminal."""

from collections.abc import Mapping

from hauberk.report.tables.grid import NONE, Line, Summary, TextTable, fixed

SHOWN = 6
"""Most thresholds named for one model."""


def table(panels: Mapping[str, Summary]) -> TextTable:
    """How many filters have a single weight, and their thresholds.

    Args:
        panels: by model, what :meth:`hauberk.analysis.Filters.to_dict` gives.
    """
    head = ["", "layer", "filters", "one weight", "their thresholds"]
    rows: list[Line] = []
    for name, found in panels.items():
        at = [row["t"] for row in found["thresholds"]]
        ends = [fixed(end, ".2g") for end in (min(at), max(at))] if at else [NONE]
        cells = [found["layer"], str(found["filters"]), str(found["count"])]
        rows.append(("", [name, *cells, " to ".join(dict.fromkeys(ends))]))
    single = {found["single"] for found in panels.values()}
    notes = [
        f"one weight: the largest has {100 * share:g}% of the filter's absolute weights or more"
        for share in sorted(single)
    ]
    for name, found in panels.items():
        words = [written(row["a"], row["t"]) for row in found["thresholds"]]
        more = [f"and {len(words) - SHOWN} more"] if len(words) > SHOWN else []
        if words:
            notes.append(f"{name}: {', '.join([*words[:SHOWN], *more])}")
    notes += [
        f"{name}: t is in units of the image after its standardisation"
        for name, found in panels.items()
        if found["standardised"]
    ]
    return TextTable([(head, rows)], notes)


def written(a: float, t: float) -> str:
    """A filter of one weight as ``0.6 (x - 0.3)``.

    Example:
        >>> written(0.6, 0.3), written(-1.34, -0.25)
        ('0.6 (x - 0.3)', '-1.34 (x + 0.25)')
    """
    return f"{fixed(a, '.3g')} (x {'-' if t >= 0 else '+'} {fixed(abs(t), '.2g')})"
