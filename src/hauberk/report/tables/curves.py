"""The summary of curves of accuracy against eps as a table for a terminal, in 80 columns."""

from hauberk.report.tables.grid import (
    Grid,
    Line,
    Summary,
    TextTable,
    fixed,
    origin,
    percent,
)

_CROSSINGS = 6
"""Crossings that are listed for each panel."""


def table(summary: Summary) -> TextTable:
    """Accuracies at a few sizes, a grid for each panel, and where models change places.

    Args:
        summary: as ``summary.json`` of ``hauberk curves`` holds it.

    Example:
        >>> at = [{"eps": 0.5, "accuracy": {"net": 0.5}}]
        >>> panel = {"by": "radius", "accuracy": at, "crossings": []}
        >>> told = {"n": 10, "clean": {"net": 1.0}, "least": 0.0, "panels": {"l2": panel}}
        >>> str(table(told)).splitlines()[2].split()
        ['net', '100.0%', '50.0%']
    """
    n, grids, notes = summary["n"], [], []
    for name, panel in summary["panels"].items():
        rows: list[Line] = [
            (
                "",
                [
                    model,
                    percent(clean, n),
                    *(percent(at["accuracy"][model], n) for at in panel["accuracy"]),
                ],
            )
            for model, clean in summary["clean"].items()
        ]
        head = [name, "clean", *(fixed(at["eps"]) for at in panel["accuracy"])]
        made: Grid = (head, rows)
        grids.append(made)
        several = len(summary["clean"]) > 1
        notes += _crossings(name, panel["crossings"], summary["least"]) if several else []
    ways = ", ".join(f"{name} by {panel['by']}" for name, panel in summary["panels"].items())
    return TextTable(grids, [f"{n} examples, {ways}, {origin(summary)}", *notes])


def _crossings(name: str, found: "list[Summary]", least: float) -> list[str]:
    if not found:
        return [f"{name}: no two models change places by more than {percent(least)}"]
    lines = [
        f"{name}: {one['before']} leads below {one['eps']:.4g}, {one['after']} from there"
        for one in found[:_CROSSINGS]
    ]
    more = len(found) - _CROSSINGS
    return lines + ([f"{name}: {more} more crossings"] if more > 0 else [])
