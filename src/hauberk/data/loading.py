"""`load_data` and `open_data`: from the text of `--data` to tensors, or to what is read by rows."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Unpack

import numpy as np
import torch
from torch import Tensor

from hauberk.data.classes import NUMBER, ORDER, STRING, class_map
from hauberk.data.corruptions import Corruption, corruptions_in
from hauberk.data.dataset import Array, Dataset, OpenDataset, to_images
from hauberk.data.examples import ReadByRows, at_once
from hauberk.data.labels import to_labels
from hauberk.data.reading import PLAIN, Reading, ReadingFields
from hauberk.data.sample import drawn
from hauberk.data.source import RawData, Request
from hauberk.data.sources import SOURCES, SUFFIXES
from hauberk.data.sources.imported import USAGE, open_imported
from hauberk.errors import InputError
from hauberk.threats.box import Box

UNIT = Box()


def load_data(
    spec: str,
    data_dir: str | Path | None = None,
    limit: int | None = None,
    offset: int = 0,
    box: Box | Sequence[Any] = (0.0, 1.0),
    **how: Unpack[ReadingFields],
) -> Dataset:
    """The data set that `spec` names, a window of it, or a sample.

    Args:
        spec: `NAME:ARGUMENT`, one of

            - `digits:train|test`: the 8x8 digits embedded in scikit-learn, 1297 and 500.
            - `mnist:train|test`, `fashion:train|test`: IDX files in `data_dir`, gzipped or not.
            - `cifar10:train|test`, `cifar100:train|test`: the published versions' files, or
              `cifar10-test.npz` and `cifar10-train-batch*.npz`, in `data_dir`.
            - `cifar10c:KIND:SEVERITY`: CIFAR-10-C's `KIND.npy` and `labels.npy` in `data_dir`.
            - `npz:FILE`, `npy:FILE:FILE`, `pt:FILE`: arrays and tensors by their usual names, or
              `FILE:IMAGES:LABELS`; uint8 (N, H, W), (N, H, W, C) or (N, C, H, W), where a
              dimension of 1, 3 or 4 is the channels; floats are taken as they are.
            - `folder:DIR`: one folder a class, in sorted order, numbers by size; images in turn
              from each class, so that `limit` takes from all of them. Needs Pillow.
            - `tar:FILE`: pictures and classes side by side. Needs Pillow.
            - `hf:DIR`, `csv:FILE`, `parquet:FILE`: tables, `FILE:COLUMNS:LABEL`.
            - such a file or folder alone.
            - `pkg.module:attr` or `path/to/file.py:attr`: a pair (images, labels), a dictionary of
              arrays, a data set, loader or iterable of examples or batches, or a callable without
              arguments that returns one. Runs that code.

            Behind any of them `+KIND:SEVERITY` corrupts the images, as `cifar10:test+fog:3` does:
            :class:`hauberk.data.corruptions.Corruption`, with seed 0 and each image's position.
        data_dir: where the files are; a FILE or DIR that is not found from the current directory
            is looked for here.
        limit: at most so many examples.
        offset: position of the first one.
        box: valid range of the inputs, which bytes 0 to 255 and the embedded digits are spread
            over; other floats are taken as they are.
        how: `sample`, `balanced`, `sample_seed`, `resize`, `crop`, `rgb`, `grey`, `layout` and
            `classes`: see :class:`hauberk.data.reading.Reading`. A sample is drawn from the window
            of `limit` and `offset`; `ids` stay positions in the whole data set.

    Raises:
        InputError: if anything is missing, corrupt, empty or inconsistent, or if the images cannot
            be corrupted so.

    Example:
        >>> from hauberk.data import load_data
        >>> data = load_data("digits:test", limit=100)
        >>> data.images.shape, data.classes
        (torch.Size([100, 1, 8, 8]), 10)
    """
    asked = _asked(spec, data_dir, limit, offset, Box.of(box), Reading(**how))
    images, labels = asked.read(asked.ids)
    return Dataset(images, labels, asked.ids, spec, asked.classes, asked.names)


def open_data(
    spec: str,
    data_dir: str | Path | None = None,
    limit: int | None = None,
    offset: int = 0,
    box: Box | Sequence[Any] = (0.0, 1.0),
    **how: Unpack[ReadingFields],
) -> OpenDataset:
    """The same data set as :func:`load_data` gives, its images left where they are.

    Args:
        spec, data_dir, limit, offset, box, how: as there.

    Raises:
        InputError: as there; what is wrong with an image is found when it is read.

    Example:
        >>> data = open_data("digits:test", limit=100)
        >>> len(data), data.images[3:5].shape
        (100, torch.Size([2, 1, 8, 8]))
    """
    return _asked(spec, data_dir, limit, offset, Box.of(box), Reading(**how)).opened()


def opened(raw: RawData, name: str, reading: Reading = PLAIN, box: Box = UNIT) -> OpenDataset:
    """What a source gives, all of it or a sample, left where it is.

    Raises:
        InputError: if it is empty, and as :func:`open_data` does.

    Example:
        >>> from hauberk.data.source import in_memory
        >>> data = opened(in_memory(np.zeros((5, 2)), np.arange(5), "mine"), "mine")
        >>> data.images[:2].shape, data.labels.tolist()
        (torch.Size([2, 2]), [0, 1, 2, 3, 4])
    """
    return replace(_chosen(raw, name, None, 0, reading), box=box).opened()


@dataclass(frozen=True)
class _Chosen:
    """Examples of a source, and how they become tensors.

    Attributes:
        ids: their positions in the whole data set, in increasing order.
        numbers: the model's class for each label of the source; None if they are the same.
        classes, names: how many classes there are, and what they are called, where it is known.
    """

    raw: RawData
    name: str
    ids: Tensor
    reading: Reading = PLAIN
    corruptions: Sequence[Corruption] = ()
    numbers: tuple[int, ...] | None = None
    classes: int | None = None
    names: tuple[str, ...] | None = None
    box: Box = UNIT

    def opened(self) -> OpenDataset:
        """The same, its images read when they are asked for."""
        images = SourceImages(self)
        labels = torch.cat([*images.labels()])
        return OpenDataset(images, labels, self.ids, self.name, self.classes, self.names)

    def read(self, ids: Tensor) -> tuple[Tensor, Tensor]:
        """Images and labels of some of them, `ids` in increasing order."""
        images, labels = [], []
        for start, stop in _runs(ids):
            read, found = self.raw.read(start, stop)
            images.append(self.images(read, start))
            labels.append(self.labels(found))
            if images[-1].shape[1:] != images[0].shape[1:]:
                raise InputError(
                    f"{self.name}: images {start} to {stop - 1} have shape "
                    f"{tuple(images[-1].shape[1:])}, others {tuple(images[0].shape[1:])}: make all "
                    "alike, e.g. --resize 256 --crop 224"
                )
        return (images[0] if len(images) == 1 else torch.cat(images)), torch.cat(labels)

    def images(self, read: Array, start: int) -> Tensor:
        """What was read from `start` on, converted and corrupted."""
        known = self.raw.unit or read.dtype in (torch.uint8, np.uint8)
        # What a source has made alike is neither laid out nor resized again.
        how = Reading(layout="nchw") if self.raw.fitted else self.reading
        # Corruptions are defined on [0, 1].
        found = to_images(read, self.name, UNIT if self.corruptions else self.box, how)
        for corruption in self.corruptions:
            found = corruption(found, torch.arange(start, start + len(found)))
        late = self.raw.unit or (known and self.corruptions)
        return self.box.spread(found) if late else found

    def labels(self, labels: Array) -> Tensor:
        """The model's classes of labels as the source has them."""
        most = self.classes if self.numbers is None else self.raw.classes
        found = to_labels(labels, self.name, most)
        return found if self.numbers is None else torch.tensor(self.numbers)[found]


class SourceImages(ReadByRows):
    """The images of some examples of a data source, float32, read when they are asked for."""

    def __init__(self, asked: _Chosen) -> None:
        self.asked = asked
        first = asked.read(asked.ids[:1])[0]
        super().__init__((len(asked.ids), *first.shape[1:]), first.dtype)

    def read(self, start: int, stop: int) -> Tensor:
        found = self.asked.read(self.asked.ids[start:stop])[0]
        if found.shape != (stop - start, *self.shape[1:]):
            raise InputError(
                f"{self.asked.name}: images {start} to {stop - 1} have shape "
                f"{tuple(found.shape[1:])}, the first {tuple(self.shape[1:])}: make all alike"
            )
        return found

    def labels(self) -> Iterator[Tensor]:
        """The labels of the examples, portion by portion."""
        raw, ids = self.asked.raw, self.asked.ids
        if raw.labels is not None:
            first = int(ids[0])
            yield self.asked.labels(raw.labels(first, int(ids[-1]) + 1))[ids - first]
            return
        size = at_once(self.shape[1:])
        for place in range(0, len(ids), size):
            yield self.asked.read(ids[place : place + size])[1]


def _asked(
    spec: str, data_dir: str | Path | None, limit: int | None, offset: int, box: Box,
    reading: Reading,
) -> _Chosen:  # fmt: skip
    if limit is not None and limit < 1:
        raise InputError(f"limit={limit}: give at least 1, or leave it out to take all")
    if offset < 0:
        raise InputError(f"offset={offset}: give 0 or more")
    source, corruptions = corruptions_in(spec)
    most = None if limit is None else offset + limit
    raw = _open(Request(source, data_dir, reading, offset, most))
    return replace(_chosen(raw, spec, limit, offset, reading), corruptions=corruptions, box=box)


def _chosen(raw: RawData, spec: str, limit: int | None, offset: int, reading: Reading) -> _Chosen:
    """A window of what a source gives, or a sample of it."""
    if raw.size == 0:
        raise InputError(f"{spec}: the data set is empty")
    if offset >= raw.size:
        raise InputError(f"offset={offset} is beyond the end: {spec} holds {raw.size} examples")
    stop = raw.size if limit is None else min(raw.size, offset + limit)
    ids, (numbers, classes, names) = torch.arange(offset, stop), _classes(raw, reading, spec)
    found = _Chosen(raw, spec, ids, reading, (), numbers, classes, names)
    if reading.sample is None:
        return found
    labels = torch.cat([*SourceImages(found).labels()]) if reading.balanced else None
    return replace(found, ids=drawn(ids, reading.sample, reading.sample_seed, labels))


def _open(request: Request) -> RawData:
    if request.name in SOURCES:
        return SOURCES[request.name].open(request)
    if guess := _guess(request):
        return _open(replace(request, spec=f"{guess}:{request.spec}"))
    usage = ", ".join([*(source.usage for source in SOURCES.values()), USAGE])
    if not request.argument:
        raise InputError(f"data {request.spec!r} is unknown: give {usage}")
    return open_imported(request, usage)


def _guess(request: Request) -> str:
    """The source of a file or folder that is given without one; "" if there is none such."""
    path = Path(request.name).expanduser()
    if not request.name:
        return ""
    if not path.exists() and request.data_dir is not None:
        path = Path(request.data_dir).expanduser() / path
    if path.is_dir():
        saved = ("state.json", "dataset_dict.json")
        return "hf" if any((path / name).is_file() for name in saved) else "folder"
    return SUFFIXES.get(path.suffix.lower(), "") if path.is_file() else ""


def _classes(
    raw: RawData, reading: Reading, spec: str
) -> tuple[tuple[int, ...] | None, int | None, tuple[str, ...] | None]:
    """The model's number of each label, the number of classes, and their names."""
    how, names = reading.classes, raw.names
    if names is not None and how in (None, ORDER, STRING, NUMBER):
        if how == NUMBER:
            if not all(name.isdecimal() for name in names):
                raise InputError(f"{spec}: '{names[0]}' is no number: give --classes FILE")
            return tuple(map(int, names)), None, None
        return None, raw.classes, names
    if how is None or how in (ORDER, STRING, NUMBER):
        return None, raw.classes, None
    known = class_map(how)
    if names is not None:
        return tuple(known.numbers_of(names, spec)), len(known.names), known.names
    if raw.classes is not None and raw.classes != len(known.names):
        raise InputError(
            f"{spec} has {raw.classes} classes without names, {known.where} {len(known.names)}: "
            "they must be as many"
        )
    return None, len(known.names), known.names


def _runs(ids: Tensor) -> Iterator[tuple[int, int]]:
    """First and last position, plus 1, of each run without a gap."""
    found = ids.numpy()
    for run in np.split(found, np.flatnonzero(np.diff(found) != 1) + 1):
        yield int(run[0]), int(run[-1]) + 1
