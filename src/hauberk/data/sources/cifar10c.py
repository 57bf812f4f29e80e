"""The published files of CIFAR-10-C: one array a kind, severities one after the other."""

from pathlib import Path

import numpy as np

from hauberk.data.corruptions import KINDS, SEVERITIES
from hauberk.data.source import DataSource, RawData, Request, in_memory
from hauberk.data.sources.arrays import read_npy
from hauberk.errors import InputError
from hauberk.spec.build import did_you_mean

FILES = (*KINDS, "speckle_noise", "gaussian_blur", "spatter", "saturate")
"""Kinds that the published archive holds: the fifteen, and four more for validation."""

_PLACES = (".", "CIFAR-10-C", "cifar-10-c", "cifar10c")


def _open(request: Request) -> RawData:
    """The images of one severity, in the order of CIFAR-10's test set."""
    kind, severity = _asked(request)
    folder = _place(request)
    images, labels = read_npy(folder / f"{kind}.npy"), read_npy(folder / "labels.npy")
    if images.dtype != np.uint8 or images.shape[1:] != (32, 32, 3) or len(images) % 5:
        raise InputError(
            f"{folder / kind}.npy: {images.shape} of {images.dtype}: it should hold uint8 "
            "(50000, 32, 32, 3), a fifth for each severity; fetch it again"
        )
    if labels.shape != (len(images),):
        raise InputError(
            f"{folder / 'labels.npy'}: labels of shape {labels.shape} for {len(images)} images in "
            f"{kind}.npy: there should be one an image; fetch both again"
        )
    n = len(images) // len(SEVERITIES)
    part = slice((severity - 1) * n, severity * n)
    return in_memory(images[part], labels[part], request.spec, 10)


CIFAR10C = DataSource(
    "cifar10c",
    "cifar10c:KIND:SEVERITY",
    "CIFAR-10-C: its files KIND.npy and labels.npy in data_dir; severity 1 to 5.",
    _open,
)


def _asked(request: Request) -> tuple[str, int]:
    kind, _, severity = request.argument.partition(":")
    if kind not in FILES:
        raise InputError(
            f"{request.spec}: CIFAR-10-C has no kind '{kind}': write {CIFAR10C.usage} with one of "
            f"{', '.join(FILES)}{did_you_mean(kind, FILES)}"
        )
    if severity not in map(str, SEVERITIES):
        raise InputError(
            f"{request.spec}: severity is '{severity}': write cifar10c:{kind}:1 to "
            f"cifar10c:{kind}:5"
        )
    return kind, int(severity)


def _place(request: Request) -> Path:
    """The folder of the files; `InputError` that names a missing one."""
    kind, _ = _asked(request)
    places = [request.folder / place for place in _PLACES]
    for name in (f"{kind}.npy", "labels.npy"):
        places = [place for place in places if (place / name).is_file()]
        if not places:
            raise InputError(
                f"{request.spec}: no {name} in {request.folder} or its folders "
                f"{', '.join(_PLACES[1:])}: unpack CIFAR-10-C.tar there, or give another data_dir"
            )
    return places[0]
