"""Pictures of first-layer filters."""

from collections.abc import Mapping
from math import ceil, isqrt
from pathlib import Path
from typing import Any

import numpy as np

from hauberk.errors import InputError
from hauberk.report.plots.canvas import Row, array, canvas, label, mapping, save


def filters(panels: Mapping[str, Any], path: str | Path, *, title: str = "") -> Path:
    """All filters of several models side by side, those of a single weight framed.

    Each is scaled to its own largest weight, red above 0 and blue below; of several input channels,
    three are red, green and blue, and others are laid side by side.

    Args:
        panels: by model, mappings (or what has ``to_dict``) with ``weights`` (K, C, ...),
            ``share`` (K,) and ``single``.
        path: ends in .png or .svg.
        title: above all panels.

    Raises:
        InputError: if there is nothing to draw.

    Source: Maini et al. 2020, Figures 3 and 6 to 10.
    """
    if not panels:
        raise InputError("no filters to draw: give at least one model")
    figure, (row,) = canvas(1, len(panels), (2.8, 2.6))
    for axes, (name, panel) in zip(row, panels.items(), strict=True):
        found = mapping(panel)
        tiles = np.stack([tile(array(weight)) for weight in found["weights"]])
        marked = array(found["share"]) >= found["single"]
        sheet, corners = laid_out(tiles)
        axes.imshow(sheet, interpolation="none")
        axes.set(xticks=[], yticks=[])
        for spine in axes.spines.values():
            spine.set_visible(False)
        high, wide = tiles.shape[1:3]
        for place in np.flatnonzero(marked):
            x, y = corners[place]
            frame = [(x, y), (x + wide, y), (x + wide, y + high), (x, y + high), (x, y)]
            axes.plot(*(np.array(frame).T - 0.5), color="black", linewidth=1.2)
        axes.set_title(
            label(f"{name}: {int(marked.sum())} of {len(tiles)} of one weight"), fontsize=8
        )
    return save(figure, path, title)


def tile(weight: Row) -> Row:
    """The colours of one filter, ``(H, W, 3)`` in [0, 1]: grey where a weight is 0.

    Args:
        weight: ``(C, H, W)``, ``(C, L)`` or ``(C,)``.

    Example:
        >>> tile(np.array([[[1.0, 0.0, -1.0]]]))[0, :, 0].tolist()
        [1.0, 0.96, 0.0]
    """
    top = np.abs(weight).max(initial=0.0) or 1.0
    scaled = weight / top
    if scaled.ndim == 3 and len(scaled) == 3:
        colours: Row = 0.5 + scaled.transpose(1, 2, 0) / 2
        return colours
    flat: Row = scaled if scaled.ndim == 2 else scaled.reshape(len(scaled), -1)
    if scaled.ndim >= 3:
        flat = np.concatenate(list(scaled.reshape(*scaled.shape[:2], -1)), axis=1)
    # White is 0.96: empty filters differ from the sheet's white.
    warm, cold = np.clip(flat, 0, 1), np.clip(-flat, 0, 1)
    red = np.where(flat >= 0, 0.96 + 0.04 * warm, 0.96 - 0.96 * cold)
    green = 0.96 - 0.8 * (warm + cold)
    blue = np.where(flat <= 0, 0.96 + 0.04 * cold, 0.96 - 0.96 * warm)
    return np.stack([red, green, blue], axis=2)


def laid_out(tiles: Row) -> tuple[Row, list[tuple[int, int]]]:
    """A sheet ``(H, W, 3)`` of tiles ``(K, h, w, 3)``, and the corner (x, y) of each.

    Args:
        tiles: in reading order; between them is one white pixel.

    Example:
        >>> sheet, corners = laid_out(np.zeros((5, 2, 4, 3)))
        >>> sheet.shape, corners[1], corners[3]
        ((7, 16, 3), (6, 1), (1, 4))
    """
    count, high, wide = tiles.shape[:3]
    columns = isqrt(count - 1) + 1  # about as many as rows
    shape = ceil(count / columns) * (high + 1) + 1, columns * (wide + 1) + 1
    sheet = np.ones((*shape, 3))
    corners = []
    for place, one in enumerate(tiles):
        line, column = divmod(place, columns)
        y, x = 1 + line * (high + 1), 1 + column * (wide + 1)
        sheet[y : y + high, x : x + wide] = one
        corners.append((x, y))
    return sheet, corners
