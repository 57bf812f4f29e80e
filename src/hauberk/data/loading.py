"""`load_data`: from the text of `--data` to tensors."""

from pathlib import Path

import torch

from hauberk.data.corruptions import corruptions_in
from hauberk.data.dataset import Dataset, to_images, to_labels
from hauberk.data.source import RawData, Request
from hauberk.data.sources import SOURCES
from hauberk.data.sources.imported import USAGE, open_imported
from hauberk.errors import InputError


def load_data(
    spec: str,
    data_dir: str | Path | None = None,
    limit: int | None = None,
    offset: int = 0,
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

    Raises:
        InputError: if anything is missing, corrupt, empty or inconsistent, or if the images cannot
            be corrupted so.

    Example:
        >>> from hauberk.data import load_data
        >>> data = load_data("digits:test", limit=100)
        >>> data.images.shape, data.classes
        (torch.Size([100, 1, 8, 8]), 10)
    """
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
    read, labels = raw.read(offset, stop)
    images, ids = to_images(read, source), torch.arange(offset, stop)
    for corruption in corruptions:
        images = corruption(images, ids)
    return Dataset(
        images=images,
        labels=to_labels(labels, source, raw.classes),
        ids=ids,
        name=spec,
        classes=raw.classes,
    )


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
