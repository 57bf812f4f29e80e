"""A radius run's summary as tables for a terminal, in 80 columns."""

from collections.abc import Sequence
from math import isinf
from typing import Any

from hauberk.report.tables.grid import (
    NONE,
    Grid,
    Line,
    Summary,
    TextTable,
    cost,
    origin,
    percent,
    remarks,
)

_QUANTILES = {"5%": "0.05", "25%": "0.25", "median": "0.5", "75%": "0.75", "95%": "0.95"}
_AVERAGES = {"AvgAcc": "average_accuracy", "AvgRobAcc": "average_robust_accuracy"}
_BESIDE = 6
"""Metrics whose accuracies fit side by side."""


def table(summary: Summary) -> TextTable:
    """One radius run's summary.

    Args:
        summary: as ``summary.json`` of :func:`hauberk.radius` holds it.
    """
    metrics = summary["metrics"]
    head = ["radius", *_QUANTILES, "mean", "found", "none"]
    rows = [("bold" if name == "union" else "", _row(name, m)) for name, m in metrics.items()]
    names = [name for name, m in metrics.items() if m.get("accuracies")]
    beside = [names[start : start + _BESIDE] for start in range(0, len(names), _BESIDE)]
    return TextTable(
        [(head, rows), *(_accuracies(summary, some) for some in beside)], _about(summary)
    )


def _row(name: str, m: Summary) -> list[str]:
    cells = [_radius(m["quantiles"][key], m["largest"]) for key in _QUANTILES.values()]
    mean = ("≥ " if m["mean_is_bound"] else "") + f"{m['mean']:.4g}"
    return [name, *cells, mean, str(m["found"]), str(m["unfound"])]


def _radius(value: Any, largest: float) -> str:
    """A radius; infinite ones are text in a summary read from disk."""
    return f"> {largest:.4g}" if isinf(float(value)) else f"{float(value):.4g}"


def _accuracies(summary: Summary, names: Sequence[str]) -> Grid:
    metrics, n = summary["metrics"], summary["n"]
    sizes = sorted({size for name in names for size in metrics[name]["accuracies"]}, key=float)
    rows: list[Line] = [
        ("bold", ["0 (clean)", *[percent(summary["clean_accuracy"], n)] * len(names)])
    ]
    for size in sizes:
        shares = [metrics[name]["accuracies"].get(size) for name in names]
        rows.append(("", [f"{float(size):.4g}", *(percent(share, n) for share in shares)]))
    for label, key in _AVERAGES.items():
        rows.append(("bold", [label, *(percent(metrics[name][key], n) for name in names)]))
    return ["accuracy at eps", *names], rows


def _about(summary: Summary) -> list[str]:
    metrics, clean = summary["metrics"], percent(summary["clean_accuracy"], summary["n"])
    budget = f", budget {summary['budget']}" if summary.get("budget") else ""
    notes = [
        f"{summary['n']} examples, {clean} correct, solver {summary['solver']}{budget}, "
        f"{origin(summary)}",
        f"cost: {cost(summary)}",
    ]
    if summary.get("boundary") == "soft_margin":
        notes.append(
            "SLM-margins, lower bounds of the margins: correct means that the label outweighs all "
            "other classes together"
        )
    for name, m in metrics.items():
        by = ", ".join(f"{solver} {count}" for solver, count in m["solvers"].items())
        notes.append(f"found by ({name}): {by or NONE}")
        if m.get("nearest"):
            near = ", ".join(f"{ball} {count}" for ball, count in m["nearest"].items())
            notes.append(f"nearest ball: {near}; radii of the union are in units of its balls")
    if any(m["unfound"] for m in metrics.values()):
        notes.append(
            "none: no point was found, which proves no radius; counted as beyond all found: "
            "quantiles there are '> the largest found', the mean counts them as the largest"
        )
    return notes + remarks(summary)
