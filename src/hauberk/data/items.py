"""Examples as other libraries hand them out: pairs, dictionaries, batches; as arrays."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from hauberk.data.dataset import Array
from hauberk.data.fitting import fitted, laid_out
from hauberk.data.naming import pair_of
from hauberk.data.pictures import is_picture, read_pictures
from hauberk.data.reading import Reading
from hauberk.errors import InputError

Pair = tuple[Array, Array]


def is_array(value: object) -> bool:
    """Whether it is a tensor or a NumPy array."""
    return isinstance(value, Tensor | np.ndarray)


def split_item(item: Any, spec: str, index: int) -> tuple[Any, Any]:
    """Image and label of an item; what follows them, such as its number, is left out.

    Args:
        item: (image, label), (image, label, ...), or a dictionary with the usual names.
        spec: the name of the data set; index: of the item, for error messages.

    Raises:
        InputError: for what holds no image and label.

    Example:
        >>> split_item({"img": 1, "fine_label": 2, "coarse_label": 0}, "mine", 0)
        (1, 2)
    """
    where = f"data {spec!r}: item {index}"
    if isinstance(item, Mapping):
        names = [str(name) for name in item]
        if "input_ids" in names:
            raise InputError(f"{where} holds input_ids: give inputs that are floats, not tokens")
        pair = pair_of(names, where, how="a function that gives (image, label)")
        return item[pair.images], item[pair.labels]
    if not isinstance(item, tuple | list) or len(item) < 2:
        raise InputError(f"{where} is a {type(item).__name__}, not (image, label)")
    image, label = item[0], item[1]
    if len(item) > 2 and not (is_array(image) or is_picture(image) or isinstance(image, list)):
        kinds = ", ".join(type(part).__name__ for part in item[:4])
        raise InputError(f"{where} is ({kinds}): give (image, label) items")
    return image, label


def is_batch(image: Any, label: Any) -> bool:
    """Whether they are several images and as many labels."""
    if isinstance(label, list | tuple):
        return hasattr(image, "__len__") and len(image) == len(label)
    if not is_array(label) or label.ndim == 0 or not hasattr(image, "__len__"):
        return False
    if is_picture(image) or len(image) != len(label):
        return False
    return not is_array(image) or image.ndim > 1


def stack(images: Sequence[Any], reading: Reading, spec: str, start: int) -> Array:
    """Images of single items as one array; pictures are made alike as `reading` says.

    Raises:
        InputError: if they differ in shape or type.
    """
    if len(images) and all(is_picture(image) for image in images):
        named = ((f"item {start + k}", image) for k, image in enumerate(images))
        return read_pictures(named, reading, spec)
    arrays: list[Any] = [
        image if is_array(image) else as_array(image, spec, start) for image in images
    ]
    first = arrays[0]
    for number, image in enumerate(arrays):
        if type(image) is not type(first) or (image.shape, image.dtype) != (
            first.shape, first.dtype,
        ):  # fmt: skip
            raise InputError(
                f"data {spec!r}: item {start + number} has shape {tuple(image.shape)} and type "
                f"{image.dtype}, item {start} {tuple(first.shape)} and {first.dtype}: "
                "make all images alike"
            )
    joined = torch.stack(arrays) if isinstance(first, Tensor) else np.stack(arrays)
    return arranged(joined, reading, spec)


def arranged(images: Array, reading: Reading, spec: str) -> Array:
    """Arrays in the layout, colour and size that `reading` asks for; their type stays.

    Raises:
        InputError: as :func:`hauberk.data.fitting.laid_out` does.
    """
    if not isinstance(images, Tensor):
        if images.dtype != np.uint8 and images.dtype.kind != "f":
            return images
        with np.errstate(over="ignore"):
            kind = np.uint8 if images.dtype == np.uint8 else np.float32
            images = torch.from_numpy(np.array(images, dtype=kind))
    return fitted(laid_out(images.detach().cpu(), reading, spec), reading, spec)


def as_array(value: Any, spec: str, index: int) -> Array:
    """A value that is no array yet; images of integers from 0 to 255 become uint8, others floats.

    Raises:
        InputError: for ragged ones, and for what holds no numbers.
    """
    try:
        found = np.asarray(value)
    except ValueError as error:
        raise InputError(f"data {spec!r}: item {index} is a ragged list of numbers") from error
    if found.dtype.kind not in "uifb":
        raise InputError(f"data {spec!r}: item {index} is a {type(value).__name__}, no image")
    if found.ndim > 1 and found.dtype.kind in "ui" and found.min() >= 0 and found.max() <= 255:
        return found.astype(np.uint8)
    return found.astype(np.float32) if found.dtype.kind in "uib" else found


def labels_of(labels: Any, spec: str) -> Array:
    """Labels of several items as one array.

    Raises:
        InputError: if they are ragged.
    """
    if is_array(labels):
        return labels  # type: ignore[no-any-return]
    try:
        found = np.asarray(
            [one.detach().cpu() if isinstance(one, Tensor) else one for one in labels]
        )
    except ValueError as error:
        raise InputError(f"data {spec!r}: labels must be integers, one an image") from error
    return found


def are_names(labels: Array) -> bool:
    """Whether labels are texts that are no integers.

    Example:
        >>> are_names(np.array(["cat", "1"])), are_names(np.array(["2", "1"]))
        (True, False)
    """
    if isinstance(labels, Tensor) or labels.dtype.kind not in "OSU":
        return False
    return not all(as_text(label).lstrip("-").isdecimal() for label in labels.reshape(-1).tolist())


def as_text(label: Any) -> str:
    """A label that is a name, which may have been stored as bytes."""
    return label.decode() if isinstance(label, bytes) else str(label)
