"""What several solvers' perturbations look like, as a table for a terminal."""

from typing import TYPE_CHECKING, Any

from hauberk.report.tables.grid import NONE, Line, Summary, TextTable, grid

if TYPE_CHECKING:
    from rich.console import Console


def table(study: Summary) -> str:
    """The runs of a study as text, at most 80 columns wide.

    Args:
        study: what ``patterns.json`` holds (:meth:`hauberk.analysis.Study.to_dict`).
    """
    return _study(study).text()


def print_table(study: Summary, console: "Console | None" = None) -> None:
    """Print the runs of a study with rich; to standard output if no console is given."""
    _study(study).print(console)


def _study(study: Summary) -> TextTable:
    head = ["", "sparsity", "quartiles", "unchanged", "distance", "examples"]
    rows: list[Line] = []
    for row in study["compared"]:
        quartiles = f"{_number(row['lower'])}–{_number(row['upper'])}"
        zeros = NONE if row["zeros"] is None else f"{100 * row['zeros']:.1f}%"
        cells = [_number(row["median"]), quartiles, zeros, _number(row["size"])]
        rows.append(("", [f"{row['name']} ({row['problem']})", *cells, str(row["examples"])]))
    notes = [
        f"{study['given']} examples, {study['correct']} correct; (1) most loss within eps, (2) "
        "least distance",
        "sparsity: median of the l1 norm by the l2 norm, 1 for one feature, its root for n alike; "
        "unchanged: mean share of features; distance: median",
    ]
    return TextTable([grid(head, rows)], notes)


def _number(value: Any) -> str:
    return NONE if value is None else f"{value:.4g}"
