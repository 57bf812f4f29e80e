"""A labelled data set, and the conversion of arrays to its tensors."""

from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from hauberk.data.examples import Examples
from hauberk.errors import InputError
from hauberk.threats.box import Box

Array: TypeAlias = npt.NDArray[Any] | Tensor


@dataclass(frozen=True, eq=False)
class Dataset:
    """Labelled images on the CPU.

    Args:
        images: float32 (N, ...); (N, C, H, W) in [0, 1], or in another box, if they came as uint8.
        labels: int64 (N,), not negative.
        ids: int64 (N,), positions in the whole data set, independent of `limit` and `offset`.
        name: the text that named it, such as "mnist:test".
        classes: number of classes, or None if the source does not say.

    Example:
        >>> import torch
        >>> from hauberk.data import Dataset
        >>> images, labels = torch.rand(3, 1, 8, 8), torch.tensor([0, 1, 1])
        >>> len(Dataset(images, labels, torch.arange(3), name="mine", classes=2))
        3
    """

    images: Tensor
    labels: Tensor
    ids: Tensor
    name: str
    classes: int | None = None

    def __len__(self) -> int:
        return len(self.labels)


@dataclass(frozen=True, eq=False)
class OpenDataset:
    """A labelled data set whose images are read by rows.

    Args:
        images: ``(N, ...)``, read when rows of them are asked for.
        labels, ids, name, classes: as in :class:`Dataset`.
    """

    images: Examples
    labels: Tensor
    ids: Tensor
    name: str
    classes: int | None = None

    def __len__(self) -> int:
        return len(self.labels)


def to_images(images: Array, spec: str, box: Box = Box()) -> Tensor:
    """Float32 images: uint8 is spread over the box and made NCHW; floats keep shape and values.

    Args:
        images: floats of any shape (N, ...), or uint8: (N, H, W) gets one channel; in (N, H, W, C)
            and (N, C, H, W) the last dimension is the channels if it is 1, 3 or 4; (N, D) keeps
            its shape.
        spec: the name of the data set, for error messages.
        box: what the bytes 0 and 255 stand for; [0, 1] divides by 255, and [0, 255] keeps them.

    Raises:
        InputError: for another type or shape, for NaN or infinite values, and for bytes in a box
            without ends.

    Example:
        >>> import numpy as np
        >>> to_images(np.full((2, 28, 28), 255, np.uint8), "mine").shape
        torch.Size([2, 1, 28, 28])
    """
    if isinstance(images, Tensor):
        tensor = images.detach().cpu()
    elif images.dtype == np.uint8:
        tensor = torch.from_numpy(np.array(images))
    elif images.dtype.kind == "f":
        with np.errstate(over="ignore"):  # an overflow is infinite, and refused below
            tensor = torch.from_numpy(np.array(images, dtype=np.float32))
    else:
        raise InputError(f"{spec}: images are {images.dtype}: give uint8 in 0..255, or floats")
    if tensor.ndim < 2:
        raise InputError(f"{spec}: images have shape {tuple(tensor.shape)}: give (N, ...)")
    if tensor.dtype == torch.uint8:
        tensor = _to_nchw(tensor, spec)
        if box.is_unit:
            return (tensor.to(torch.float32) / 255).contiguous()
        return box.spread(tensor.to(torch.float64) / 255).to(torch.float32).contiguous()
    if not tensor.is_floating_point():
        raise InputError(f"{spec}: images are {tensor.dtype}: give uint8 in 0..255, or floats")
    tensor = tensor.to(torch.float32).contiguous()
    if not tensor.isfinite().all():
        raise InputError(f"{spec}: images hold NaN or infinite values: remove those images")
    return tensor


def _to_nchw(images: Tensor, spec: str) -> Tensor:
    if images.ndim == 2:
        return images
    if images.ndim == 3:
        return images.unsqueeze(1)
    if images.ndim == 4 and images.shape[-1] in (1, 3, 4):
        return images.permute(0, 3, 1, 2)
    if images.ndim == 4 and images.shape[1] in (1, 3, 4):
        return images
    raise InputError(
        f"{spec}: uint8 images of shape {tuple(images.shape)}: give (N, H, W), or (N, H, W, C) or "
        "(N, C, H, W) with 1, 3 or 4 channels, or floats of any shape"
    )


def to_labels(labels: Array, spec: str, classes: int | None) -> Tensor:
    """Int64 labels (N,).

    Args:
        labels: integers (N,), the numbers of the classes.
        spec: the name of the data set, for error messages.
        classes: number of classes, or None if not known.

    Raises:
        InputError: unless they are integers, not negative, and below `classes`.

    Example:
        >>> import numpy as np
        >>> to_labels(np.array([3, 1], np.uint8), "mine", classes=10)
        tensor([3, 1])
    """
    if isinstance(labels, Tensor):
        kind, integer = str(labels.dtype), not (labels.is_floating_point() or labels.is_complex())
        integer = integer and labels.dtype != torch.bool
    else:
        kind, integer = str(labels.dtype), labels.dtype.kind in "iu"
    if labels.ndim != 1:
        raise InputError(f"{spec}: labels have shape {tuple(labels.shape)}: give one an image")
    if not integer:
        raise InputError(f"{spec}: labels are {kind}: give integers, the numbers of the classes")
    if isinstance(labels, Tensor):
        tensor = labels.detach().cpu().to(torch.int64)
    else:
        tensor = torch.from_numpy(np.array(labels, dtype=np.int64))
    if len(tensor) and int(tensor.min()) < 0:
        raise InputError(f"{spec}: a label is {int(tensor.min())}: labels start at 0")
    if classes is not None and len(tensor) and int(tensor.max()) >= classes:
        raise InputError(
            f"{spec}: a label is {int(tensor.max())} but there are {classes} classes: "
            "fetch the file again, or correct the labels"
        )
    return tensor
