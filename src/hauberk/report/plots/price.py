"""A picture of what resisting several threats costs: bars, and lines of the best for one threat."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hauberk.errors import InputError
from hauberk.report.plots.canvas import canvas, label, one, save, style

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def price(found: Mapping[str, Any], path: str | Path, title: str = "") -> Path:
    """Accuracy under each threat, their union and on average, a bar a model; lines: the optimum.

    Args:
        found: as :meth:`hauberk.analysis.Price.to_dict` gives it; the models are those with a
            price that are not single.
        path: ends in .png or .svg.
        title: above the picture.

    Raises:
        InputError: without a model under all threats.

    Source: Tramèr & Boneh 2019, Figure 1.
    """
    names = _shown(found)
    figure, axes = one(1.1 * (len(found["best"]) + 2) + 0.25 * len(names) + 1.2, 2.6)
    _draw(axes, found, names)
    axes.legend(fontsize=7, loc="upper left", bbox_to_anchor=(1, 1))
    return save(figure, path, title)


def panels(several: Mapping[str, Mapping[str, Any]], path: str | Path, title: str = "") -> Path:
    """The same of several sets of runs, two side by side, each under its name.

    Raises:
        InputError: without a model under all threats, in any of them.
    """
    names = {panel: _shown(found) for panel, found in several.items()}
    if not names:
        raise InputError("no prices to draw: give at least one")
    figure, grid = canvas((len(several) + 1) // 2, min(2, len(several)), (4.2, 2.4))
    places = [axes for row in grid for axes in row]
    for axes, (panel, found) in zip(places, several.items(), strict=False):
        _draw(axes, found, names[panel])
        axes.set_title(label(panel), fontsize=9)
        axes.legend(fontsize=6)
    for axes in places[len(several) :]:
        axes.axis("off")
    return save(figure, path, title)


def _shown(found: Mapping[str, Any]) -> list[str]:
    names = list(found["price"])
    if not names:
        raise InputError("no model under all threats to draw: evaluate one")
    return [name for name in names if name not in found["single"]] or names


def _draw(axes: "Axes", found: Mapping[str, Any], names: list[str]) -> None:
    threats = list(found["best"])
    groups = [*threats, "union", "average"]
    wide = 0.8 / len(names)
    for number, name in enumerate(names):
        run = found["runs"][name]
        heights = [*(run["threats"][t] for t in threats), run["union_accuracy"]]
        heights.append(run["average_accuracy"])
        places = [group - 0.4 + (number + 0.5) * wide for group in range(len(groups))]
        axes.bar(
            places, [100 * h for h in heights], 0.9 * wide, color=style(number)[0],
            label=label(name),
        )  # fmt: skip
    lines = [*found["best"].values(), found["optimum_union"], found["optimum_average"]]
    for group, line in enumerate(lines):
        axes.plot(
            [group - 0.45, group + 0.45], [100 * line] * 2, color="black", linewidth=1.2,
            label="" if group else "best for one threat",
        )  # fmt: skip
    axes.set_xticks(range(len(groups)), [label(group) for group in groups], fontsize=8)
    axes.set(ylabel="accuracy (%)")
    axes.set_ylim(0, 105)
