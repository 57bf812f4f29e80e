"""`load_data`: from the words of `--data` to tensors."""

from pathlib import Path

import torch

from hauberk.data.dataset import Dataset, Source, to_images, to_labels
from hauberk.data.folder import folder_source
from hauberk.data.imported import imported_source
from hauberk.data.sources import cifar10_source, digits_source, mnist_source, npz_source
from hauberk.errors import InputError

KNOWN = (
    "digits:train|test, mnist:train|test, fashion:train|test, cifar10:train|test, npz:FILE, "
    "folder:DIR, pkg.module:attr or path/to/file.py:attr"
)
_SPLITS = ("train", "test")


def load_data(
    spec: str,
    data_dir: str | Path | None = None,
    limit: int | None = None,
    offset: int = 0,
) -> Dataset:
    """The data set that `spec` names: at most `limit` examples from position `offset` on.

    - `digits:train|test`: the 8x8 digits embedded in scikit-learn, 1297 and 500, fixed split.
    - `mnist:train|test`, `fashion:train|test`: IDX files in `data_dir`, packed or not.
    - `cifar10:train|test`: `cifar10-test.npz` and `cifar10-train-batch*.npz`, or the binary
      version's `*_batch*.bin`, in `data_dir`.
    - `npz:FILE`: arrays `images` and `labels`; uint8 (N, H, W), (N, H, W, C) or (N, C, H, W), where
      a last dimension of 1, 3 or 4 is the channels; floats are taken as they are.
    - `folder:DIR`: one folder a class, in sorted order; images in turn from each class, so that
      `limit` takes from all of them. Needs Pillow.
    - `pkg.module:attr` or `path/to/file.py:attr`: a pair (images, labels), a torch data set of
      (image, label) items, or a callable without arguments that returns one. Runs that code.

    A FILE or DIR that is not found from the current directory is looked for in `data_dir`.
    Raises `InputError` on anything that is missing, corrupt, empty or inconsistent.
    """
    if limit is not None and limit < 1:
        raise InputError(f"limit={limit}: give at least 1, or leave it out to take all")
    if offset < 0:
        raise InputError(f"offset={offset}: give 0 or more")
    source = _source(spec, data_dir)
    if source.size == 0:
        raise InputError(f"{spec}: the data set is empty")
    if offset >= source.size:
        raise InputError(f"offset={offset} is beyond the end: {spec} holds {source.size} examples")
    stop = source.size if limit is None else min(source.size, offset + limit)
    images, labels = source.read(offset, stop)
    return Dataset(
        images=to_images(images, spec),
        labels=to_labels(labels, spec, source.classes),
        ids=torch.arange(offset, stop),
        name=spec,
        classes=source.classes,
    )


def _source(spec: str, data_dir: str | Path | None) -> Source:
    name, _, rest = spec.partition(":")
    if name in ("npz", "folder"):
        path = _find(spec, rest, data_dir)
        return npz_source(spec, path) if name == "npz" else folder_source(spec, path)
    if name in ("digits", "mnist", "fashion", "cifar10"):
        if rest not in _SPLITS:
            asked = f"no split {rest!r}" if rest else "no split given"
            raise InputError(f"{spec}: {asked}: write {name}:train or {name}:test")
        if name == "digits":
            return digits_source(spec, rest)
        folder = _folder(spec, data_dir)
        if name == "cifar10":
            return cifar10_source(spec, rest, folder)
        return mnist_source(spec, name, rest, folder)
    if name == "hf":
        raise InputError(
            f"{spec}: this version does not read the Hugging Face hub: save it as an .npz file and "
            "give npz:FILE, or name a function that returns the data set, pkg.module:attr"
        )
    if not rest:
        raise InputError(f"data {spec!r} is not known: give {KNOWN}")
    return imported_source(spec, KNOWN)


def _folder(spec: str, data_dir: str | Path | None) -> Path:
    if data_dir is None:
        raise InputError(f"{spec} needs data_dir (--data-dir), the folder that holds its files")
    folder = Path(data_dir).expanduser()
    if not folder.is_dir():
        raise InputError(f"data_dir {str(data_dir)!r} is not a folder: give the one for {spec}")
    return folder


def _find(spec: str, rest: str, data_dir: str | Path | None) -> Path:
    if not rest:
        raise InputError(f"{spec!r} names nothing: write npz:FILE or folder:DIR")
    path = Path(rest).expanduser()
    if data_dir is not None and not path.exists():
        inside = _folder(spec, data_dir) / path
        if not inside.exists():
            raise InputError(f"{spec}: {rest} is neither here nor in {data_dir}")
        return inside
    if not path.exists():
        raise InputError(f"{spec}: {rest} does not exist: give its path, or data_dir (--data-dir)")
    return path
