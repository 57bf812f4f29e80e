"""Data from the user's own code."""

from typing import Any

import numpy as np
import torch
from torch import Tensor

from hauberk.data.dataset import Array, Dataset
from hauberk.data.source import RawData, Request, in_memory
from hauberk.errors import InputError
from hauberk.spec.imports import call, import_object, one_line

USAGE = "pkg.module:attr or path/to/file.py:attr"
_WANTED = (
    "a pair (images, labels), a torch data set with a length and (image, label) items, "
    "or a callable without arguments that returns one"
)


def open_imported(request: Request, usage: str) -> RawData:
    """The arrays, the map-style torch data set, or what the callable returns, that a path names.

    Args:
        request: the import path, `pkg.module:attr` or `path/to/file.py:attr`.
        usage: what may be written instead, for error messages.

    Raises:
        InputError: if the path names nothing of the kind, or if its code fails.
    """
    spec = request.spec
    found: Any = import_object(spec, "data", usage)
    if callable(found):
        found = call(found, spec, "data")
    if isinstance(found, Dataset):
        return in_memory(found.images, found.labels, spec, found.classes)
    if isinstance(found, tuple | list) and len(found) == 2 and _is_array(found[0]):
        return in_memory(found[0], _to_array(found[1], spec), spec)
    if isinstance(found, str) or not hasattr(found, "__getitem__"):
        raise InputError(f"data {spec!r} gave a {type(found).__name__}: name {_WANTED}")
    try:
        size = len(found)
    except TypeError as error:
        raise InputError(f"data {spec!r} gave a {type(found).__name__} without length") from error
    classes = getattr(found, "classes", None)
    count = len(classes) if isinstance(classes, list | tuple) else None
    return RawData(size, lambda start, stop: _read_items(found, spec, start, stop), count)


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
