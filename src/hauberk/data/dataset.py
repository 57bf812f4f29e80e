"""A labelled data set, and the conversion of arrays to its tensors."""

from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from hauberk.data.examples import Examples
from hauberk.data.fitting import fitted, laid_out
from hauberk.data.reading import PLAIN, Reading
from hauberk.errors import InputError
from hauberk.threats.box import Box

Array: TypeAlias = npt.NDArray[Any] | Tensor


@dataclass(frozen=True, eq=False)
class OpenDataset:
    """A labelled data set whose images are read by rows.

    Args:
        images: ``(N, ...)``, read when rows of them are asked for.
        labels: int64 (N,), not negative.
        ids: int64 (N,), positions in the whole data set, independent of `limit`, `offset` and
            `sample`.
        name: the text that named it, such as "mnist:test".
        classes: number of classes, or None if the source does not say.
        class_names: of the classes 0, 1, ..., where they are known.
    """

    images: Examples
    labels: Tensor
    ids: Tensor
    name: str
    classes: int | None = None
    class_names: tuple[str, ...] | None = None

    def __len__(self) -> int:
        return len(self.labels)


@dataclass(frozen=True, eq=False)
class Dataset(OpenDataset):
    """Labelled images on the CPU.

    Args:
        images: float32 (N, ...); (N, C, H, W) in [0, 1], or in another box, if they came as uint8.
        labels, ids, name, classes, class_names: as in :class:`OpenDataset`.

    Example:
        >>> import torch
        >>> from hauberk.data import Dataset
        >>> images, labels = torch.rand(3, 1, 8, 8), torch.tensor([0, 1, 1])
        >>> len(Dataset(images, labels, torch.arange(3), name="mine", classes=2))
        3
    """

    images: Tensor


def to_images(images: Array, spec: str, box: Box = Box(), reading: Reading = PLAIN) -> Tensor:
    """Float32 images: uint8 is spread over the box and made NCHW; floats keep shape and values.

    Args:
        images: floats of any shape (N, ...), or uint8: (N, H, W) gets one channel; in (N, H, W, C)
            and (N, C, H, W) the dimension of 1, 3 or 4 is the channels; (N, D) keeps its shape.
        spec: the name of the data set, for error messages.
        box: what the bytes 0 and 255 stand for; [0, 1] divides by 255, and [0, 255] keeps them.
        reading: another layout, colour or size.

    Raises:
        InputError: for another type or shape, one that can be read in two ways, for NaN or infinite
            values, and for bytes in a box without ends.

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
    if tensor.dtype != torch.uint8 and not tensor.is_floating_point():
        raise InputError(f"{spec}: images are {tensor.dtype}: give uint8 in 0..255, or floats")
    tensor = laid_out(tensor, reading, spec)
    tensor = fitted(tensor, reading, spec)
    if tensor.dtype == torch.uint8:
        if box.is_unit:
            return (tensor.to(torch.float32) / 255).contiguous()
        return box.spread(tensor.to(torch.float64) / 255).to(torch.float32).contiguous()
    tensor = tensor.to(torch.float32).contiguous()
    if not tensor.isfinite().all():
        raise InputError(f"{spec}: images hold NaN or infinite values: remove those images")
    return tensor
