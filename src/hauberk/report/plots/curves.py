"""Pictures of accuracy against eps: a panel a norm, a curve a model, with bands of intervals."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from hauberk.errors import InputError
from hauberk.report.plots.canvas import array, canvas, label, save, style

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MOST = 400
"""Points of a curve that are drawn: more are not seen, and make a large file."""


@dataclass(frozen=True)
class Series:
    """One curve.

    Args:
        name: of the model.
        eps: sizes, rising, ``(K,)``.
        accuracy: shares at them, ``(K,)``.
        low, high: ends of their intervals, ``(K,)`` each; None for no band.
        steps: whether an accuracy holds up to the next size, else points are joined by lines.
        colour: number of the colour; curves of one model have one.
        dashed: whether the line is dashed.

    Example:
        >>> Series("net", [0, 0.1], [1.0, 0.5]).steps
        False
    """

    name: str
    eps: Any
    accuracy: Any
    low: Any = None
    high: Any = None
    steps: bool = False
    colour: int = 0
    dashed: bool = False


def panels(
    curves: Mapping[str, Sequence[Series]],
    path: str | Path,
    crossings: Mapping[str, Sequence[float]] = {},
    title: str = "",
) -> Path:
    """Accuracy against eps, a panel for each norm; dotted lines where two models change places.

    Args:
        curves: by what eps is measured in, which stands below the axis.
        path: ends in .png or .svg.
        crossings: sizes to mark, by panel.
        title: above all panels.

    Raises:
        InputError: without curves.

    Source: Maini et al. 2020, Figures 2 and 5; Liang et al. 2023, Figure 8.
    """
    if not curves or not all(curves.values()):
        raise InputError("no curves to draw: give at least one in each panel")
    figure, (grid,) = canvas(1, len(curves), (3.4, 2.8))
    for axes, (unit, several) in zip(grid, curves.items(), strict=True):
        for one in several:
            _draw(axes, one)
        for eps in crossings.get(unit, ()):
            axes.axvline(eps, color="grey", linestyle=":", linewidth=0.8)
        axes.set(xlabel=f"eps ({label(unit)})")
        axes.set_xlim(0, max(float(array(one.eps).max()) for one in several) or 1.0)
        axes.set_ylim(0, 102)
    grid[0].set_ylabel("accuracy (%)")
    grid[0].legend(fontsize=7)
    return save(figure, path, title)


def _draw(axes: "Axes", one: Series) -> None:
    eps = array(one.eps)
    chosen = np.arange(len(eps))
    if len(eps) > MOST:
        chosen = np.unique(np.linspace(0, len(eps) - 1, MOST).round().astype(int))
    heights, colour = 100 * array(one.accuracy)[chosen], style(one.colour)[0]
    line = "--" if one.dashed else "-"
    drawn: dict[str, Any] = {"color": colour, "linestyle": line, "linewidth": 1.4}
    drawn |= {"label": label(one.name)}
    if one.steps:
        axes.step(eps[chosen], heights, where="post", **drawn)
    else:
        axes.plot(eps[chosen], heights, marker=".", **drawn)
    if one.low is not None and one.high is not None:
        low, high = (100 * array(ends)[chosen] for ends in (one.low, one.high))
        how: dict[str, Any] = {"step": "post"} if one.steps else {}
        axes.fill_between(eps[chosen], low, high, color=colour, alpha=0.15, linewidth=0, **how)
