"""NumPy files, and tensors."""

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch.utils.data import TensorDataset

from hauberk.data import load_data
from hauberk.data.source import Request
from hauberk.data.sources.arrays import NPY

X, Y = torch.rand(5, 1, 3, 3), torch.tensor([2, 0, 1, 1, 0])


def test_npy_files(refused, tmp_path):
    (tmp_path / "d").mkdir()
    np.save("d/x_test.npy", X.numpy())
    np.save("d/y_test.npy", Y.numpy())
    for spec in ("npy:d/x_test.npy:d/y_test.npy", "npy:d/x_test.npy:y_test.npy", "npy:d"):
        data = load_data(spec, limit=2, offset=2)
        assert torch.equal(data.images, X[2:4])
        assert data.labels.tolist() == [1, 1]
    raw = NPY.open(Request("npy:d"))
    assert isinstance(raw.read(0, 2)[0], np.memmap)
    assert "where are the labels" in refused("npy:d/x_test.npy")
    assert "where are the labels" in refused("d/x_test.npy")
    assert "does not exist" in refused("npy:d/x_test.npy:no.npy")
    np.save("d/y_test.npy", np.array([{}], dtype=object))
    assert "no readable .npy" in refused("npy:d")


@pytest.mark.parametrize(
    ("found", "words"),
    [
        ((X, Y), ""),
        ([X, Y], ""),
        ({"images": X, "labels": Y}, ""),
        ({"data": X, "targets": Y, "epoch": 3}, ""),
        ({"a": X, "b": Y}, ""),
        ({"x_train": X + 1, "y_train": Y, "x_test": X, "y_test": Y}, ":test"),
        ({"p": X, "q": X + 1, "r": Y}, ":p:r"),
        ({"train": (X + 1, Y), "test": (X, Y)}, ":test"),
        ({"test": {"x": X, "y": Y}}, ":test"),
        ([(x, int(y)) for x, y in zip(X, Y, strict=True)], ""),
    ],
)
def test_tensors(found, words):
    torch.save(found, "x.pt")
    data = load_data(f"pt:x.pt{words}")
    assert torch.equal(data.images, X)
    assert torch.equal(data.labels, Y)


def test_old_and_safe_files():
    torch.save((X, Y), "old.pth", _use_new_zipfile_serialization=False)
    assert torch.equal(load_data("old.pth").images, X)
    save_file({"x": X, "y": Y}, "x.safetensors")
    assert torch.equal(load_data("x.safetensors").images, X)


def test_files_of_other_things(refused, tmp_path):
    torch.save(TensorDataset(X, Y), "x.pt")
    assert "would execute code" in refused("pt:x.pt")
    torch.save(X, "x.pt")
    assert "holds one tensor" in refused("pt:x.pt")
    torch.save((X, Y), "x.pt")
    assert "holds no names" in refused("pt:x.pt:a:b")
    (tmp_path / "x.pt").write_bytes(b"no")
    assert "no tensors that can be read" in refused("pt:x.pt")
