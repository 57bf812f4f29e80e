"""Pickles that execute nothing."""

import os
import pickle
from pathlib import Path

import numpy as np
import pytest

from hauberk.data.sources.pickled import read_pickle
from hauberk.errors import InputError


class Evil:
    def __reduce__(self):
        return os.mkdir, ("made",)


@pytest.mark.parametrize("protocol", [0, 2, 4, 5])
def test_arrays_and_plain_values(tmp_path, protocol):
    found = {"data": np.arange(6, dtype=np.uint8).reshape(2, 3), "labels": [1, np.int64(2)]}
    if protocol == 5:
        del found["data"]  # by numpy's own function, which no file of CIFAR names
    (tmp_path / "x").write_bytes(pickle.dumps(found, protocol))
    read = read_pickle(tmp_path / "x")
    assert read["labels"] == [1, 2]
    assert protocol == 5 or np.array_equal(read["data"], found["data"])


def test_code_is_not_executed(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for value in ({"data": Evil()}, Evil(), [eval], Path("x")):
        (tmp_path / "x").write_bytes(pickle.dumps(value))
        with pytest.raises(InputError, match="which is not executed"):
            read_pickle(tmp_path / "x")
    assert not (tmp_path / "made").exists()
    (tmp_path / "x").write_bytes(b"")
    with pytest.raises(InputError, match="no readable pickle"):
        read_pickle(tmp_path / "x")
