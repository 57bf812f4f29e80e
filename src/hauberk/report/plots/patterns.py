"""Pictures of perturbations, and of how many features they change."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from hauberk.errors import InputError
from hauberk.report.plots.canvas import (
    COLOURS,
    Histogram,
    array,
    bars,
    canvas,
    edges_of,
    histograms,
    mapping,
    numbers,
    picture_of,
    save,
    show,
)


def sparsity(patterns: Iterable[Any], path: str | Path, title: str = "") -> Path:
    """Histograms of soft sparsity, one column per distance, one row per solver and loss.

    ``patterns`` are mappings (or have ``to_dict``) with ``solver``, ``loss``, ``distance``,
    ``features`` and ``sparsity``; those of one column share their axis. Source: Liang et al. 2023,
    Figures 5, 6 and 8.
    """
    drawn = [mapping(pattern) for pattern in patterns]
    rows = list(dict.fromkeys(map(_row, drawn)))
    columns = list(dict.fromkeys(map(_column, drawn)))
    cells: dict[tuple[str, str], Histogram] = {}
    for pattern in drawn:
        place, values = (_row(pattern), _column(pattern)), numbers(pattern["sparsity"])
        if place in cells:
            raise InputError("two patterns share solver, loss and distance: draw them apart")
        column = [numbers(p["sparsity"]) for p in drawn if _column(p) == place[1]]
        middle = float(np.median(values)) if len(values) else None
        cells[place] = Histogram(
            values, edges_of(np.concatenate(column)), COLOURS[rows.index(place[0]) % len(COLOURS)],
            middle,
            "" if middle is None else f"median {middle:.1f} of {pattern['features'] ** 0.5:.1f}",
        )  # fmt: skip
    xlabel = "soft sparsity ‖δ‖₁/‖δ‖₂"
    return save(histograms(cells, rows, columns, (2.6, 1.7), xlabel, sharex="col"), path, title)


def perturbations(
    items: Mapping[str, Any], path: str | Path, title: str = "", bins: int = 40
) -> Path:
    """Perturbations of one example, by name: each as a picture beside the histogram of its sizes.

    Each is ``(H, W)``, ``(C, H, W)`` or of any other shape, which is drawn as one strip. Pictures
    are scaled to their own largest change. Source: Liang et al. 2023, Figures 3 and 4.
    """
    if not items:
        raise InputError("no perturbations to draw: give at least one")
    figure, grid = canvas(len(items), 2, (2.9, 1.9))
    for (name, value), (left, right) in zip(items.items(), grid, strict=True):
        delta = array(value)
        size = np.abs(delta).ravel()
        top = float(size.max(initial=0.0)) or 1.0
        picture = picture_of(delta)
        if picture.ndim == 3:
            show(left, 0.5 + picture / (2 * top))
        else:
            shown = show(left, picture, cmap="RdBu_r", vmin=-top, vmax=top)
            figure.colorbar(shown, ax=left, shrink=0.8).ax.tick_params(labelsize=6)
        left.set_title(name, fontsize=8)
        bars(right, size, np.linspace(0, top, bins + 1))
        right.set_yscale("log")
        right.minorticks_off()
        right.set(xlabel="|δᵢ|, in units of the input", ylabel="features")
    return save(figure, path, title)


def _row(pattern: Mapping[str, Any]) -> str:
    solved = filter(None, (str(pattern["solver"]), str(pattern["loss"])))
    return f"{' '.join(solved)}\nexamples"


def _column(pattern: Mapping[str, Any]) -> str:
    return str(pattern["distance"]) or "distance not named"
