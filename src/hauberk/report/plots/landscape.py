"""Pictures of the loss around an example: planes with their cuts, and segments."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from hauberk.errors import InputError
from hauberk.report.plots.canvas import COLOURS, array, canvas, label, mapping, save

if TYPE_CHECKING:
    from matplotlib.axes import Axes

SHOWN = 50
"""Most segments that one panel draws."""


def planes(
    panels: Mapping[tuple[str, str], Any], path: str | Path, *, loss: str = "ce", title: str = ""
) -> Path:
    """The loss on planes, one column each, and below it the loss along its two axes.

    To the right goes the gradient attack's direction, upwards that of the attack without gradients.
    The line is the decision boundary; the marks are the example and the two points.

    Args:
        panels: by (model, threat), mappings (or what has ``to_dict``) with ``a``, ``b``, ``loss``
            (K, L) by name, ``label`` and ``example``.
        path: ends in .png or .svg.
        loss: ``ce`` or ``margin``.
        title: above all panels.

    Raises:
        InputError: if there is nothing to draw.

    Source: Tramèr & Boneh 2019, Figure 3.
    """
    if not panels:
        raise InputError("no planes to draw: give at least one")
    figure, (tops, cuts) = canvas(2, len(panels), (3.4, 2.6))
    for top, cut, (names, panel) in zip(tops, cuts, panels.items(), strict=True):
        found = mapping(panel)
        a, b, values = array(found["a"]), array(found["b"]), array(found["loss"][loss])
        image = _heat(top, a, b, values, array(found["loss"]["margin"]))
        figure.colorbar(image, ax=top, shrink=0.8).ax.tick_params(labelsize=6)
        top.set(xlabel="towards the gradient point", ylabel="towards the gradient-free point")
        name = ", ".join(filter(None, names))
        top.set_title(label(f"{name}\nexample {found['example']}"), fontsize=8)
        zero = int(np.abs(a).argmin()), int(np.abs(b).argmin())
        cut.plot(a, values[:, zero[1]], color=COLOURS[0], label="gradient direction")
        cut.plot(b, values[zero[0]], color=COLOURS[1], label="gradient-free direction")
        cut.set(xlabel="share of the way", ylabel=f"{loss} loss")
        cut.legend(fontsize=7)
    return save(figure, path, title)


def segments(panels: Mapping[tuple[str, str], Any], path: str | Path, *, title: str = "") -> Path:
    """Logit margins along segments to points that failed, a line each, and their median.

    Args:
        panels: by (model, threat), mappings (or what has ``to_dict``) with ``position`` (K,) and
            ``margin`` (N, K); models are rows and threats columns, all on one axis.
        path: ends in .png or .svg.
        title: above all panels.

    Raises:
        InputError: if there is nothing to draw.

    Source: Ding et al. 2020, Figure 3.
    """
    if not panels:
        raise InputError("no segments to draw: give at least one panel")
    models, threats = (list(dict.fromkeys(names)) for names in zip(*panels, strict=True))
    figure, grid = canvas(len(models), len(threats), (3.2, 2.4), sharex=True)
    for line, model in zip(grid, models, strict=True):
        for axes, threat in zip(line, threats, strict=True):
            if (model, threat) not in panels:
                axes.axis("off")
                continue
            found = mapping(panels[model, threat])
            position, margin = array(found["position"]), array(found["margin"])
            _lines(axes, position, margin)
            name = ", ".join(filter(None, (model, threat)))
            axes.set_title(label(f"{name}: {len(margin)} failed points"), fontsize=8)
    for axes in grid[-1]:
        axes.set_xlabel("from the example (0) to the point (1)")
    for line in grid:
        line[0].set_ylabel("logit margin loss")
    return save(figure, path, title)


def _heat(axes: "Axes", a: Any, b: Any, values: Any, margin: Any) -> Any:
    edges = [ends[0] - step / 2 for ends, step in ((a, a[1] - a[0]), (b, b[1] - b[0]))]
    edges += [ends[-1] + step / 2 for ends, step in ((a, a[1] - a[0]), (b, b[1] - b[0]))]
    # An image in the file, not a path a pixel: SVG files stay small. Rows of an image go upwards.
    shown = axes.imshow(
        values.T, origin="lower", extent=(edges[0], edges[2], edges[1], edges[3]), aspect="auto",
        interpolation="none", cmap="viridis",
    )  # fmt: skip
    finite = margin[np.isfinite(margin)]
    if len(finite) and finite.min() < 0 < finite.max():
        axes.contour(a, b, margin.T, levels=[0.0], colors="white", linewidths=1)
    for at, mark in (((0, 0), "o"), ((1, 0), "^"), ((0, 1), "s")):
        axes.plot(*at, mark, color="red", markersize=5, clip_on=False)
    return shown


def _lines(axes: "Axes", position: Any, margin: Any) -> None:
    margin = margin.reshape(-1, len(position))
    for row in margin[:SHOWN]:
        axes.plot(position, row, color=COLOURS[0], linewidth=0.5, alpha=0.5)
    if len(margin):
        middle = np.median(margin, axis=0)
        axes.plot(position, middle, color=COLOURS[1], linewidth=2, label="median")
        axes.legend(fontsize=7)
    axes.axhline(0, color="black", linestyle=":", linewidth=0.8)
