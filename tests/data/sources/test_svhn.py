"""SVHN's MATLAB files."""

import numpy as np
import pytest
import torch

from hauberk.data import load_data

io = pytest.importorskip("scipy.io")
IMAGES = np.random.default_rng(0).integers(0, 256, (32, 32, 3, 4), dtype=np.uint8)


def test_ten_is_zero(refused, tmp_path):
    io.savemat(tmp_path / "test_32x32.mat", {"X": IMAGES, "y": np.array([[1], [10], [9], [2]])})
    data = load_data("svhn:test", tmp_path, limit=3)
    assert data.labels.tolist() == [1, 0, 9]
    assert torch.equal(
        data.images[2] * 255, torch.from_numpy(IMAGES[..., 2]).permute(2, 0, 1).float()
    )
    assert "no train_32x32.mat" in refused("svhn:train", tmp_path)
    io.savemat(tmp_path / "test_32x32.mat", {"X": IMAGES[:5], "y": np.array([[1]])})
    assert "no images X" in refused("svhn:test", tmp_path)
    (tmp_path / "test_32x32.mat").write_bytes(b"no")
    assert "cannot be read" in refused("svhn:test", tmp_path)
