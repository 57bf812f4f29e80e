"""`load_data` and `open_data`: from the text of `--data` to tensors, or to what is read by rows."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from hauberk.data.corruptions import Corruption, corruptions_in
from hauberk.data.dataset import Array, Dataset, OpenDataset, to_images, to_labels
from hauberk.data.examples import ReadByRows, at_once
from hauberk.data.source import RawData, Request
from hauberk.data.sources import SOURCES
from hauberk.data.sources.imported import USAGE, open_imported
from hauberk.errors import InputError
from hauberk.threats.box import Box


def load_data(
    spec: str,
    data_dir: str | Path | None = None,
    limit: int | None = None,
    offset: int = 0,
    box: Box | Sequence[Any] = (0.0, 1.0),
) -> Dataset:
    """The data set that `spec` names, or a window of it.

    Args:
        spec: `NAME:ARGUMENT`, one of

            - `digits:train|test`: the 8x8 digits embedded in scikit-learn, 1297 and 500.
            - `mnist:train|test`, `fashion:train|test`: IDX files in `data_dir`, gzipped or not.
            - `cifar10:train|test`: `cifar10-test.npz` and `cifar10-train-batch*.npz`, or the
              binary version's `*_batch*.bin`, in `data_dir`.
            - `cifar10c:KIND:SEVERITY`: CIFAR-10-C's `KIND.npy` and `labels.npy` in `data_dir`.
            - `npz:FILE`: arrays `images` and `labels`; uint8 (N, H, W), (N, H, W, C) or
              (N, C, H, W), where a last dimension of 1, 3 or 4 is the channels; floats are taken
              as they are.
            - `folder:DIR`: one folder a class, in sorted order; images in turn from each class, so
              that `limit` takes from all of them. Needs Pillow.
            - `pkg.module:attr` or `path/to/file.py:attr`: a pair (images, labels), a torch data
              set of (image, label) items, or a callable without arguments that returns one. Runs
              that code.

            Behind any of them `+KIND:SEVERITY` corrupts the images, as `cifar10:test+fog:3` does:
            :class:`hauberk.data.corruptions.Corruption`, with seed 0 and each image's position.
        data_dir: where the files are; a FILE or DIR that is not found from the current directory
            is looked for here.
        limit: at most so many examples.
        offset: position of the first one.
        box: valid range of the inputs, which bytes 0 to 255 and the embedded digits are spread
            over; other floats are taken as they are.

    Raises:
        InputError: if anything is missing, corrupt, empty or inconsistent, or if the images cannot
            be corrupted so.

    Example:
        >>> from hauberk.data import load_data
        >>> data = load_data("digits:test", limit=100)
        >>> data.images.shape, data.classes
        (torch.Size([100, 1, 8, 8]), 10)
    """
    asked = _Window.of(spec, data_dir, limit, offset, box)
    read, labels = asked.raw.read(asked.start, asked.stop)
    return Dataset(
        images=asked.images(read, asked.start),
        labels=to_labels(labels, asked.source, asked.raw.classes),
        ids=torch.arange(asked.start, asked.stop),
        name=spec,
        classes=asked.raw.classes,
    )


def open_data(
    spec: str,
    data_dir: str | Path | None = None,
    limit: int | None = None,
    offset: int = 0,
    box: Box | Sequence[Any] = (0.0, 1.0),
) -> OpenDataset:
    """The same data set as :func:`load_data` gives, its images left where they are.

    Args:
        spec, data_dir, limit, offset, box: as there.

    Raises:
        InputError: as there; what is wrong with an image is found when it is read.

    Example:
        >>> data = open_data("digits:test", limit=100)
        >>> len(data), data.images[3:5].shape
        (100, torch.Size([2, 1, 8, 8]))
    """
    asked = _Window.of(spec, data_dir, limit, offset, box)
    classes, images = asked.raw.classes, SourceImages(asked)
    return OpenDataset(
        images=images,
        labels=torch.cat([to_labels(some, asked.source, classes) for some in images.labels()]),
        ids=torch.arange(asked.start, asked.stop),
        name=spec,
        classes=classes,
    )


@dataclass(frozen=True)
class _Window:
    """The examples from ``start`` to before ``stop`` of a source, and what is made of them."""

    raw: RawData
    source: str
    corruptions: Sequence[Corruption]
    start: int
    stop: int
    box: Box

    @classmethod
    def of(
        cls, spec: str, data_dir: str | Path | None, limit: int | None, offset: int, box: Any
    ) -> "_Window":
        if limit is not None and limit < 1:
            raise InputError(f"limit={limit}: give at least 1, or leave it out to take all")
        if offset < 0:
            raise InputError(f"offset={offset}: give 0 or more")
        source, corruptions = corruptions_in(spec)
        raw = _open(Request(source, data_dir))
        if raw.size == 0:
            raise InputError(f"{spec}: the data set is empty")
        if offset >= raw.size:
            raise InputError(f"offset={offset} is beyond the end: {spec} holds {raw.size} examples")
        stop = raw.size if limit is None else min(raw.size, offset + limit)
        return cls(raw, source, corruptions, offset, stop, Box.of(box))

    def images(self, read: Array, start: int) -> Tensor:
        """What was read from ``start`` on, converted and corrupted."""
        known = self.raw.unit or read.dtype in (torch.uint8, np.uint8)
        # Corruptions are defined on [0, 1].
        found = to_images(read, self.source, Box() if self.corruptions else self.box)
        for corruption in self.corruptions:
            found = corruption(found, torch.arange(start, start + len(found)))
        late = self.raw.unit or (known and self.corruptions)
        return self.box.spread(found) if late else found


class SourceImages(ReadByRows):
    """The images of a window of a data source, float32, read when they are asked for."""

    def __init__(self, asked: _Window) -> None:
        self.asked = asked
        first = self._read(0, 1)
        super().__init__((asked.stop - asked.start, *first.shape[1:]), first.dtype)

    def read(self, start: int, stop: int) -> Tensor:
        found = self._read(start, stop)
        if found.shape != (stop - start, *self.shape[1:]):
            raise InputError(
                f"{self.asked.source}: images {start} to {stop - 1} have shape "
                f"{tuple(found.shape[1:])}, the first {tuple(self.shape[1:])}: make all alike"
            )
        return found

    def labels(self) -> Iterator[Array]:
        """The labels of the window, portion by portion."""
        raw, start, stop = self.asked.raw, self.asked.start, self.asked.stop
        if raw.labels is not None:
            yield raw.labels(start, stop)
            return
        size = at_once(self.shape[1:])
        for place in range(start, stop, size):
            yield raw.read(place, min(stop, place + size))[1]

    def _read(self, start: int, stop: int) -> Tensor:
        begin = self.asked.start + start
        return self.asked.images(self.asked.raw.read(begin, self.asked.start + stop)[0], begin)


def _open(request: Request) -> RawData:
    if request.name in SOURCES:
        return SOURCES[request.name].open(request)
    if request.name == "hf":
        raise InputError(
            f"{request.spec}: this version does not read the Hugging Face hub: save it as an .npz "
            "file and give npz:FILE, or name a function that returns the data set, pkg.module:attr"
        )
    usage = ", ".join([*(source.usage for source in SOURCES.values()), USAGE])
    if not request.argument:
        raise InputError(f"data {request.spec!r} is unknown: give {usage}")
    return open_imported(request, usage)
