"""Pictures of margins over training: histograms by epoch, and the share of small ones."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from hauberk.errors import InputError
from hauberk.report.plots.canvas import (
    COLOURS,
    Row,
    array,
    bars,
    canvas,
    corner,
    edges_of,
    label,
    save,
    style,
)

Runs = Mapping[str, Mapping[int, Any]]
"""Margins ``(N,)`` by run, and in it by epoch; 0 for wrong examples, inf where none was found."""

_ROWS = 6


def by_epoch(
    runs: Runs,
    path: str | Path,
    *,
    small: float = 0.05,
    hinge: float | None = None,
    bins: int = 40,
    title: str = "",
) -> Path:
    """Histograms of margins, one column for each run, one row for each epoch, on one axis.

    Each names the share of margins below ``small``. Of more than six epochs, six are drawn, spread
    evenly from the first to the last. Margins that are inf are counted, not drawn.

    Args:
        hinge: where to draw a line, such as d_max.
        path: ends in .png or .svg.

    Raises:
        InputError: if there is nothing to draw.

    Source: Ding et al. 2020, Figure 4.
    """
    drawn_runs = _known(runs)
    epochs = sorted({epoch for run in drawn_runs.values() for epoch in run})
    shown = epochs
    if len(epochs) > _ROWS:
        places = np.linspace(0, len(epochs) - 1, _ROWS).round().astype(int)
        shown = [epochs[place] for place in places]
    drawn = [run[epoch] for run in drawn_runs.values() for epoch in shown if epoch in run]
    every = np.concatenate(drawn)
    edges = edges_of(np.append(every[np.isfinite(every)], 0.0), bins)
    figure, grid = canvas(len(shown), len(drawn_runs), (3.2, 1.3), sharex=True)
    for column, (name, run) in enumerate(drawn_runs.items()):
        grid[0][column].set_title(label(name), fontsize=9)
        grid[-1][column].set_xlabel("margin")
        for row, epoch in zip(grid, shown, strict=True):
            axes = row[column]
            if column == 0:
                axes.set_ylabel(f"epoch {epoch}", fontsize=8)
            if epoch not in run:
                axes.axis("off")
                continue
            values = run[epoch]
            colour = COLOURS[column % len(COLOURS)]
            bars(axes, values[np.isfinite(values)], edges, colour=colour)
            if hinge is not None:
                axes.axvline(hinge, color="black", linestyle="--", linewidth=1)
            corner(axes, _share(values, small))
    return save(figure, path, title)


def small_shares(runs: Runs, path: str | Path, *, small: float = 0.05, title: str = "") -> Path:
    """Share of margins below ``small`` against the epoch, one line for each run.

    Raises:
        InputError: if there is nothing to draw.

    Source: Ding et al. 2020, Figure 4.
    """
    drawn_runs = _known(runs)
    figure, ((axes,),) = canvas(1, 1, (4.2, 3.0))
    for place, (name, run) in enumerate(drawn_runs.items()):
        epochs, (colour, line) = sorted(run), style(place)
        shares = [100 * float((run[epoch] < small).mean()) for epoch in epochs]
        axes.plot(epochs, shares, color=colour, linestyle=line, marker=".", label=label(name))
    axes.set(xlabel="epoch", ylabel=f"margins below {small:g} (%)", title=title)
    axes.set_ylim(0, 102)
    axes.locator_params(axis="x", integer=True)
    axes.legend(fontsize=7)
    return save(figure, path)


def _known(runs: Runs) -> dict[str, dict[int, Row]]:
    """Runs and epochs that hold margins; NaN left out."""
    found: dict[str, dict[int, Row]] = {}
    for name, run in runs.items():
        rows = {int(epoch): array(values).ravel() for epoch, values in run.items()}
        rows = {epoch: values[~np.isnan(values)] for epoch, values in rows.items()}
        if rows := {epoch: values for epoch, values in rows.items() if len(values)}:
            found[str(name)] = rows
    if not found:
        raise InputError("no margins to draw: give those of at least one run and epoch")
    return found


def _share(values: Row, small: float) -> str:
    text = f"{(values < small).mean():.1%} below {small:g}"
    missing = int(np.isinf(values).sum())
    return text + (f", {missing} not found" if missing else "")
