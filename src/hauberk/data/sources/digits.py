"""The 8x8 digits that come with scikit-learn."""

import hashlib
from dataclasses import replace
from typing import Any

import numpy as np

from hauberk.data.source import DataSource, RawData, Request, in_memory

_TEST = 500


def _open(request: Request) -> RawData:
    """The 1797 digits, values / 16: the first 500 are "test", the rest "train".

    They are ordered by the SHA-256 of "digits:0", "digits:1", ...: a shuffle that no version of
    any random number generator can change.
    """
    split = request.split
    from sklearn.datasets import load_digits

    bunch: Any = load_digits()
    images = (bunch.images / 16)[:, None].astype(np.float32)
    order = sorted(range(len(images)), key=lambda i: hashlib.sha256(b"digits:%d" % i).digest())
    chosen = order[:_TEST] if split == "test" else order[_TEST:]
    raw = in_memory(images[chosen], bunch.target[chosen], request.spec, 10)
    return replace(raw, unit=True)


DIGITS = DataSource(
    "digits",
    "digits:train|test",
    "8x8 digits embedded in scikit-learn, 1297 and 500; nothing to download.",
    _open,
)
