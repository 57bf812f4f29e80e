"""Images and labels as a Python user has them: apart, or together in a data set or loader."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from hauberk.data.dataset import OpenDataset
from hauberk.data.examples import ReadByRows
from hauberk.data.items import is_array
from hauberk.data.loading import open_data, opened
from hauberk.data.objects import open_object, with_names
from hauberk.data.reading import PLAIN, Reading
from hauberk.data.source import Request, in_memory
from hauberk.errors import InputError
from hauberk.spec.imports import call
from hauberk.threats.box import Box


def holds_labels(images: Any) -> bool:
    """Whether it is a data set, a loader or the like: images and their labels together.

    Example:
        >>> holds_labels(torch.rand(3, 2)), holds_labels([(torch.rand(2), 1)])
        (False, True)
    """
    if isinstance(images, Tensor | np.ndarray | ReadByRows):
        return False
    if not isinstance(images, list) or not images:
        return True
    first = images[0]
    if len(images) == 2 and is_array(first):
        return np.ndim(images[1]) == 1 and len(images[1]) == len(first)
    return isinstance(first, tuple | Mapping)


def labelled(
    images: Any, labels: Any = None, box: Box | Sequence[Any] = (0.0, 1.0), name: str = "data",
    reading: Reading = PLAIN,
) -> OpenDataset:  # fmt: skip
    """Images and labels as a run takes them, read when they are asked for.

    Args:
        images: ``(N, ...)``, a tensor or a NumPy array: floats in the box, or uint8, which is
            spread over it. Or a data set with labels: what :func:`hauberk.data.load_data` returns,
            the text that names one (``mnist:test``), a torch data set or loader, a data set of
            Hugging Face's, an iterable of items or batches, a dictionary of arrays.
        labels: ``(N,)`` classes, or whatever else stands for them; None for a data set.
        box: valid range of the inputs.
        name: what to call it in error messages.
        reading: how images are made alike, and which are drawn.

    Raises:
        InputError: for what is no data set.

    Example:
        >>> loader = torch.utils.data.DataLoader([(torch.rand(3), k) for k in range(4)])
        >>> data = labelled(loader)
        >>> data.images[:2].shape, data.labels.tolist()
        (torch.Size([2, 3]), [0, 1, 2, 3])
    """
    bounds = Box.of(box)
    if isinstance(images, OpenDataset) and reading == PLAIN:
        _require_none(labels)
        return images
    if isinstance(images, str):
        _require_none(labels)
        return open_data(images, box=bounds, **vars(reading))
    if holds_labels(images):
        _require_none(labels)
        request, again = Request(name, None, reading), None
        if callable(images) and not hasattr(images, "__iter__") and not hasattr(images, "__len__"):
            images, again = call(images, name, "data"), images
        return opened(open_object(images, request, again), name, reading, bounds)
    if labels is None:
        raise InputError("labels are missing: give them, or a data set or loader that holds them")
    if isinstance(images, list):
        many = bool(images) and isinstance(images[0], Tensor)
        images = torch.stack(images) if many else np.asarray(images)
    labels = labels if isinstance(labels, Tensor) else np.asarray(labels)
    raw = with_names(in_memory(images, labels, name), Request(name, None, reading))
    return opened(raw, name, reading, bounds)


def _require_none(labels: Any) -> None:
    if labels is not None:
        raise InputError("the data set holds its labels: leave out labels")
