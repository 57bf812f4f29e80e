"""Pictures of radii: histograms, and accuracy against eps."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from hauberk.errors import InputError
from hauberk.report.plots.canvas import array, bars, canvas, mapping, numbers, one, save, style


def radii(
    values: Mapping[str, Any],
    path: str | Path,
    eps: Mapping[str, float] | float | None = None,
    title: str = "",
) -> Path:
    """Histograms of radii ``(N,)`` by name, with a line at eps, one for all or by name.

    Source: Liang et al. 2023, Figures 1 and 7b.
    """
    if not values:
        raise InputError("no radii to draw: give at least one row of them")
    figure, (grid,) = canvas(1, len(values), (3.2, 2.6))
    for number, ((name, row), axes) in enumerate(zip(values.items(), grid, strict=True)):
        line = eps.get(name) if isinstance(eps, Mapping) else eps
        found = numbers(row)
        bars(axes, found, colour=style(number)[0], line=line)
        if line is not None:
            axes.legend(fontsize=7)
        axes.set(xlabel=f"radius ({name})", ylabel="examples", title=f"{len(found)} examples")
        axes.set_xlim(left=0)
    return save(figure, path, title)


def accuracy_curves(
    curves: Any,
    path: str | Path,
    crossings: Iterable[Any] = (),
    title: str = "",
    unit: str = "",
) -> Path:
    """Accuracy against eps, one staircase per model; dotted lines where two models change places.

    ``curves`` is a mapping (or has ``to_dict``) with ``eps`` (K,) and ``accuracy`` by model;
    ``crossings`` are mappings, or have ``to_dict``, with ``eps``; ``unit`` names what eps is
    measured in.
    """
    given = mapping(curves)
    figure, axes = one(4.8, 3.4)
    eps = array(given["eps"])
    # The last value holds for ever: a little of it is shown.
    reach = np.append(eps, (float(eps.max(initial=0.0)) or 1.0) * 1.05)
    for number, (name, values) in enumerate(given["accuracy"].items()):
        heights, (colour, line) = array(values) * 100, style(number)
        heights = np.append(heights, heights[-1:])
        axes.step(reach, heights, where="post", label=name, color=colour, linestyle=line)
    for crossing in crossings:
        axes.axvline(float(mapping(crossing)["eps"]), color="grey", linestyle=":", linewidth=1)
    axes.set(xlabel=f"eps ({unit})" if unit else "eps", ylabel="accuracy (%)", title=title)
    axes.set_xlim(0, float(reach[-1]))
    axes.set_ylim(0, 102)
    axes.legend()
    return save(figure, path)
