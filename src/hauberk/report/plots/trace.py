"""Pictures of how an attack's loss rises from step to step."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from hauberk.errors import InputError
from hauberk.report.plots.canvas import Row, array, canvas, label, mapping, save, style

POINTS = 160
"""Most steps that one curve is drawn at: a picture stays small."""


def losses(
    panels: Mapping[str, Sequence[Any]],
    path: str | Path,
    *,
    which: Sequence[str] = ("best", "current"),
    log: bool = False,
    title: str = "",
) -> Path:
    """Loss against steps, one curve with its band for each setting; returns the path.

    The largest loss so far is a line with its 95% interval as a band, the loss of the iterate a
    thin dotted line of the same colour.

    Args:
        panels: by name, curves that are mappings (or have ``to_dict``) with ``name``, ``loss``,
            ``best`` and ``current``, each of the latter with ``mean``, ``low`` and ``high`` (T,).
        path: ends in .png or .svg.
        which: what is drawn, of ``best`` and ``current``.
        log: steps on a logarithmic scale, linear up to 1.
        title: above all panels.

    Raises:
        InputError: if there is nothing to draw.

    Source: Tramèr & Boneh 2019, Figure 2.
    """
    if not any(panels.values()) or not which:
        raise InputError("no curves to draw: give those of at least one attack")
    figure, (row,) = canvas(1, len(panels), (4.4, 3.0))
    for axes, (name, curves) in zip(row, panels.items(), strict=True):
        known = [mapping(curve) for curve in curves]
        for place, curve in enumerate(known):
            colour, line = style(place)
            for kind in which:
                mean, low, high = (array(curve[kind][end]) for end in ("mean", "low", "high"))
                at = drawn(len(mean), log)
                if kind == which[0]:
                    axes.fill_between(at, low[at], high[at], color=colour, alpha=0.2, linewidth=0)
                    axes.plot(at, mean[at], line, color=colour, label=label(curve["name"]))
                else:
                    axes.plot(at, mean[at], color=colour, linestyle=":", linewidth=0.8)
        shown = {"ce": "cross-entropy"}.get(known[0]["loss"], known[0]["loss"]) if known else ""
        axes.set(xlabel="steps", ylabel=label(f"{shown} loss"))
        if len(panels) > 1:
            axes.set_title(label(name), fontsize=9)
        if log:
            axes.set_xscale("symlog", linthresh=1)
            axes.set_xlim(left=0)
        axes.legend(fontsize=7)
    return save(figure, path, title)


def drawn(count: int, log: bool = False) -> "np.ndarray[Any, np.dtype[np.int64]]":
    """Which of so many steps a curve is drawn at: all, or some with the first and the last.

    Args:
        count: steps, from 0.
        log: evenly on a logarithmic scale.

    Example:
        >>> drawn(3), len(drawn(1001)) <= POINTS, drawn(1001)[-1], drawn(1001, log=True)[:3]
        (array([0, 1, 2]), True, np.int64(1000), array([0, 1, 2]))
    """
    if count <= POINTS:
        return np.arange(count)
    places: Row = np.geomspace(1, count, POINTS) - 1 if log else np.linspace(0, count - 1, POINTS)
    return np.unique(places.round().astype(np.int64))
