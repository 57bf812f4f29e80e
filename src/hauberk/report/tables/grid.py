"""What all tables share: a grid with notes in 80 columns, without colours, and when piped."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from io import StringIO
from math import isfinite
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

Summary = Mapping[str, Any]
"""A run's ``summary.json``, or a part of it."""

Line = tuple[str, Sequence[str]]
"""A style of rich's, such as ``bold`` or none, and the cells."""

Grid = tuple[Sequence[str], Sequence[Line]]
"""Names of the columns, and rows: the first column to the left, numbers to the right."""

NONE = "–"
"""What stands for a number that there is not."""


@dataclass(frozen=True)
class TextTable:
    """Grids with notes below them; as text, at most 80 columns wide.

    Args:
        grids: one or several.
        notes: lines of text below the last grid.
    """

    grids: Sequence[Grid]
    notes: Sequence[str] = ()

    def __str__(self) -> str:
        from rich.console import Console

        sink = StringIO()
        self.print(Console(file=sink, width=80, color_system=None, legacy_windows=False))
        return sink.getvalue().rstrip("\n")

    def print(self, console: "Console | None" = None) -> None:
        """Print it with rich; to standard output if no console is given."""
        from rich.console import Console, Group
        from rich.text import Text

        console = console or Console()
        parts: list[RenderableType] = []
        for head, rows in self.grids:
            parts += [_rich(head, rows), ""]
        with console.capture() as captured:
            console.print(Group(*parts, *(Text(note) for note in self.notes)))
        text = captured.get()
        if not console.encoding.lower().startswith("utf"):
            text = text.replace("≤", "<=").replace("–", "-")
            text = text.encode(console.encoding, "replace").decode(console.encoding)
        console.file.write("\n".join(line.rstrip() for line in text.splitlines()) + "\n")


def percent(value: float | None, n: int = 0) -> str:
    """A fraction in per cent, with no more digits than ``n`` examples can tell apart.

    Example:
        >>> percent(0.25, 200), percent(0.25, 5000), percent(None, 200)
        ('25.0%', '25.00%', '–')
    """
    return NONE if value is None else f"{100 * value:.{1 if n <= 1000 else 2}f}%"


def between(interval: Sequence[float] | None) -> str:
    """The two ends of an interval of fractions, in per cent.

    Example:
        >>> between((0.195, 0.314)), between(None)
        ('19.5–31.4', '')
    """
    return "" if interval is None else f"{100 * interval[0]:.1f}–{100 * interval[1]:.1f}"


def number(value: float | None) -> str:
    """A number of passes or seconds.

    Example:
        >>> number(1234.5), number(12.0), number(0.25), number(None)
        ('1,234', '12', '0.2', '–')
    """
    if value is None:
        return NONE
    return f"{value:,.0f}" if value >= 1000 or value == int(value) else f"{value:,.1f}"


def fixed(value: float | None, form: str = ".4g") -> str:
    """A number in a format.

    Example:
        >>> fixed(0.123456), fixed(0.5, ".3f"), fixed(None), fixed(float("inf"))
        ('0.1235', '0.500', '–', '–')
    """
    return NONE if value is None or not isfinite(value) else f"{value:{form}}"


def per_example(summary: Summary, name: str) -> float | None:
    """A run's ``forwards`` or ``backwards`` over its examples; None without examples."""
    return float(summary["cost"][name]) / summary["n"] if summary["n"] else None


def cost(summary: Summary) -> str:
    """Passes per example, forward and backward apart, and seconds."""
    forwards, backwards = (number(per_example(summary, k)) for k in ("forwards", "backwards"))
    seconds = summary["cost"]["seconds"]
    time = "" if seconds is None else f", {number(seconds)} s"
    return f"{forwards} F + {backwards} B passes per example{time}"


def origin(summary: Summary) -> str:
    """Seed, device and version of a run."""
    device = f", on {summary['device']}" if summary.get("device") else ""
    return f"seed {summary.get('seed')}{device}, hauberk {summary.get('hauberk_version')}"


def remarks(summary: Summary) -> list[str]:
    """What a run's summary warns of, one line each."""
    notes = []
    if goal := summary.get("goal"):
        out = summary.get("left_out")
        notes.append(f"goal: {goal}{f'; {out} examples of that class left out' if out else ''}")
    if summary.get("escalated"):
        notes.append("escalated: the gradients seem masked, so the suite ran its further attacks")
    if not summary.get("finished", True):
        notes.append("unfinished: run again with --resume; until then accuracies can only fall")
    if near := len({row["id"] for row in summary.get("near_boundary") or ()}):
        notes.append(f"examples with a point within rounding of the decision boundary: {near}")
    if rejected := summary.get("rejected"):
        notes.append(f"examples that an attack called broken and the judge did not: {rejected}")
    return notes + [f"warning: {text}" for text in summary.get("warnings") or ()]


def _rich(head: Sequence[str], rows: Sequence[Line]) -> "RenderableType":
    from rich import box
    from rich.table import Table
    from rich.text import Text

    made = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False)
    for i, name in enumerate(head):
        # Text and not str: an attack's name may look like rich's markup.
        justify = "right" if i else "left"
        made.add_column(Text(name), justify=justify, overflow="fold")  # type: ignore[arg-type]
    for style, cells in rows:
        padded = [*cells, *[""] * (len(head) - len(cells))]
        made.add_row(*(Text(cell) for cell in padded), style=style)
    return made
