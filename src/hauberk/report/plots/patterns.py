"""Pictures of perturbations, and of how many features they change."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from hauberk.errors import InputError
from hauberk.report.plots.canvas import (
    COLOURS,
    array,
    bars,
    canvas,
    corner,
    edges_of,
    mapping,
    numbers,
    picture_of,
    save,
)


def sparsity(patterns: Iterable[Any], path: str | Path, title: str = "") -> Path:
    """Histograms of soft sparsity, one column per distance, one row per solver and loss.

    ``patterns`` are mappings (or have ``to_dict``) with ``solver``, ``loss``, ``distance``,
    ``features`` and ``sparsity``; those of one column share their axis. Source: Liang et al. 2023,
    Figures 5, 6 and 8.
    """
    drawn = [mapping(pattern) for pattern in patterns]
    rows = list(dict.fromkeys(_solved(p) for p in drawn))
    columns = list(dict.fromkeys(str(p["distance"]) for p in drawn))
    place = {(_solved(p), str(p["distance"])): p for p in drawn}
    if len(place) < len(drawn):
        raise InputError("two patterns share solver, loss and distance: draw them apart")
    figure, grid = canvas(len(rows), len(columns), (2.6, 1.7), sharex="col")
    for i, solved in enumerate(rows):
        for j, distance in enumerate(columns):
            axes, pattern = grid[i][j], place.get((solved, distance))
            if i == 0:
                axes.set_title(distance or "distance not named")
            if i == len(rows) - 1:
                axes.set_xlabel("soft sparsity ‖δ‖₁/‖δ‖₂")
            if j == 0:
                axes.set_ylabel(f"{solved}\nexamples")
            if pattern is None:
                axes.axis("off")
                continue
            column = [numbers(p["sparsity"]) for p in drawn if str(p["distance"]) == distance]
            values = numbers(pattern["sparsity"])
            bars(axes, values, edges_of(np.concatenate(column)), colour=COLOURS[i % len(COLOURS)])
            if len(values):
                middle = float(np.median(values))
                axes.axvline(middle, color="black", linewidth=1)
                corner(axes, f"median {middle:.1f} of {pattern['features'] ** 0.5:.1f}")
    return save(figure, path, title)


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
            left.imshow(0.5 + picture / (2 * top), interpolation="nearest")
        else:
            shown = left.imshow(
                picture, cmap="RdBu_r", vmin=-top, vmax=top, interpolation="nearest",
                aspect="auto" if len(picture) == 1 else "equal",
            )  # fmt: skip
            figure.colorbar(shown, ax=left, shrink=0.8).ax.tick_params(labelsize=6)
        left.set(xticks=[], yticks=[])
        left.set_title(name, fontsize=8)
        bars(right, size, np.linspace(0, top, bins + 1))
        right.set_yscale("log")
        right.set(xlabel="|δᵢ|, in units of the input", ylabel="features")
    return save(figure, path, title)


def _solved(pattern: Mapping[str, Any]) -> str:
    return " ".join(filter(None, (str(pattern["solver"]), str(pattern["loss"]))))
