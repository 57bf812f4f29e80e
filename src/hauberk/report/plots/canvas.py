"""What all pictures share: a canvas of axes, colours, bars, and files as PNG or SVG.

Everything in this package takes plain numbers (tensors, arrays or lists; None and NaN are left
out) and returns the path that it wrote. No global state of matplotlib is read or changed.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from hauberk.errors import InputError

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Row = npt.NDArray[np.float64]

# Okabe & Ito: eight colours that people with any colour vision tell apart.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
LINES = ("-", "--", "-.", ":")


def canvas(
    rows: int, columns: int, size: tuple[float, float], sharex: Any = False
) -> "tuple[Figure, list[list[Axes]]]":
    """A figure and its axes, by row; ``size`` (wide, high) of each in inches.

    Raises:
        InputError: without rows or columns.
    """
    from matplotlib.figure import Figure

    if not rows or not columns:
        raise InputError("nothing to draw: give at least one pattern")
    wide, high = max(3.0, size[0] * columns), max(2.2, size[1] * rows + 0.6)
    figure = Figure(figsize=(wide, high), dpi=110, layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False, sharex=sharex)
    return figure, [list(row) for row in axes]


def one(wide: float, high: float) -> "tuple[Figure, Axes]":
    """A figure of one pair of axes, in inches."""
    figure, ((axes,),) = canvas(1, 1, (wide, high))
    return figure, axes


def save(figure: "Figure", path: str | Path, title: str = "") -> Path:
    """Write a figure to a .png or .svg, under a title if one is given; returns the path.

    Raises:
        InputError: for another ending.
    """
    from matplotlib import rc_context

    path = Path(path)
    form = path.suffix.lower().removeprefix(".")
    if form not in ("png", "svg"):
        raise InputError(f"cannot draw to {path.name}: give a file name that ends in .png or .svg")
    if title:
        figure.suptitle(title)
    path.parent.mkdir(parents=True, exist_ok=True)
    # Neither a date nor a version: the same numbers give the same picture.
    unchanging = {"Date": None} if form == "svg" else {"Software": None}
    # Text stays text, in any font: its outlines, and long lists of fonts, are most of a file.
    with rc_context({"svg.fonttype": "none", "font.sans-serif": ["DejaVu Sans"]}):
        figure.savefig(path, format=form, metadata=unchanging)
    return path


def bars(
    axes: "Axes", values: Row, bins: int | Row | None = None, colour: str = COLOURS[0],
    line: float | None = None,
) -> None:  # fmt: skip
    """A histogram: ``bins`` are edges, a number of them, or None; ``line`` marks a value."""
    edges = bins if isinstance(bins, np.ndarray) else edges_of(values, bins)
    axes.stairs(np.histogram(values, bins=edges)[0], edges, fill=True, color=colour)
    if line is not None:
        axes.axvline(line, color="black", linestyle="--", linewidth=1, label=f"eps = {line:g}")


@dataclass(frozen=True)
class Histogram:
    """One of a grid of histograms.

    Args:
        values: finite numbers, ``(N,)``.
        edges: of the bins.
        colour: of the bars.
        line: a value to mark; None for none.
        note: small print in the corner.
    """

    values: Row
    edges: Row
    colour: str
    line: float | None = None
    note: str = ""


def histograms(
    cells: Mapping[tuple[str, str], Histogram], rows: Sequence[str], columns: Sequence[str],
    size: tuple[float, float], xlabel: str, sharex: Any = True,
) -> "Figure":  # fmt: skip
    """A grid of histograms, by (row, column); where there is none, nothing is drawn.

    Args:
        cells: the histograms.
        rows: names of the rows, from the top.
        columns: names of the columns, from the left.
        size: wide and high of each, in inches.
        xlabel: what the values are.
        sharex: True for one axis, ``col`` for one a column.
    """
    figure, grid = canvas(len(rows), len(columns), size, sharex)
    for axes, column in zip(grid[0], columns, strict=True):
        axes.set_title(label(column), fontsize=9)
    for axes in grid[-1]:
        axes.set_xlabel(xlabel)
    for line, row in zip(grid, rows, strict=True):
        line[0].set_ylabel(row, fontsize=8)
        for axes, column in zip(line, columns, strict=True):
            cell = cells.get((row, column))
            if cell is None:
                axes.axis("off")
                continue
            bars(axes, cell.values, cell.edges, cell.colour, cell.line)
            box = {"facecolor": "white", "edgecolor": "none", "alpha": 0.8, "pad": 1}
            axes.text(
                0.97, 0.95, cell.note, transform=axes.transAxes, ha="right", va="top", fontsize=7,
                bbox=box,
            )  # fmt: skip
    return figure


def edges_of(values: Row, bins: int | None = None) -> Row:
    """Edges from the smallest to the largest of the values, of some width in any case."""
    if bins is None:
        bins = min(40, max(8, round(2 * len(values) ** 0.5)))
    if not len(values):
        return np.linspace(0, 1, bins + 1)
    low, high = float(values.min()), float(values.max())
    # Equal numbers, or such that differ by rounding only, want bins that floats can tell apart.
    least = 1e-6 * max(abs(low), abs(high)) or 1.0
    if high - low < least:
        low, high = low - least / 2, high + least / 2
    return np.linspace(low, high, bins + 1)


def show(axes: "Axes", picture: Row, **how: Any) -> Any:
    """A picture without ticks; a strip fills its axes."""
    axes.set(xticks=[], yticks=[])
    how["aspect"] = "auto" if len(picture) == 1 else "equal"
    # As it is, not enlarged: SVG files stay small.
    return axes.imshow(picture, interpolation="none", **how)


def picture_of(delta: Row) -> Row:
    """``(H, W)``, or ``(H, W, 3)`` for colours; anything else is one strip."""
    if delta.ndim == 3 and delta.shape[0] == 3:
        return delta.transpose(1, 2, 0)
    if delta.ndim == 3 and delta.shape[0] == 1:
        return delta.reshape(delta.shape[1:])
    return delta if delta.ndim == 2 else delta.reshape(1, -1)


def array(values: Any) -> Row:
    """A tensor, array or list as float64; None is NaN."""
    if hasattr(values, "detach"):
        values = values.detach().cpu().numpy()
    return np.asarray(values, dtype=np.float64)


def numbers(values: Any) -> Row:
    """The finite numbers of a row."""
    row = array(values).ravel()
    finite: Row = row[np.isfinite(row)]
    return finite


def mapping(value: Any) -> Mapping[str, Any]:
    """A mapping, or what an object's ``to_dict`` returns."""
    found: Mapping[str, Any] = value if isinstance(value, Mapping) else value.to_dict()
    return found


def style(place: int) -> tuple[str, str]:
    """Colour and line of the curve at a place; a colour comes again with another line only."""
    turn, colour = divmod(place, len(COLOURS))
    return COLOURS[colour], LINES[turn % len(LINES)]


def label(name: Any) -> str:
    """A name as matplotlib shows it as it is: no formulas, and none left out of the legend."""
    text = str(name).replace("$", r"\$")
    return f" {text}" if text.startswith("_") else text
