"""Pictures of examples and of what attacks make of them."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from hauberk.errors import InputError
from hauberk.report.plots.canvas import Row, array, canvas, label, picture_of, save, show

WRONG = "#C00000"
MOST = 40
"""Most examples of one picture."""


def gallery(
    found: Any, path: str | Path, *, box: tuple[Any, Any] = (0, 1), title: str = ""
) -> Path:
    """A row of images for each example, clean first, and below it the differences.

    Above each image stand the class that the model sees in it, red where it is wrong, and the
    distance in the threat's unit. Differences are scaled to their own largest, red where the image
    has become brighter and blue where darker; of three channels, grey is no change.

    Args:
        found: what has ``clean`` (N, ...), ``labels``, ``predicted``, ``ids`` and ``exhibits``,
            each of these with ``name``, ``points``, ``fooled``, ``predicted`` and ``distance``
            (:class:`hauberk.analysis.Gallery`); it may have ``class_names``.
        path: ends in .png or .svg.
        box: the values of black and white, numbers or arrays of one a channel.
        title: above all.

    Raises:
        InputError: if there is nothing to draw, or too much.

    Source: Tramèr & Boneh 2019, Figure 4; Liang et al. 2023, Figure 3.
    """
    count = len(found.clean)
    if not count or not found.exhibits:
        raise InputError("nothing to draw: give at least one example and one threat")
    if count > MOST:
        raise InputError(f"{count} examples are too many for a picture: show {MOST} or fewer")
    names = getattr(found, "class_names", None)
    figure, grid = canvas(2 * count, 1 + len(found.exhibits), (1.3, 1.25))
    for place in range(count):
        above, below = grid[2 * place], grid[2 * place + 1]
        clean = array(found.clean[place])
        _image(above[0], clean, box)
        seen, own = int(found.predicted[place]), int(found.labels[place])
        head = "clean\n" if place == 0 else ""
        above[0].set_title(
            head + _class(seen, own, names), fontsize=7, color=_colour(seen not in (-1, own))
        )
        above[0].set_ylabel(f"example {int(found.ids[place])}", fontsize=7)
        below[0].axis("off")
        for axes, under, shown in zip(above[1:], below[1:], found.exhibits, strict=True):
            point, fooled = array(shown.points[place]), bool(shown.fooled[place])
            head = f"{label(shown.name)}\n" if place == 0 else ""
            if not np.isfinite(point).all():
                axes.set_title(f"{head}stands", fontsize=7)
                axes.axis("off")
                under.axis("off")
                continue
            words = (
                f"{_class(int(shown.predicted[place]), own, names)}, "
                f"{float(shown.distance[place]):.3g}"
            )
            axes.set_title(head + words, fontsize=7, color=_colour(fooled))
            _image(axes, point, box)
            # Few colours: an SVG file of noise stays small.
            show(under, (16 * difference(point - clean)).round() / 16, vmin=0, vmax=1)
    return save(figure, path, title)


def difference(delta: Row) -> Row:
    """The colours of a difference, ``(H, W, 3)`` in [0, 1].

    Args:
        delta: ``(H, W)``, ``(C, H, W)`` or of any other shape, which is one strip.

    Example:
        >>> difference(np.array([[2.0, 0.0, -1.0]])).tolist()
        [[[1.0, 0.0, 0.0], [1.0, 1.0, 1.0], [0.5, 0.5, 1.0]]]
    """
    top = float(np.abs(delta).max(initial=0.0)) or 1.0
    picture = picture_of(delta) / top
    if picture.ndim == 3:
        return 0.5 + picture / 2
    up, down = np.clip(picture, 0, 1), np.clip(-picture, 0, 1)
    return np.stack([1 - down, 1 - up - down, 1 - up], axis=2)


def _image(axes: Any, image: Row, box: tuple[Any, Any]) -> None:
    picture = ((picture_of(image) - box[0]) / (box[1] - box[0])).clip(0, 1)
    picture = (63 * picture).round() / 63
    show(axes, picture, cmap="gray", vmin=0, vmax=1)


def _class(seen: int, own: int, names: Sequence[str] | None = None) -> str:
    def called(k: int) -> str:
        return shortened(names[k]) if names is not None and 0 <= k < len(names) else str(k)

    return f"{called(own)} as {called(seen)}" if seen not in (-1, own) else called(own)


def shortened(name: str, most: int = 12) -> str:
    """A name with an ellipsis where it is too long for its place.

    Example:
        >>> shortened("cat"), shortened("great white shark")
        ('cat', 'great white…')
    """
    return name if len(name) <= most else name[: most - 1].rstrip() + "…"


def _colour(wrong: bool) -> str:
    return WRONG if wrong else "black"
