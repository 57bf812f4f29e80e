"""A folder of images, one folder a class."""

import importlib
import warnings
from itertools import zip_longest
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from hauberk.data.dataset import Array
from hauberk.data.source import DataSource, RawData, Request
from hauberk.errors import InputError
from hauberk.spec.imports import one_line

_SUFFIXES = frozenset(
    (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".ppm", ".pgm", ".tif", ".tiff")
)


def _open_folder(request: Request) -> RawData:
    """Class k is the k-th folder by name; images are taken from the classes in turn, by name.

    Only the images of the window are opened. Hidden files and files of other kinds are left out.
    """
    spec, folder = request.spec, request.path
    if not folder.is_dir():
        raise InputError(f"{spec}: {folder} is a file: give a folder that holds one a class")
    classes = sorted(p for p in folder.iterdir() if p.is_dir() and not p.name.startswith("."))
    if not classes:
        raise InputError(f"{spec}: {folder} holds no folders: give it one a class")
    by_class = [_images(spec, path) for path in classes]
    items = [
        (path, label)
        for row in zip_longest(*by_class)
        for label, path in enumerate(row)
        if path is not None
    ]
    return RawData(
        len(items),
        lambda start, stop: _read(spec, items[start:stop]),
        len(classes),
        lambda start, stop: np.array([label for _, label in items[start:stop]]),
    )


FOLDER = DataSource(
    "folder",
    "folder:DIR",
    "Images, one folder a class, equal in size and mode. Needs Pillow.",
    _open_folder,
)


def _images(spec: str, folder: Path) -> list[Path]:
    paths = sorted(
        path
        for path in folder.iterdir()
        if path.suffix.lower() in _SUFFIXES and not path.name.startswith(".") and path.is_file()
    )
    if not paths:
        raise InputError(f"{spec}: the class folder {folder} holds no images: fill or remove it")
    return paths


def _read(spec: str, items: list[tuple[Path, int]]) -> tuple[Array, Array]:
    try:
        pillow: Any = importlib.import_module("PIL.Image")
    except ImportError as error:
        raise InputError(f"{spec} needs Pillow to read images: pip install pillow") from error
    images = [_open(pillow, path) for path, _ in items]
    for image, (path, _) in zip(images, items, strict=True):
        if image.shape != images[0].shape:
            raise InputError(
                f"{spec}: {path} has shape {image.shape}, {items[0][0]} {images[0].shape}: "
                "make all images equal in size, and all grey or all RGB"
            )
    return np.stack(images), np.array([label for _, label in items])


def _open(pillow: Any, path: Path) -> npt.NDArray[Any]:
    """(H, W) for grey images, (H, W, 3) for colour."""
    try:
        with warnings.catch_warnings(), pillow.open(path) as image:
            warnings.simplefilter("error", pillow.DecompressionBombWarning)
            image.load()
            grey, colour = image.mode in ("1", "L"), image.mode in ("P", "RGB")
            if grey or colour:
                return np.array(image.convert("L" if grey else "RGB"))
            mode = image.mode
    except Exception as error:  # Pillow raises OSError, SyntaxError, ValueError and its own
        raise InputError(
            f"{path} is no readable image ({one_line(error)}): replace or remove it"
        ) from error
    raise InputError(f"{path} has mode {mode}: save it as 8-bit grey or RGB")
