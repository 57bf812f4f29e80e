"""A picture of a search: the share of its models above a threshold."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from hauberk.errors import InputError
from hauberk.report.plots.canvas import array, canvas, label, save, style


def shares_above(
    panels: Mapping[str, Mapping[str, Sequence[float]]], path: str | Path, title: str = ""
) -> Path:
    """Share of the models whose accuracy exceeds a threshold, against the threshold.

    Args:
        panels: by panel (what the accuracy is of) and group, the accuracies of the models, shares
            in [0, 1].
        path: ends in .png or .svg.

    Raises:
        InputError: if there is nothing to draw.

    Source: Maini et al. 2020, Figure 4.
    """
    full = (groups and all(map(len, groups.values())) for groups in panels.values())
    if not panels or not all(full):
        raise InputError("no models to draw: give the accuracies of at least one in each group")
    figure, (grid,) = canvas(1, len(panels), (3.4, 2.6))
    for axes, (name, groups) in zip(grid, panels.items(), strict=True):
        for place, (group, values) in enumerate(groups.items()):
            edges, shares = staircase(values)
            colour, line = style(place)
            axes.step(100 * edges, 100 * shares, where="post", color=colour, linestyle=line,
                      label=label(f"{group} ({len(values)})"))  # fmt: skip
        axes.set(xlabel="threshold (%)", ylabel="models above it (%)", title=label(name))
        axes.set_xlim(0, 100)
        axes.set_ylim(0, 102)
        axes.legend(fontsize=7)
    return save(figure, path, title)


def staircase(values: Any) -> tuple[Any, Any]:
    """Where the share of values above a threshold changes, and what it is from there on.

    Example:
        >>> edges, shares = staircase([0.5, 0.25])
        >>> edges.tolist(), shares.tolist()
        ([0.0, 0.25, 0.5, 1.0], [1.0, 0.5, 0.0, 0.0])
    """
    row = array(values).ravel()
    edges = np.unique(np.concatenate(([0.0], row, [1.0])))
    return edges, (row[None] > edges[:, None]).mean(1)
