"""The data sets known by name, and `.npz` files."""

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from hauberk.data.dataset import Source, array_source
from hauberk.data.idx import read_idx
from hauberk.data.npz import read_npz
from hauberk.errors import InputError

_DIGITS_TEST = 500
_FOLDERS = {
    "mnist": ("MNIST/raw", "MNIST", "mnist", "."),
    "fashion": (
        "FashionMNIST/raw",
        "FashionMNIST",
        "fashion-mnist",
        "fashion_mnist",
        "fashion",
        ".",
    ),
}
# How many there are of each class; MNIST and Fashion-MNIST use the same file names.
_COUNTS = {
    ("mnist", 60000): (5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949),
    ("mnist", 10000): (980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009),
    ("fashion", 60000): (6000,) * 10,
    ("fashion", 10000): (1000,) * 10,
}
_CIFAR_RECORD = 1 + 3 * 32 * 32


def digits_source(spec: str, split: str) -> Source:
    """The 1797 digits of scikit-learn, values / 16: the first 500 are "test", the rest "train".

    "First" goes by the SHA-256 of "digits:0", "digits:1", ..., a shuffle that no version of any
    random number generator can change.
    """
    from sklearn.datasets import load_digits

    bunch: Any = load_digits()
    images = (bunch.images / 16)[:, None].astype(np.float32)
    order = sorted(range(len(images)), key=lambda i: hashlib.sha256(b"digits:%d" % i).digest())
    chosen = order[:_DIGITS_TEST] if split == "test" else order[_DIGITS_TEST:]
    return array_source(images[chosen], bunch.target[chosen], spec, 10)


def mnist_source(spec: str, name: str, split: str, folder: Path) -> Source:
    """MNIST or Fashion-MNIST from the four IDX files, in `folder` or its usual subfolders."""
    prefix = "train" if split == "train" else "t10k"
    places = [folder / place for place in _FOLDERS[name]]
    images = read_idx(_idx_file(spec, places, f"{prefix}-images", 3), 3)
    labels_file = _idx_file(spec, places, f"{prefix}-labels", 1)
    labels = read_idx(labels_file, 1)
    source = array_source(images, labels, spec, 10)
    _check_counts(spec, name, labels, labels_file)
    return source


def _idx_file(spec: str, places: list[Path], stem: str, ndim: int) -> Path:
    names = [f"{stem}{mark}idx{ndim}-ubyte" for mark in "-."]
    for place in places:
        for name in names:
            for path in (place / name, place / f"{name}.gz"):
                if path.is_file():
                    return path
    *inside, folder = places
    raise InputError(
        f"{spec}: no {names[0]} or {names[1]}, with or without .gz, in {folder} or its folders "
        f"{', '.join(place.relative_to(folder).as_posix() for place in inside)}: "
        "put the file there, or give another data_dir"
    )


def _check_counts(spec: str, name: str, labels: npt.NDArray[Any], path: Path) -> None:
    found = tuple(np.bincount(labels, minlength=10).tolist())
    if _COUNTS.get((name, len(labels)), found) == found:
        return
    other = "fashion" if name == "mnist" else "mnist"
    theirs = _COUNTS[other, len(labels)] == found
    hint = f" but {other}'s" if theirs else ""
    instead = f"use {other}:" if theirs else "save yours as an .npz"
    raise InputError(
        f"{spec}: the labels in {path} are not those of {name}{hint}: "
        f"give the data_dir that holds {name}, or {instead}"
    )


def cifar10_source(spec: str, split: str, folder: Path) -> Source:
    """CIFAR-10 from `cifar10-*.npz` or from the binary version, in `folder` or its usual ones."""
    npz, binary = (
        ("cifar10-test.npz", "test_batch.bin")
        if split == "test"
        else ("cifar10-train-batch{}.npz", "data_batch_{}.bin")
    )
    for place in (folder, folder / "cifar10", folder / "cifar-10-batches-bin"):
        if files := _batches(spec, place, npz):
            return _join(spec, [_cifar_npz(path) for path in files])
        if files := _batches(spec, place, binary):
            return _join(spec, [_cifar_binary(path) for path in files])
    pickled = ("cifar-10-batches-py", "test_batch", "data_batch_1", "cifar-10-python.tar.gz")
    if any((folder / name).exists() for name in pickled):
        raise InputError(
            f"{spec}: {folder} holds the python version, whose pickles execute code when read: "
            "get the binary version, cifar-10-binary.tar.gz, and unpack it there"
        )
    raise InputError(
        f"{spec}: no {npz.format('1')} and no {binary.format('1')} in {folder} or its folders "
        "cifar10, cifar-10-batches-bin: put the file there, or give another data_dir"
    )


def _batches(spec: str, place: Path, name: str) -> list[Path]:
    """The file, or for a name with a number the files 1, 2, ... without a gap."""
    if "{}" not in name:
        return [place / name] if (place / name).is_file() else []
    head, tail = name.split("{}")
    paths = place.glob(f"{head}*{tail}")
    numbers = sorted(int(n) for p in paths if (n := p.name[len(head) : -len(tail)]).isdigit())
    for expected, number in enumerate(numbers, start=1):
        if number != expected:
            raise InputError(
                f"{spec}: {place} has {name.format(number)} but no {name.format(expected)}, "
                "so the positions of its images are not known: add it"
            )
    return [place / name.format(number) for number in numbers]


_Pair = tuple[npt.NDArray[Any], npt.NDArray[Any]]


def _cifar_npz(path: Path) -> _Pair:
    arrays = read_npz(path, ("images", "labels"))
    images, labels = arrays["images"], arrays["labels"]
    if images.dtype != np.uint8 or images.shape[1:] != (32, 32, 3) or labels.ndim != 1:
        raise InputError(
            f"{path}: images {images.shape} of {images.dtype} and labels {labels.shape}: "
            "give images (N, 32, 32, 3) of uint8 and labels (N,)"
        )
    if len(images) != len(labels):
        raise InputError(f"{path}: {len(images)} images but {len(labels)} labels; fetch it again")
    return images.transpose(0, 3, 1, 2), labels


def _cifar_binary(path: Path) -> _Pair:
    try:
        data = path.read_bytes()
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error}): fetch it again") from error
    if len(data) % _CIFAR_RECORD:
        raise InputError(
            f"{path} is truncated or corrupt: {len(data)} bytes are no multiple of "
            f"{_CIFAR_RECORD}, one record; fetch it again"
        )
    records = np.frombuffer(data, dtype=np.uint8).reshape(-1, _CIFAR_RECORD)
    return records[:, 1:].reshape(-1, 3, 32, 32), records[:, 0]


def _join(spec: str, pairs: list[_Pair]) -> Source:
    images, labels = (np.concatenate(parts) for parts in zip(*pairs, strict=True))
    return array_source(images, labels, spec, 10)


def npz_source(spec: str, path: Path) -> Source:
    """The arrays `images` and `labels` of an `.npz` file."""
    arrays = read_npz(path, ("images", "labels"))
    return array_source(arrays["images"], arrays["labels"], spec)
