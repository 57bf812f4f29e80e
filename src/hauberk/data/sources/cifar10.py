"""CIFAR-10 and CIFAR-100: `.npz` files, the binary version, or the python version."""

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from hauberk.data.source import DataSource, RawData, Request, in_memory
from hauberk.data.sources.npz import read_npz
from hauberk.data.sources.pickled import read_pickle
from hauberk.errors import InputError

_CIFAR_RECORD = 1 + 3 * 32 * 32
_NAMES = (
    "airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck",
)  # fmt: skip
_PLACES = ("", "cifar10", "cifar-10-batches-bin", "cifar-10-batches-py")


def _open(request: Request) -> RawData:
    """The files of one version in `data_dir` or its usual subfolders."""
    spec, split, folder = request.spec, request.split, request.folder
    npz, binary, pickled = (
        ("cifar10-test.npz", "test_batch.bin", "test_batch")
        if split == "test"
        else ("cifar10-train-batch{}.npz", "data_batch_{}.bin", "data_batch_{}")
    )
    for place in (folder / name for name in _PLACES):
        for name, read in ((npz, _cifar_npz), (binary, _cifar_binary), (pickled, _cifar_pickled)):
            if files := _batches(spec, place, name):
                return _join(spec, [read(path) for path in files])
    if (folder / "cifar-10-python.tar.gz").exists():
        raise InputError(f"{spec}: unpack cifar-10-python.tar.gz in {folder} (tar xzf)")
    raise InputError(
        f"{spec}: no {npz.format('1')}, no {binary.format('1')} and no {pickled.format('1')} in "
        f"{folder} or its folders {', '.join(_PLACES[1:])}: put the files there, or give another "
        "data_dir"
    )


CIFAR10 = DataSource(
    "cifar10",
    "cifar10:train|test",
    "CIFAR-10: cifar10-test.npz and cifar10-train-batch*.npz, or the binary or python version, in "
    "data_dir.",
    _open,
)


def _open100(request: Request) -> RawData:
    """The python version of CIFAR-100, fine labels."""
    spec, split = request.spec, request.split
    for place in ("cifar-100-python", "cifar100", ""):
        path = request.folder / place / split
        if path.is_file():
            images, labels = _cifar_pickled(path, "fine_labels")
            names = tuple(map(str, _meta(path.parent / "meta", "fine_label_names"))) or None
            return in_memory(images, labels, spec, 100, names)
    raise InputError(
        f"{spec}: no file {split} in {request.folder}/cifar-100-python: put CIFAR-100's python "
        "version there, or give another data_dir"
    )


CIFAR100 = DataSource(
    "cifar100",
    "cifar100:train|test",
    "CIFAR-100: the python version, which torchvision leaves, in data_dir.",
    _open100,
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


def _cifar_pickled(path: Path, key: str = "labels") -> _Pair:
    found = read_pickle(path)
    images, labels = (found.get("data"), found.get(key)) if isinstance(found, dict) else (None,) * 2
    if (
        not isinstance(images, np.ndarray)
        or images.dtype != np.uint8
        or images.shape[1:] != (3072,)
    ):
        raise InputError(f"{path} is no batch of CIFAR's python version: fetch it again")
    if not isinstance(labels, list) or len(labels) != len(images):
        raise InputError(f"{path}: {len(images)} images but other labels: fetch it again")
    return images.reshape(-1, 3, 32, 32), np.array(labels)


def _meta(path: Path, key: str) -> list[Any]:
    found = read_pickle(path) if path.is_file() else {}
    names = found.get(key, []) if isinstance(found, dict) else []
    return names if isinstance(names, list) else []


def _join(spec: str, pairs: list[_Pair]) -> RawData:
    images, labels = (np.concatenate(parts) for parts in zip(*pairs, strict=True))
    return in_memory(images, labels, spec, 10, _NAMES)
