"""MNIST and Fashion-MNIST from IDX files."""

import gzip

import numpy as np
import pytest
import torch

from hauberk.data import load_data

RNG = np.random.default_rng(0)


def pixels(*shape):
    return RNG.integers(0, 256, shape, dtype=np.uint8)


def idx(array, magic=None):
    head = (0x0800 + array.ndim if magic is None else magic).to_bytes(4, "big")
    return head + b"".join(n.to_bytes(4, "big") for n in array.shape) + array.tobytes()


def write_mnist(folder, images, labels, mark="-", pack=True, prefix="t10k"):
    folder.mkdir(parents=True, exist_ok=True)
    for kind, array in (("images", images), ("labels", labels)):
        name = f"{prefix}-{kind}{mark}idx{array.ndim}-ubyte{'.gz' if pack else ''}"
        data = idx(array)
        (folder / name).write_bytes(gzip.compress(data) if pack else data)


@pytest.mark.parametrize("pack", [True, False])
@pytest.mark.parametrize("mark", "-.")
@pytest.mark.parametrize(
    ("name", "inside"),
    [("mnist", "."), ("mnist", "MNIST/raw"), ("fashion", "FashionMNIST/raw"), ("fashion", ".")],
)
def test_idx(tmp_path, name, inside, mark, pack):
    images, labels = pixels(6, 28, 28), np.arange(6, dtype=np.uint8)
    write_mnist(tmp_path / inside, images, labels, mark, pack)
    write_mnist(tmp_path / inside, images[:4], labels[:4], mark, pack, prefix="train")
    data = load_data(f"{name}:test", tmp_path)
    assert torch.equal(data.images, torch.from_numpy(images)[:, None].float() / 255)
    assert data.labels.tolist() == list(range(6))
    assert data.classes == 10
    assert len(load_data(f"{name}:train", str(tmp_path))) == 4


def test_own_subfolder_comes_before_the_root(tmp_path):
    write_mnist(tmp_path, pixels(3, 28, 28), np.zeros(3, np.uint8))
    write_mnist(tmp_path / "FashionMNIST/raw", pixels(5, 28, 28), np.zeros(5, np.uint8))
    assert len(load_data("mnist:test", tmp_path)) == 3
    assert len(load_data("fashion:test", tmp_path)) == 5


def test_fashion_is_not_taken_for_mnist(refused, tmp_path):
    labels = np.repeat(np.arange(10, dtype=np.uint8), 1000)
    write_mnist(tmp_path, np.zeros((10000, 1, 1), np.uint8), labels, pack=False)
    assert len(load_data("fashion:test", tmp_path)) == 10000
    assert "not those of mnist but fashion's" in refused("mnist:test", tmp_path)
    labels[0] = 5
    write_mnist(tmp_path, np.zeros((10000, 1, 1), np.uint8), labels, pack=False)
    assert "not those of fashion:" in refused("fashion:test", tmp_path)


def test_idx_missing(refused, tmp_path):
    assert "needs data_dir" in refused("mnist:test")
    assert "is not a folder" in refused("mnist:test", tmp_path / "none")
    message = refused("mnist:test", tmp_path)
    for part in ("t10k-images-idx3-ubyte", "t10k-images.idx3-ubyte", ".gz", "MNIST/raw"):
        assert part in message
    assert str(tmp_path) in message
    write_mnist(tmp_path, pixels(2, 28, 28), np.zeros(2, np.uint8))
    (tmp_path / "t10k-labels-idx1-ubyte.gz").unlink()
    assert "t10k-labels-idx1-ubyte" in refused("mnist:test", tmp_path)


def spoil_idx(data, packed, how):
    if how == "empty file":
        return b""
    if how == "short header":
        return idx(data)[:9]
    if how == "wrong magic":
        return idx(data, magic=0x0D03)
    if how == "labels for images":
        return idx(data.reshape(-1))
    if how == "one byte short":
        return idx(data)[:-1]
    if how == "one byte more":
        return idx(data) + b"\0"
    if how == "gzip end":
        return packed[:-6]
    if how == "gzip half":
        return packed[: len(packed) // 2]
    if how == "gzip checksum":
        return packed[:-8] + bytes([packed[-8] ^ 1]) + packed[-7:]
    return packed[:50] + bytes(20) + packed[70:]


@pytest.mark.parametrize(
    ("how", "says"),
    [
        ("empty file", "truncated"),
        ("short header", "truncated"),
        ("wrong magic", "0x00000d03, not 0x00000803"),
        ("labels for images", "0x00000801, not 0x00000803"),
        ("one byte short", "promises (3, 28, 28), 2352 bytes, but 2351 follow"),
        ("one byte more", "2353 follow"),
        ("gzip end", "cannot be read"),
        ("gzip half", "cannot be read"),
        ("gzip checksum", "cannot be read"),
        ("gzip middle", "cannot be read"),
    ],
)
def test_idx_corrupt(refused, tmp_path, how, says):
    images = pixels(3, 28, 28)
    write_mnist(tmp_path, images, np.zeros(3, np.uint8))
    path = tmp_path / "t10k-images-idx3-ubyte.gz"
    path.write_bytes(spoil_idx(images, path.read_bytes(), how))
    message = refused("mnist:test", tmp_path)
    assert says in message
    assert str(path) in message


def test_idx_inconsistent(refused, tmp_path):
    write_mnist(tmp_path, pixels(3, 28, 28), np.zeros(4, np.uint8))
    assert "3 images but 4 labels" in refused("mnist:test", tmp_path)
    write_mnist(tmp_path, pixels(0, 28, 28), np.zeros(0, np.uint8))
    assert "empty" in refused("mnist:test", tmp_path)
    write_mnist(tmp_path, pixels(2, 28, 28), np.array([0, 10], np.uint8))
    assert "a label is 10 but there are 10 classes" in refused("mnist:test", tmp_path)
