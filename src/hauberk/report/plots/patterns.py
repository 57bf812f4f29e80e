"""Pictures of patterns and radii, as PNG or SVG by the file's suffix.

Everything here takes plain numbers (tensors, arrays or lists; None and NaN are left out) and
returns the path that it wrote. No global state of matplotlib is read or changed.
"""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from hauberk.errors import InputError

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Row = npt.NDArray[np.float64]

# Okabe & Ito: eight colours that people with any colour vision tell apart.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
LINES = ("-", "--", "-.", ":")


def histogram(
    values: Any,
    path: str | Path,
    title: str = "",
    line: float | None = None,
    *,
    label: str = "value",
    bins: int | None = None,
) -> Path:
    """Histogram of numbers ``(N,)``, with a vertical line if one is given."""
    figure, ((axes,),) = _grid(1, 1, (4.2, 3.0))
    _bars(axes, _numbers(values), bins, line=line)
    axes.set(title=title, xlabel=label, ylabel="examples")
    return _save(figure, path)


def sparsity(patterns: Iterable[Any], path: str | Path, title: str = "") -> Path:
    """Histograms of soft sparsity, one column per distance, one row per solver and loss.

    ``patterns`` are mappings (or have ``to_dict``) with ``solver``, ``loss``, ``distance``,
    ``features`` and ``sparsity``; those of one column share their axis. Source: Liang et al. 2023,
    Figures 5, 6 and 8.
    """
    told = _told(patterns)
    rows = list(dict.fromkeys(_solved(p) for p in told))
    columns = list(dict.fromkeys(str(p["distance"]) for p in told))
    place = {(_solved(p), str(p["distance"])): p for p in told}
    if len(place) < len(told):
        raise InputError("two patterns share solver, loss and distance: draw them apart")
    figure, grid = _grid(len(rows), len(columns), (2.6, 1.7), sharex="col")
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
            column = [_numbers(p["sparsity"]) for p in told if str(p["distance"]) == distance]
            values = _numbers(pattern["sparsity"])
            _bars(axes, values, _shared(np.concatenate(column)), colour=COLOURS[i % len(COLOURS)])
            if len(values):
                middle = float(np.median(values))
                axes.axvline(middle, color="black", linewidth=1)
                axes.text(
                    0.97, 0.95, f"median {middle:.1f} of {pattern['features'] ** 0.5:.1f}",
                    transform=axes.transAxes, ha="right", va="top", fontsize=7,
                    bbox={"facecolor": "white", "edgecolor": "none", "alpha": 0.8, "pad": 1},
                )  # fmt: skip
    if title:
        figure.suptitle(title)
    return _save(figure, path)


def perturbations(
    items: Mapping[str, Any], path: str | Path, title: str = "", bins: int = 40
) -> Path:
    """Perturbations of one example, by name: each as a picture beside the histogram of its sizes.

    Each is ``(H, W)``, ``(C, H, W)`` or of any other shape, which is drawn as one strip. Pictures
    are scaled to their own largest change. Source: Liang et al. 2023, Figures 3 and 4.
    """
    if not items:
        raise InputError("no perturbations to draw: give at least one")
    figure, grid = _grid(len(items), 2, (2.9, 1.9))
    for (name, value), (left, right) in zip(items.items(), grid, strict=True):
        delta = _array(value)
        size = np.abs(delta).ravel()
        top = float(size.max(initial=0.0)) or 1.0
        picture = _picture(delta)
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
        _bars(right, size, np.linspace(0, top, bins + 1))
        right.set_yscale("log")
        right.set(xlabel="|δᵢ|, in units of the input", ylabel="features")
    if title:
        figure.suptitle(title)
    return _save(figure, path)


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
    figure, (grid,) = _grid(1, len(values), (3.2, 2.6))
    for number, ((name, row), axes) in enumerate(zip(values.items(), grid, strict=True)):
        line = eps.get(name) if isinstance(eps, Mapping) else eps
        known = _numbers(row)
        _bars(axes, known, None, line=line, colour=COLOURS[number % len(COLOURS)])
        axes.set(xlabel=f"radius ({name})", ylabel="examples", title=f"{len(known)} examples")
        axes.set_xlim(left=0)
    if title:
        figure.suptitle(title)
    return _save(figure, path)


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
    told = _plain(curves)
    figure, ((axes,),) = _grid(1, 1, (4.8, 3.4))
    eps = _array(told["eps"])
    # The last value holds for ever: a little of it is shown.
    reach = np.append(eps, (float(eps.max(initial=0.0)) or 1.0) * 1.05)
    for number, (name, values) in enumerate(told["accuracy"].items()):
        heights = _array(values) * 100
        axes.step(
            reach, np.append(heights, heights[-1:]), where="post", label=name,
            color=COLOURS[number % len(COLOURS)], linestyle=LINES[number % len(LINES)],
        )  # fmt: skip
    for crossing in crossings:
        axes.axvline(float(_plain(crossing)["eps"]), color="grey", linestyle=":", linewidth=1)
    axes.set(xlabel=f"eps ({unit})" if unit else "eps", ylabel="accuracy (%)", title=title)
    axes.set_xlim(0, float(reach[-1]))
    axes.set_ylim(0, 102)
    axes.legend()
    return _save(figure, path)


def _grid(
    rows: int, columns: int, size: tuple[float, float], sharex: Any = False
) -> "tuple[Figure, list[list[Axes]]]":
    from matplotlib.figure import Figure

    if not rows or not columns:
        raise InputError("nothing to draw: give at least one pattern")
    wide, high = max(3.0, size[0] * columns), max(2.2, size[1] * rows + 0.6)
    figure = Figure(figsize=(wide, high), dpi=110, layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False, sharex=sharex)
    return figure, [list(row) for row in axes]


def _bars(
    axes: "Axes",
    values: Row,
    bins: int | Row | None,
    *,
    line: float | None = None,
    colour: str = "",
) -> None:
    if not isinstance(bins, np.ndarray):
        bins = _shared(values, bins)
    counts, edges = np.histogram(values, bins=bins)
    axes.stairs(counts, edges, fill=True, color=colour or COLOURS[0])
    if line is not None:
        axes.axvline(line, color="black", linestyle="--", linewidth=1.2, label=f"eps = {line:g}")
        axes.legend(fontsize=7)


def _shared(values: Row, bins: int | None = None) -> Row:
    """Edges from the smallest to the largest of the values, of some width in any case."""
    if bins is None:
        bins = min(40, max(8, round(2 * len(values) ** 0.5)))
    if not len(values):
        return np.linspace(0, 1, bins + 1)
    low, high = float(values.min()), float(values.max())
    # Equal numbers, or such that differ by rounding only, want bins that floats can tell apart.
    least = 1e-6 * max(abs(low), abs(high)) or 1.0
    if high - low < least:
        low, high = low - least / 2, high + least / 2
    return np.linspace(low, high, bins + 1)


def _picture(delta: Row) -> Row:
    """``(H, W)``, or ``(H, W, 3)`` for colours; anything else is one strip."""
    if delta.ndim == 3 and delta.shape[0] == 3:
        return delta.transpose(1, 2, 0)
    if delta.ndim == 3 and delta.shape[0] == 1:
        return delta.reshape(delta.shape[1:])
    return delta if delta.ndim == 2 else delta.reshape(1, -1)


def _array(values: Any) -> Row:
    if hasattr(values, "detach"):
        values = values.detach().cpu().numpy()
    return np.asarray(values, dtype=np.float64)


def _numbers(values: Any) -> Row:
    """The finite numbers of a row."""
    row = _array(values).ravel()
    finite: Row = row[np.isfinite(row)]
    return finite


def _plain(value: Any) -> Mapping[str, Any]:
    told: Mapping[str, Any] = value if isinstance(value, Mapping) else value.to_dict()
    return told


def _told(patterns: Iterable[Any]) -> list[Mapping[str, Any]]:
    return [_plain(pattern) for pattern in patterns]


def _solved(pattern: Mapping[str, Any]) -> str:
    return " ".join(filter(None, (str(pattern["solver"]), str(pattern["loss"]))))


def _save(figure: "Figure", path: str | Path) -> Path:
    path = Path(path)
    form = path.suffix.lower().removeprefix(".")
    if form not in ("png", "svg"):
        raise InputError(f"cannot draw to {path.name}: give a file name that ends in .png or .svg")
    path.parent.mkdir(parents=True, exist_ok=True)
    # Neither a date nor a version: the same numbers give the same picture.
    figure.savefig(
        path, format=form, metadata={"Date": None} if form == "svg" else {"Software": None}
    )
    return path
