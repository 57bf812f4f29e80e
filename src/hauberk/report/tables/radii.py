"""A radius run's summary as tables for a terminal, in 80 columns."""

from math import isinf
from typing import TYPE_CHECKING, Any

from hauberk.report.tables.accuracy import (
    _NONE,
    Summary,
    _cost,
    _grid,
    _notes,
    _print,
    _share,
    _text,
)

if TYPE_CHECKING:
    from rich.console import Console

_QUANTILES = (("5%", "0.05"), ("25%", "0.25"), ("median", "0.5"), ("75%", "0.75"), ("95%", "0.95"))
_BESIDE = 6
"""Metrics whose accuracies fit side by side."""


def table(summary: Summary) -> str:
    """One radius run's summary as text, at most 80 columns wide."""
    return _text(lambda console: print_table(summary, console))


def print_table(summary: Summary, console: "Console | None" = None) -> None:
    """Print one radius run's summary with rich; to standard output if no console is given."""
    from rich.console import Group

    metrics = summary["metrics"]
    head = ["radius", *(name for name, _ in _QUANTILES), "mean", "found", "none"]
    rows = [("bold" if name == "union" else "", _row(name, m)) for name, m in metrics.items()]
    names = [name for name, m in metrics.items() if m.get("accuracies")]
    more = []
    for start in range(0, len(names), _BESIDE):
        more += ["", _accuracies(summary, names[start : start + _BESIDE])]
    _print(Group(_grid(head, rows), *more), _about(summary), console)


def _row(name: str, m: Summary) -> list[str]:
    cells = [_radius(m["quantiles"][key], m["largest"]) for _, key in _QUANTILES]
    mean = ("≥ " if m["mean_is_bound"] else "") + f"{m['mean']:.4g}"
    return [name, *cells, mean, str(m["found"]), str(m["unfound"])]


def _radius(value: Any, largest: float) -> str:
    """A radius; infinite ones are text in a summary read from disk."""
    return f"> {largest:.4g}" if isinf(float(value)) else f"{float(value):.4g}"


def _accuracies(summary: Summary, names: list[str]) -> Any:
    metrics, n = summary["metrics"], summary["n"]
    sizes = sorted({size for name in names for size in metrics[name]["accuracies"]}, key=float)
    rows = [("bold", ["0 (clean)", *[_share(summary["clean_accuracy"], n)] * len(names)])]
    for size in sizes:
        shares = [metrics[name]["accuracies"].get(size) for name in names]
        rows.append(("", [f"{float(size):.4g}", *(_share(share, n) for share in shares)]))
    for label, key in (
        ("AvgAcc", "average_accuracy"), ("AvgRobAcc", "average_robust_accuracy"),
    ):  # fmt: skip
        rows.append(("bold", [label, *(_share(metrics[name][key], n) for name in names)]))
    return _grid(["accuracy at eps", *names], rows)


def _about(summary: Summary) -> list[str]:
    told = [f"{summary['n']} examples, {_share(summary['clean_accuracy'], summary['n'])} correct"]
    told.append(f"solver {summary['solver']}")
    if summary.get("budget"):
        told.append(f"budget {summary['budget']}")
    told += [f"seed {summary['seed']}", f"hauberk {summary['hauberk_version']}"]
    notes = [", ".join(told), f"cost: {_cost(summary)}"]
    for name, m in summary["metrics"].items():
        by = ", ".join(f"{who} {count}" for who, count in m["solvers"].items())
        notes.append(f"found by ({name}): {by or _NONE}")
        if m.get("nearest"):
            near = ", ".join(f"{ball} {count}" for ball, count in m["nearest"].items())
            notes.append(f"nearest ball: {near}; radii of the union are in units of its balls")
    if any(m["unfound"] for m in summary["metrics"].values()):
        notes.append(
            "none: no point was found, which proves no radius; counted as beyond all found: "
            "quantiles there are '> the largest found', the mean counts them as the largest"
        )
    return notes + _notes(summary, bounds=False)


def print_patterns(study: Summary, console: "Console | None" = None) -> None:
    """Print what ``patterns.json`` says of the runs: how many features their points change."""
    head = ["", "sparsity", "quartiles", "unchanged", "distance", "examples"]

    def number(value: Any) -> str:
        return _NONE if value is None else f"{value:.4g}"

    rows = []
    for row in study["compared"]:
        quartiles = f"{number(row['lower'])}–{number(row['upper'])}"
        zeros = _NONE if row["zeros"] is None else f"{100 * row['zeros']:.1f}%"
        cells = [number(row["median"]), quartiles, zeros, number(row["size"])]
        rows.append(("", [f"{row['name']} ({row['problem']})", *cells, str(row["examples"])]))
    notes = [
        f"{study['given']} examples, {study['correct']} correct; (1) most loss within eps, (2) "
        "least distance",
        "sparsity: median of the l1 norm by the l2 norm, 1 for one feature, its root for n alike; "
        "unchanged: mean share of features; distance: median",
    ]
    _print(_grid(head, rows), notes, console)
