"""SVHN: the cropped digits, as torchvision leaves them."""

from typing import Any

import numpy as np

from hauberk.data.source import DataSource, RawData, Request, in_memory
from hauberk.errors import InputError
from hauberk.spec.imports import one_line


def _open(request: Request) -> RawData:
    """`train_32x32.mat` or `test_32x32.mat` in `data_dir`; there the digit 0 has the label 10."""
    spec, name = request.spec, f"{request.split}_32x32.mat"
    places = [request.folder / place / name for place in (".", "svhn", "SVHN")]
    path = next((place for place in places if place.is_file()), None)
    if path is None:
        raise InputError(
            f"{spec}: no {name} in {request.folder} or its folders svhn, SVHN: put the file there, "
            "or give another data_dir"
        )
    from scipy.io import loadmat

    try:
        found: Any = loadmat(path)
    except Exception as error:  # scipy raises many kinds
        raise InputError(f"{path} cannot be read ({one_line(error)}): fetch it again") from error
    images, labels = found.get("X"), found.get("y")
    wrong = images is None or labels is None or images.shape[:3] != (32, 32, 3)
    if wrong or images.dtype != np.uint8:
        raise InputError(f"{path} holds no images X (32, 32, 3, N) with labels y: fetch it again")
    labels = np.asarray(labels, dtype=np.int64).reshape(-1) % 10
    return in_memory(images.transpose(3, 2, 0, 1), labels, spec, 10)


SVHN = DataSource(
    "svhn",
    "svhn:train|test",
    "SVHN, cropped digits: train_32x32.mat and test_32x32.mat in data_dir.",
    _open,
)
