"""A picture of accuracies on common corruptions: by kind, and by severity."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from hauberk.errors import InputError
from hauberk.report.plots.canvas import canvas, label, save, style

_MARKERS = "osD^vP*X"


def corruptions(summary: Mapping[str, Any], path: str | Path, title: str = "") -> Path:
    """Mean accuracy under each kind, a marker a model; beside it, under each severity, a line each.

    Args:
        summary: of :func:`hauberk.analysis.corruption_table`.
        path: ends in .png or .svg.
        title: above the picture.

    Raises:
        InputError: without models.
    """
    models = summary["models"]
    if not models:
        raise InputError("no accuracies to draw: give at least one model")
    kinds, severities = summary["kinds"], summary["severities"]
    figure, ((left, right),) = canvas(1, 2, (3.3, max(1.8, 0.22 * len(kinds) + 0.9)))
    places = np.arange(len(kinds))
    for number, (name, model) in enumerate(models.items()):
        colour, line = style(number)
        marker = _MARKERS[number % len(_MARKERS)]
        means = [100 * model["kinds"][kind]["mean"] for kind in kinds]
        left.plot(
            means, places, color=colour, marker=marker, markersize=4, linestyle="none",
            label=label(name),
        )  # fmt: skip
        by = [
            np.mean([100 * model["kinds"][kind]["severities"][str(s)] for kind in kinds])
            for s in severities
        ]
        right.plot(
            [0, *severities], [100 * model["clean_accuracy"], *by], color=colour, linestyle=line,
            marker=marker, markersize=4,
        )  # fmt: skip
    left.set_yticks(places, [label(kind.replace("_", " ")) for kind in kinds], fontsize=7)
    left.invert_yaxis()
    left.grid(axis="x", linewidth=0.3)
    left.set(xlabel="accuracy (%), mean over severities")
    left.set_xlim(0, 102)
    left.legend(fontsize=7)
    right.set(xlabel="severity (0: clean)", ylabel="accuracy (%), mean over kinds")
    right.set_xticks([0, *severities])
    right.set_ylim(0, 102)
    return save(figure, path, title)
