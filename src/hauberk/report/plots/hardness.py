"""Pictures of hardness: domain weights against the least eps, and the images themselves."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from hauberk.errors import InputError
from hauberk.report.plots.canvas import COLOURS, Row, array, picture_of, save, show

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MOST = 4
"""Groups whose images are shown if none are named."""


def hardness(
    measured: Mapping[str, Any],
    images: Any,
    path: str | Path,
    groups: Sequence[int] | None = None,
) -> Path:
    """Weights against the least linf eps, one column per threat, above images with their weights.

    Args:
        measured: a mapping with ``groups``, ``labels``, ``weights`` by threat, ``eps_linf`` and
            ``correlations``, as :class:`hauberk.analysis.Hardness` holds it; None is not found.
        images: ``(G, M, ...)``.
        path: ends in .png or .svg.
        groups: those whose images are shown; the first of up to four classes by default.

    Source: Wang et al. 2021, Tables A7 and A8.
    """
    from matplotlib.figure import Figure

    weights = {name: array(w) for name, w in measured["weights"].items()}
    if not weights or not len(measured["groups"]):
        raise InputError("no weights to draw: give at least one threat and one group")
    shown = _shown(measured["labels"]) if groups is None else list(groups)
    if any(not 0 <= g < len(measured["groups"]) for g in shown):
        raise InputError(
            f"no such group among {shown}: they are 0 to {len(measured['groups']) - 1}"
        )
    eps = array(measured["eps_linf"])
    pictures = array(images)
    wide, members = max(2, len(weights)), pictures.shape[1]
    tall = [4.4, 1.9 * len(shown)] if shown else [4.4]
    figure = Figure(
        figsize=(max(2.4 * wide, 1.35 * members), sum(tall)), dpi=110,
        layout="constrained",
    )  # fmt: skip
    parts: Any = figure.subfigures(1 + bool(shown), 1, squeeze=False, height_ratios=tall)
    top = parts[0, 0].subplots(2, len(weights), squeeze=False, sharey="row")
    rho = {p["first"]: p["rho"] for p in measured["correlations"] if p["second"] == "eps_linf"}
    for number, (name, w) in enumerate(weights.items()):
        _values(top[0][number], eps, w, COLOURS[number % len(COLOURS)])
        found = "" if rho.get(name) is None else f", ρ = {rho[name]:.2f}"
        top[0][number].set_title(name + found, fontsize=9)
        _by_rank(top[1][number], eps, w, COLOURS[number % len(COLOURS)])
    for axes in top.flat:
        axes.set_ylim(-0.03, 1.03)
        axes.tick_params(labelsize=7)
    for axes in top[:, 0]:
        axes.set_ylabel("weight")
    if shown:
        grid = parts[1, 0].subplots(len(shown), members, squeeze=False)
        for row, g in zip(grid, shown, strict=True):
            row[0].set_ylabel(measured["groups"][g], rotation=0, ha="right", va="center")
            _group(row, pictures[g], {name: w[g] for name, w in weights.items()}, eps[g])
    return save(figure, path)


def _shown(labels: Sequence[int]) -> list[int]:
    return [labels.index(label) for label in dict.fromkeys(labels)][:MOST]


def _values(axes: "Axes", eps: Row, weights: Row, colour: str) -> None:
    finite = np.isfinite(eps)
    axes.scatter(eps[finite], weights[finite], s=9, color=colour, alpha=0.7, linewidths=0)
    axes.set_xlabel("least ε in linf", fontsize=8)


def _by_rank(axes: "Axes", eps: Row, weights: Row, colour: str) -> None:
    """Weights by the place of the image in its group, and their means."""
    order = np.argsort(np.where(np.isfinite(eps), eps, np.inf), axis=1, kind="stable")
    ordered = np.take_along_axis(weights, order, axis=1)
    places = np.arange(1, weights.shape[1] + 1)
    axes.bar(places, ordered.mean(0), color=colour, alpha=0.35)
    axes.scatter(np.tile(places, len(ordered)), ordered.ravel(), s=7, color=colour, linewidths=0)
    axes.set_xlabel("place in the group by least ε", fontsize=8)
    axes.set_xticks(places if len(places) <= 10 else places[:: len(places) // 5])


def _group(row: "Sequence[Axes]", pictures: Row, weights: Mapping[str, Row], eps: Row) -> None:
    low, high = float(pictures.min()), float(pictures.max())
    for m, axes in enumerate(row):
        picture = (picture_of(pictures[m]) - low) / ((high - low) or 1.0)
        show(axes, picture, cmap="gray", vmin=0, vmax=1)
        cells = [f"{name.partition(':')[0]} {w[m]:.2f}" for name, w in weights.items()]
        cells.append(f"ε {eps[m]:.3f}" if np.isfinite(eps[m]) else "ε –")
        lines = ["  ".join(cells[i : i + 2]) for i in range(0, len(cells), 2)]
        axes.set_xlabel("\n".join(lines), fontsize=6)
