"""Pictures of margins over training: histograms by epoch, and the share of small ones."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from hauberk.errors import InputError
from hauberk.report.plots.canvas import (
    COLOURS,
    Histogram,
    Row,
    array,
    edges_of,
    histograms,
    label,
    one,
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
    known = _known(runs)
    epochs = sorted({epoch for run in known.values() for epoch in run})
    if len(epochs) > _ROWS:
        places = np.linspace(0, len(epochs) - 1, _ROWS).round().astype(int)
        epochs = [epochs[place] for place in places]
    drawn = [run[epoch] for run in known.values() for epoch in epochs if epoch in run]
    every = np.concatenate(drawn)
    edges = edges_of(np.append(every[np.isfinite(every)], 0.0), bins)
    cells = {
        (f"epoch {epoch}", name): Histogram(
            run[epoch][np.isfinite(run[epoch])], edges, COLOURS[column % len(COLOURS)], hinge,
            _share(run[epoch], small),
        )
        for column, (name, run) in enumerate(known.items())
        for epoch in epochs
        if epoch in run
    }  # fmt: skip
    names = [f"epoch {epoch}" for epoch in epochs]
    return save(histograms(cells, names, list(known), (3.2, 1.3), "margin"), path, title)


def small_shares(runs: Runs, path: str | Path, *, small: float = 0.05, title: str = "") -> Path:
    """Share of margins below ``small`` against the epoch, one line for each run.

    Raises:
        InputError: if there is nothing to draw.

    Source: Ding et al. 2020, Figure 4.
    """
    figure, axes = one(4.2, 3.0)
    for place, (name, run) in enumerate(_known(runs).items()):
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
