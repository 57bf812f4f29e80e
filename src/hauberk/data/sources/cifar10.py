"""CIFAR-10: `.npz` files, or the binary version."""

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from hauberk.data.source import DataSource, RawData, Request, in_memory
from hauberk.data.sources.npz import read_npz
from hauberk.errors import InputError

_CIFAR_RECORD = 1 + 3 * 32 * 32


def _open(request: Request) -> RawData:
    """`cifar10-*.npz` or the binary version's files, in `data_dir` or its usual subfolders."""
    spec, split, folder = request.spec, request.split, request.folder
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


CIFAR10 = DataSource(
    "cifar10",
    "cifar10:train|test",
    "CIFAR-10: cifar10-test.npz and cifar10-train-batch*.npz, or the binary version, in data_dir.",
    _open,
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


def _join(spec: str, pairs: list[_Pair]) -> RawData:
    images, labels = (np.concatenate(parts) for parts in zip(*pairs, strict=True))
    return in_memory(images, labels, spec, 10)
