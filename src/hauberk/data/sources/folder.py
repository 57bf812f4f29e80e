"""A folder of images, one folder a class."""

import os
from itertools import zip_longest
from pathlib import Path

import numpy as np

from hauberk.data.classes import numbered
from hauberk.data.pictures import SUFFIXES, read_pictures
from hauberk.data.source import DataSource, RawData, Request
from hauberk.errors import InputError

_SPLITS = frozenset(("train", "test", "val", "valid", "validation", "training", "testing"))


def _open_folder(request: Request) -> RawData:
    """Class k is the k-th folder by name, numbers by size; images from the classes in turn.

    Folders inside those of classes belong to them. Only the images of the window are opened.
    Hidden files and files of other kinds are left out.
    """
    spec, folder = request.spec, request.path
    if not folder.is_dir():
        raise InputError(f"{spec}: {folder} is a file: give a folder that holds one a class")
    names = [p.name for p in folder.iterdir() if p.is_dir() and not p.name.startswith(".")]
    if not names:
        raise InputError(f"{spec}: {folder} holds no folders: give it one a class")
    if splits := sorted(name for name in names if name.lower() in _SPLITS):
        raise InputError(
            f"{spec}: {folder} holds {', '.join(splits)}, which are splits and no classes: give "
            f"folder:{folder / splits[0]}"
        )
    classes = numbered(names, request.reading.classes, spec)
    by_class = [_images(spec, folder / name) for name in classes]
    items = [
        (path, label)
        for row in zip_longest(*by_class)
        for label, path in enumerate(row)
        if path is not None
    ]
    labels = np.array([label for _, label in items])

    def read(start: int, stop: int) -> tuple[np.ndarray, np.ndarray]:
        some = ((str(path), path) for path, _ in items[start:stop])
        return read_pictures(some, request.reading, spec), labels[start:stop]

    called = tuple(classes)
    return RawData(len(items), read, len(called), lambda a, b: labels[a:b], called, fitted=True)


FOLDER = DataSource(
    "folder",
    "folder:DIR",
    "Images, one folder a class, in the order of their names, numbers by size. Needs Pillow.",
    _open_folder,
)


def _images(spec: str, folder: Path) -> list[Path]:
    paths = []
    for place, folders, files in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        paths += [
            Path(place, name)
            for name in sorted(files)
            if not name.startswith(".") and Path(name).suffix.lower() in SUFFIXES
        ]
    if not paths:
        raise InputError(f"{spec}: the class folder {folder} holds no images: fill or remove it")
    return paths
