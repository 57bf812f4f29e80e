"""Data sets that are Python objects: arrays, torch's data sets and loaders, streams."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from torch.utils.data import DataLoader, IterableDataset

from hauberk.data.classes import numbered
from hauberk.data.dataset import Array, Dataset
from hauberk.data.items import (
    Pair,
    are_names,
    as_text,
    is_array,
    is_batch,
    labels_of,
    split_item,
    stack,
)
from hauberk.data.loaders import of_loader, steady
from hauberk.data.naming import pair_of
from hauberk.data.pictures import is_picture
from hauberk.data.reading import PLAIN
from hauberk.data.source import RawData, Request, in_memory
from hauberk.data.streams import InOrder
from hauberk.errors import InputError
from hauberk.spec.imports import one_line

WANTED = (
    "a pair (images, labels), a torch data set or loader, an iterable of (image, label) items or "
    "of batches, or a callable without arguments that returns one"
)


def open_object(found: Any, request: Request, again: Callable[[], Any] | None = None) -> RawData:
    """A data set that is a Python object.

    Args:
        found: the object.
        request: its name, for error messages, and how to read it.
        again: makes the object anew, for one that can be gone through only once.

    Raises:
        InputError: for what is no data set, or cannot be read.

    Example:
        >>> found = open_object([([0.1, 0.2], 1), ([0.3, 0.4], 0)], Request("mine"))
        >>> found.size, found.read(0, 2)[1].tolist()
        (2, [1, 0])
    """
    spec = request.spec
    if isinstance(found, Dataset):
        return in_memory(found.images, found.labels, spec, found.classes, found.class_names)
    if hasattr(found, "test_dataloader") and not hasattr(found, "__getitem__"):
        found = _loader_of(found, spec)
    pair = _pair(found, spec)
    if pair is not None:
        names = _names(found) if isinstance(found, Mapping) else None
        return with_names(in_memory(*pair, spec, names=names), request)
    if isinstance(found, str | bytes) or not (
        hasattr(found, "__getitem__") or hasattr(found, "__iter__")
    ):
        raise InputError(f"data {spec!r} gave a {type(found).__name__}: name {WANTED}")
    if isinstance(found, Mapping):
        parts = ", ".join(str(name) for name in list(found)[:6])
        raise InputError(f"data {spec!r} has the parts {parts}: name one of them")
    if isinstance(found, DataLoader) and not isinstance(found.dataset, IterableDataset):
        raw = of_loader(found, request)
    elif _is_stream(found):
        raw = InOrder(found, request, again).raw()
    else:
        raw = _of_items(found, request)
    names = _names(found)
    count = len(names) if names else None
    return with_names(replace(raw, classes=count, names=names), request)


def with_names(raw: RawData, request: Request) -> RawData:
    """The same data set; labels that are names become numbers, in the order of the names."""
    labels = None if raw.labels is None else raw.labels(0, raw.size)
    some, at = labels, request.start
    if labels is None and raw.names is None and at < raw.size:
        some = raw.read(at, at + 1)[1]
    if some is None or not are_names(some):
        return raw
    if labels is None:
        reads = range(0, raw.size, 500)
        labels = np.concatenate([raw.read(a, min(a + 500, raw.size))[1] for a in reads])
    texts = np.array([as_text(label) for label in np.asarray(labels).reshape(-1).tolist()])
    names = list(raw.names or numbered(set(texts.tolist()), request.reading.classes, request.spec))
    place = {name: number for number, name in enumerate(names)}
    if unknown := set(texts.tolist()) - set(names):
        raise InputError(f"{request.spec}: the label '{min(unknown)}' is none of its classes")
    numbers = np.array([place[text] for text in texts], dtype=np.int64)
    return replace(
        raw, read=lambda a, b: (raw.read(a, b)[0], numbers[a:b]), classes=len(names),
        labels=lambda a, b: numbers[a:b], names=tuple(names),
    )  # fmt: skip


def _loader_of(module: Any, spec: str) -> Any:
    """The one loader for tests of a Lightning data module."""
    try:
        if hasattr(module, "setup"):
            module.setup("test")
        found = module.test_dataloader()
    except Exception as error:
        raise InputError(
            f"data {spec!r}: its test_dataloader failed: {one_line(error, place=True)}"
        ) from error
    if isinstance(found, list | tuple) and not isinstance(found, DataLoader):
        if len(found) != 1:
            raise InputError(f"data {spec!r} has {len(found)} test loaders: name one of them")
        return found[0]
    return found


def _pair(found: Any, spec: str) -> tuple[Array, Array] | None:
    """Images and labels of a pair or a dictionary of arrays."""
    if isinstance(found, Mapping):
        arrays = {str(k): v for k, v in found.items() if is_array(v) and v.ndim}
        if not arrays:
            return None
        names = pair_of(arrays, f"data {spec!r}", how="a function that gives (images, labels)")
        return arrays[names.images], labels_of(arrays[names.labels], spec)
    if not isinstance(found, tuple | list) or len(found) != 2:
        return None
    images, labels = found
    if is_array(images):
        return images, labels_of(labels, spec)
    apart = isinstance(images, list) and hasattr(labels, "__len__") and len(images) == len(labels)
    if apart and images and all(map(is_array, images)):
        return stack(images, PLAIN, spec, 0), labels_of(labels, spec)
    if isinstance(found, tuple) and all(
        isinstance(part, tuple | list) and len(part) == 2 and all(map(is_array, part))
        for part in found
    ):
        raise InputError(
            f"data {spec!r} gave two pairs of arrays, as of training and test: give one of them"
        )
    return None


def _names(found: Any) -> tuple[str, ...] | None:
    """The names of classes that a data set, or what it wraps, has."""
    for _ in range(8):  # subsets of subsets
        features = getattr(found, "features", None)
        if isinstance(features, Mapping):
            for column in ("label", "labels", "fine_label"):
                names = getattr(features.get(column), "names", None)
                if isinstance(names, list):
                    return tuple(map(str, names))
        for attribute in ("classes", "class_names", "target_names"):
            names = getattr(found, attribute, None)
            if isinstance(names, np.ndarray):
                names = names.tolist()
            if isinstance(names, list | tuple) and len(names) > 1:
                firsts = [n[0] if isinstance(n, tuple | list) and n else n for n in names]
                return tuple(map(str, firsts))
        found = getattr(found, "dataset", None)
        if found is None:
            break
    return None


def _is_stream(found: Any) -> bool:
    """Whether it can only be gone through, or holds batches."""
    if isinstance(found, IterableDataset) or not hasattr(found, "__getitem__"):
        return True
    if not hasattr(found, "__len__"):
        return True
    if isinstance(found, list) and found and isinstance(found[0], tuple | list):
        return len(found[0]) == 2 and is_batch(*found[0])
    return False


def _of_items(found: Any, request: Request) -> RawData:
    """A map-style data set."""
    spec, reading = request.spec, request.reading

    def read(start: int, stop: int) -> Pair:
        images, labels = [], []
        for index in range(start, stop):
            try:
                item = found[index]
            except Exception as error:
                raise InputError(
                    f"data {spec!r}: reading item {index} failed: {one_line(error, place=True)}"
                ) from error
            image, label = split_item(item, spec, index)
            images.append(_loaded(image, spec, index))
            labels.append(label)
        return stack(images, reading, spec, start), labels_of(labels, spec)

    return RawData(len(found), steady(read, spec), fitted=True)


def _loaded(image: Any, spec: str, index: int) -> Any:
    """A picture that is read now, so that a broken file is named."""
    if is_picture(image):
        try:
            image.load()
        except Exception as error:
            raise InputError(
                f"data {spec!r}: reading item {index} failed: {one_line(error)}"
            ) from error
    return image
