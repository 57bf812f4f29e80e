"""Pictures of several domains: weights in an attack and in a training, hardest, accuracies."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from hauberk.errors import InputError
from hauberk.report.plots.canvas import COLOURS, Row, array, label, one, save, style

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_PATHS = 8
_BARS = 24
_REST = "#BBBBBB"
_EPOCHS = 16
_ENDS = {"whislo": "low", "q1": "q1", "med": "median", "q3": "q3", "whishi": "high"}


def weight_paths(path: Any, names: Sequence[str], file: str | Path, title: str = "") -> Path:
    """Mean domain weights after each evaluation, with the band between the quartiles.

    An example that has left the attack keeps its last weights, so that a line ends at the mean of
    the final weights; a dotted line shows the share that is still attacked. Of more than eight
    domains, those of largest final mean are drawn.

    Args:
        path: ``(B, T, K)``, NaN after the last evaluation of an example.
        names: of the K domains.

    Raises:
        InputError: if the shapes do not fit.
    """
    values = array(path)
    if values.ndim != 3 or values.shape[2] != len(names):
        raise InputError(
            f"weights of shape {values.shape} for {len(names)} names: give (B, T, {len(names)})"
        )
    present: Any = np.isfinite(values).all(2)
    begun = present.any(1)
    values, left = _carried(values[begun], present[begun])
    figure, axes = one(5.4, 3.6)
    if len(values):
        mean = values.mean(0)
        # Stable, so that equal weights are drawn in the order of the names.
        shown = sorted(np.argsort(-mean[-1], kind="stable")[:_PATHS].tolist())
        low, high = np.quantile(values, (0.25, 0.75), axis=0)
        steps = np.arange(len(mean))
        for place, k in enumerate(shown):
            colour, line = style(place)
            axes.fill_between(steps, low[:, k], high[:, k], color=colour, alpha=0.12, linewidth=0)
            axes.plot(steps, mean[:, k], color=colour, linestyle=line, label=label(names[k]))
        if left[-1] < 1:
            axes.plot(steps, left, color="grey", linestyle=":", linewidth=1, label="still attacked")
        axes.set_xlim(0, max(1, len(mean) - 1))
        axes.locator_params(axis="x", integer=True)
        if len(names) > len(shown):
            title = title or f"{len(shown)} of {len(names)} domains"
    axes.set(xlabel="evaluation", ylabel="mean domain weight", title=title)
    axes.set_ylim(0, 1.02)
    return _finish(figure, axes, file)


def weight_boxes(history: Any, file: str | Path, title: str = "") -> Path:
    """Domain weights of the examples after each epoch of a training, as box plots.

    Boxes reach from quartile to quartile and hold the median; whiskers end at the weight that is
    farthest from the box but within one and a half times its height; a dot is the mean. Of more
    than 16 epochs, 16 are drawn, the first and the last among them.

    Args:
        history: of a training by AMPGD: one record for each epoch, with ``weight THREAT`` and
            ``weight THREAT low``, ``q1``, ``median``, ``q3`` and ``high``; also rows of a CSV file.

    Raises:
        InputError: if there are no such weights.

    Source: Wang et al. 2021, Figure 3.
    """
    records = [dict(record) for record in history]
    names = weighed(records)
    if not names:
        raise InputError("no domain weights in this history: train by AMPGD")
    if len(records) > _EPOCHS:
        places = np.linspace(0, len(records) - 1, _EPOCHS).round().astype(int)
        records = [records[place] for place in places]
    figure, axes = one(min(9.0, 2.4 + 0.14 * len(records) * (len(names) + 1)), 3.4)
    at, wide = np.arange(len(records)), 0.8 / len(names)
    for place, name in enumerate(names):
        middle, colour = at + (place - (len(names) - 1) / 2) * wide, COLOURS[place % len(COLOURS)]
        boxes = [
            {key: float(record[f"{name} {end}"]) for key, end in _ENDS.items()}
            for record in records
        ]
        axes.bxp(
            boxes, positions=middle, widths=0.8 * wide, showfliers=False, patch_artist=True,
            boxprops={"facecolor": colour, "alpha": 0.35, "edgecolor": colour},
            medianprops={"color": colour}, whiskerprops={"color": colour},
            capprops={"color": colour}, manage_ticks=False,
        )  # fmt: skip
        means = [float(record[name]) for record in records]
        axes.plot(
            middle, means, color=colour, marker=".", linestyle="none",
            label=label(name.removeprefix("weight ")),
        )  # fmt: skip
    axes.set_xticks(at, [str(record["epoch"]) for record in records])
    axes.set(xlabel="epoch", ylabel="domain weight", title=title)
    axes.set_ylim(-0.02, 1.02)
    return _finish(figure, axes, file)


def weighed(records: Sequence[Mapping[str, Any]]) -> list[str]:
    """Names of the weights whose spread the records of a training hold.

    Example:
        >>> weighed([{"epoch": 1, "weight linf:0.1": 1.0, "weight linf:0.1 median": 1.0}])
        ['weight linf:0.1']
    """
    names = list(records[0]) if records else []
    return [n for n in names if n.startswith("weight ") and f"{n} median" in names]


def binding(shares: Mapping[Any, Mapping[str, float]], file: str | Path, title: str = "") -> Path:
    """How often each domain is the hardest one, class by class, as stacked bars.

    Args:
        shares: by class, and in it by domain, in [0, 1]. Domains beyond the seven that are hardest
            most often are drawn as one.

    Raises:
        InputError: if there is no class.
    """
    if not shares:
        raise InputError("no class to draw: give the shares of at least one")
    names = list(dict.fromkeys(name for row in shares.values() for name in row))
    heights = np.array([[row.get(name, 0.0) for name in names] for row in shares.values()])
    heights = np.nan_to_num(heights.reshape(len(shares), len(names))) * 100
    kept = list(range(len(names)))
    if len(names) > len(COLOURS):
        order = np.argsort(-heights.sum(0), kind="stable")[: len(COLOURS)]
        kept = sorted(k for k in order.tolist() if heights[:, k].any())
    figure, axes = one(min(12.0, 2.6 + 0.36 * len(shares)), 3.6)
    at, floor = np.arange(len(shares)), np.zeros(len(shares))
    for place, k in enumerate(kept):
        high, name = heights[:, k], label(names[k])
        axes.bar(at, high, bottom=floor, color=COLOURS[place], label=name, width=0.8)
        floor = floor + high
    if rest := len(names) - len(kept):
        others = heights.sum(1) - floor
        axes.bar(at, others, bottom=floor, color=_REST, label=f"{rest} others", width=0.8)
    every = -(-len(shares) // 30)
    axes.set_xticks(at[::every], [label(name) for name in shares][::every])
    axes.set(xlabel="class", ylabel="hardest domain (%)", title=title)
    axes.set_ylim(0, 102)
    return _finish(figure, axes, file)


def accuracies(
    values: Mapping[str, Mapping[str, float]], file: str | Path, title: str = ""
) -> Path:
    """Accuracies in [0, 1] by what was done to the inputs, then by domain, as grouped bars.

    Of more than 24 domains the first ones are drawn.

    Raises:
        InputError: if there is nothing to draw.
    """
    if not values:
        raise InputError("no accuracy to draw: give those of at least one attack")
    names = list(dict.fromkeys(name for row in values.values() for name in row))
    shown = names[:_BARS]
    figure, axes = one(5.4, 1.4 + 0.1 * (len(values) + 1) * max(1, len(shown)))
    at, high = np.arange(len(shown)), 0.8 / len(values)
    for place, (what, row) in enumerate(values.items()):
        long = np.array([100 * float(row.get(name, np.nan)) for name in shown])
        middle = at + (place - (len(values) - 1) / 2) * high
        colour, name = style(place)[0], label(what)
        axes.barh(middle, np.nan_to_num(long), height=high, color=colour, label=name)
    axes.set_yticks(at, [label(name) for name in shown])
    axes.invert_yaxis()
    if len(names) > len(shown):
        title = title or f"the first {len(shown)} of {len(names)} domains"
    axes.set(xlabel="accuracy (%)", title=title)
    axes.set_xlim(0, 100)
    return _finish(figure, axes, file)


def _carried(values: Row, present: Any) -> tuple[Row, Row]:
    """Weights whose gaps hold the last ones, ``(B, T, K)``; share still attacked, ``(T,)``.

    T is cut to the longest of the examples.
    """
    if not len(values):
        return values, np.zeros(0)
    last = np.where(present, np.arange(present.shape[1]), 0)
    longest = int(last.max()) + 1
    last = np.maximum.accumulate(last, axis=1)[:, :longest]
    carried = np.take_along_axis(values, last[:, :, None], axis=1)
    return carried, present[:, :longest].mean(0)


def _finish(figure: "Figure", axes: "Axes", file: str | Path) -> Path:
    """With the legend below the picture: names of domains are long."""
    handles, labels = axes.get_legend_handles_labels()
    if handles:
        longest = max(map(len, labels))
        columns = max(1, min(4, len(labels), 72 // (longest + 6)))
        figure.legend(handles, labels, loc="outside lower center", ncols=columns, fontsize=7)
    return save(figure, file)
