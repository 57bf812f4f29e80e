"""Labels in the forms in which they are stored, as numbers of classes."""

from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from hauberk.errors import InputError


def to_labels(labels: npt.NDArray[Any] | Tensor, spec: str, classes: int | None) -> Tensor:
    """Int64 labels (N,).

    Args:
        labels: the numbers of the classes, (N,) or (N, 1): integers, floats that are whole, truth
            values, or texts of integers; or one-hot rows (N, C) of zeros and a one.
        spec: the name of the data set, for error messages.
        classes: number of classes, or None if not known.

    Raises:
        InputError: for labels of another form, negative, or not below `classes`.

    Example:
        >>> import numpy as np
        >>> to_labels(np.array([3, 1], np.uint8), "mine", classes=10)
        tensor([3, 1])
        >>> to_labels(np.array([[0.0, 1.0], [1.0, 0.0]]), "mine", classes=None)
        tensor([1, 0])
    """
    found = labels.detach().cpu().numpy() if isinstance(labels, Tensor) else np.asarray(labels)
    if found.ndim == 2 and found.shape[1] == 1:
        found = found[:, 0]
    if found.ndim == 2 and found.dtype.kind in "iufb":
        found = _of_rows(found, spec)
    if found.ndim != 1:
        raise InputError(f"{spec}: labels have shape {tuple(found.shape)}: give one an image")
    tensor = torch.from_numpy(_whole(found, spec))
    if len(tensor) and int(tensor.min()) < 0:
        raise InputError(
            f"{spec}: a label is {int(tensor.min())}: labels start at 0; give 0 and 1 for -1 and 1"
        )
    if classes is not None and len(tensor) and int(tensor.max()) >= classes:
        raise InputError(
            f"{spec}: a label is {int(tensor.max())} but there are {classes} classes: "
            "fetch the file again, or correct the labels"
        )
    return tensor


def _whole(labels: Any, spec: str) -> Any:
    """The labels as int64, if they are whole numbers."""
    if labels.dtype.kind in "iub":
        return labels.astype(np.int64)
    if labels.dtype.kind in "OSU":
        try:
            texts = [t.decode() if isinstance(t, bytes) else t for t in labels.tolist()]
            return np.array([int(text) for text in texts], dtype=np.int64)
        except (TypeError, ValueError, OverflowError):
            example = next(iter(labels.tolist()), "")
            raise InputError(
                f"{spec}: a label is {example!r}: give integers, the numbers of the classes, or "
                "say what the names mean (--classes FILE)"
            ) from None
    if labels.dtype.kind == "f":
        bad = np.flatnonzero(~(np.isfinite(labels) & (labels == np.floor(labels))))
        if not len(bad):
            return labels.astype(np.int64)
        raise InputError(
            f"{spec}: the label of example {bad[0]} is {labels[bad[0]]}: give integers, the "
            "numbers of the classes"
        )
    raise InputError(
        f"{spec}: labels are {labels.dtype}: give integers, the numbers of the classes"
    )


def _of_rows(rows: Any, spec: str) -> Any:
    """The place of the one in each row."""
    if not bool(((rows == 0) | (rows == 1)).all()):
        raise InputError(
            f"{spec}: labels of shape {rows.shape} hold other numbers than 0 and 1: give one class "
            "an image, not a score for each class"
        )
    ones = rows.astype(np.int64).sum(1)
    if bool((ones != 1).any()):
        bad = int(np.flatnonzero(ones != 1)[0])
        raise InputError(
            f"{spec}: the label of example {bad} marks {int(ones[bad])} classes: hauberk evaluates "
            "models that decide for one class, so give one an image"
        )
    return rows.argmax(1).astype(np.int64)
