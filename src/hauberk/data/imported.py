"""Data from the user's own code."""

from typing import Any

import numpy as np
import torch
from torch import Tensor

from hauberk.data.dataset import Array, Dataset, Source, array_source
from hauberk.errors import InputError
from hauberk.spec.imports import call, import_object, one_line

_WANTED = (
    "a pair (images, labels), a torch data set with a length and (image, label) items, "
    "or a callable without arguments that returns one"
)


def imported_source(spec: str, known: str) -> Source:
    """What the import path `spec` names: arrays, a map-style torch data set, or a callable."""
    found: Any = import_object(spec, "data", known)
    if callable(found):
        found = call(found, spec, "data")
    if isinstance(found, Dataset):
        return array_source(found.images, found.labels, spec, found.classes)
    if isinstance(found, tuple | list) and len(found) == 2 and _is_array(found[0]):
        return array_source(found[0], _to_array(found[1], spec), spec)
    if isinstance(found, str) or not hasattr(found, "__getitem__"):
        raise InputError(f"data {spec!r} gave a {type(found).__name__}: name {_WANTED}")
    try:
        size = len(found)
    except TypeError as error:
        raise InputError(f"data {spec!r} gave a {type(found).__name__} without length") from error
    classes = getattr(found, "classes", None)
    count = len(classes) if isinstance(classes, list | tuple) else None
    return Source(size, lambda start, stop: _read_items(found, spec, start, stop), count)


def _read_items(dataset: Any, spec: str, start: int, stop: int) -> tuple[Array, Array]:
    images: list[Any] = []
    labels: list[Any] = []
    for index in range(start, stop):
        try:
            item = dataset[index]
            if isinstance(item, tuple | list) and len(item) == 2 and not _is_array(item[0]):
                item = (np.asarray(item[0]), item[1])
        except Exception as error:
            raise InputError(
                f"data {spec!r}: reading item {index} failed: {one_line(error, place=True)}"
            ) from error
        if not isinstance(item, tuple | list) or len(item) != 2:
            raise InputError(
                f"data {spec!r}: item {index} is a {type(item).__name__}, not (image, label)"
            )
        images.append(item[0])
        labels.append(item[1].item() if _is_array(item[1]) and item[1].ndim == 0 else item[1])
        first, last = images[0], images[-1]
        if type(first) is not type(last) or (first.shape, first.dtype) != (last.shape, last.dtype):
            raise InputError(
                f"data {spec!r}: item {index} has shape {tuple(last.shape)} and type "
                f"{last.dtype}, item {start} {tuple(first.shape)} and {first.dtype}: "
                "make all images alike"
            )
    stacked = torch.stack(images) if isinstance(images[0], Tensor) else np.stack(images)
    return stacked, _to_array(labels, spec)


def _is_array(value: object) -> bool:
    return isinstance(value, Tensor | np.ndarray)


def _to_array(labels: Any, spec: str) -> Array:
    try:
        return labels if _is_array(labels) else np.asarray(labels)
    except ValueError as error:
        raise InputError(f"data {spec!r}: labels must be integers, one an image") from error
