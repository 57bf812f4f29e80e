"""CIFAR-10 from .npz files and from the binary version."""

import pickle
import zipfile
from typing import ClassVar

import numpy as np
import pytest
import torch

from hauberk.data import load_data

RNG = np.random.default_rng(0)


def pixels(*shape):
    return RNG.integers(0, 256, shape, dtype=np.uint8)


class Python2(pickle._Pickler):
    """Writes texts and bytes as the Python 2 did that wrote CIFAR's files."""

    dispatch: ClassVar = dict(pickle._Pickler.dispatch)

    def text(self, value):
        data = value.encode("latin1") if isinstance(value, str) else value
        data = data.replace(b"numpy._core", b"numpy.core")
        self.write(pickle.BINSTRING + len(data).to_bytes(4, "little") + data)
        self.memoize(value)

    dispatch[str] = dispatch[bytes] = text

    def save_global(self, value, name=None):
        module = value.__module__.replace("numpy._core", "numpy.core")
        self.write(pickle.GLOBAL + f"{module}\n{value.__name__}\n".encode())
        self.memoize(value)

    dispatch[type(print)] = dispatch[type] = save_global


def write_cifar_bin(path, images, labels):
    records = np.concatenate([labels[:, None], images.reshape(len(images), -1)], axis=1)
    path.write_bytes(records.astype(np.uint8).tobytes())


def write_cifar_npz(path, images, labels):
    """As the public files are: NHWC in a zip with LZMA members."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_LZMA) as archive:
        for name, array in (("images", images), ("labels", labels)):
            with archive.open(f"{name}.npy", "w") as file:
                np.lib.format.write_array(file, np.ascontiguousarray(array))


def test_cifar_npz_and_binary_are_the_same(tmp_path):
    images, labels = pixels(5, 3, 32, 32), np.arange(5, dtype=np.uint8)
    (tmp_path / "a").mkdir()
    (tmp_path / "b" / "cifar-10-batches-bin").mkdir(parents=True)
    write_cifar_npz(tmp_path / "a" / "cifar10-test.npz", images.transpose(0, 2, 3, 1), labels)
    write_cifar_bin(tmp_path / "b" / "cifar-10-batches-bin" / "test_batch.bin", images, labels)
    for folder in "ab":
        data = load_data("cifar10:test", tmp_path / folder)
        assert torch.equal(data.images, torch.from_numpy(images).float() / 255)
        assert data.labels.tolist() == list(range(5))


@pytest.mark.parametrize("kind", ["npz", "bin"])
def test_cifar_batches_are_joined_in_the_order_of_their_numbers(tmp_path, kind):
    for n in range(1, 12):
        labels, images = np.full(2, n % 10, np.uint8), pixels(2, 3, 32, 32)
        if kind == "npz":
            path = tmp_path / f"cifar10-train-batch{n}.npz"
            write_cifar_npz(path, images.transpose(0, 2, 3, 1), labels)
        else:
            write_cifar_bin(tmp_path / f"data_batch_{n}.bin", images, labels)
    part = load_data("cifar10:train", tmp_path, limit=3, offset=18)
    assert part.labels.tolist() == [0, 0, 1]
    assert part.ids.tolist() == [18, 19, 20]


def test_cifar_errors(refused, tmp_path):
    message = refused("cifar10:train", tmp_path)
    for part in ("cifar10-train-batch1.npz", "data_batch_1.bin", "cifar-10-batches-bin"):
        assert part in message
    write_cifar_bin(tmp_path / "data_batch_2.bin", pixels(1, 3, 32, 32), np.zeros(1))
    assert "no data_batch_1.bin" in refused("cifar10:train", tmp_path)
    path = tmp_path / "test_batch.bin"
    write_cifar_bin(path, pixels(2, 3, 32, 32), np.zeros(2))
    path.write_bytes(path.read_bytes()[:-1])
    assert "truncated" in refused("cifar10:test", tmp_path)
    write_cifar_bin(path, pixels(2, 3, 32, 32), np.array([0, 11]))
    assert "a label is 11" in refused("cifar10:test", tmp_path)
    path.write_bytes(b"")
    assert "empty" in refused("cifar10:test", tmp_path)


def test_cifar_npz_errors(refused, tmp_path):
    path = tmp_path / "cifar10-test.npz"
    np.savez(path, images=pixels(2, 3, 32, 32), labels=np.zeros(2, np.uint8))
    assert "(N, 32, 32, 3)" in refused("cifar10:test", tmp_path)
    np.savez(path, images=pixels(2, 32, 32, 3), labels=np.zeros(3, np.uint8))
    assert "2 images but 3 labels" in refused("cifar10:test", tmp_path)
    write_cifar_npz(path, pixels(9, 32, 32, 3), np.zeros(9, np.uint8))
    data = bytearray(path.read_bytes())
    data[3000] ^= 0xFF
    path.write_bytes(data)
    assert "no readable .npz" in refused("cifar10:test", tmp_path)


def test_the_python_version_that_torchvision_leaves(refused, tmp_path):
    place = tmp_path / "cifar-10-batches-py"
    place.mkdir()
    images = pixels(4, 3, 32, 32)
    batch = {"data": images.reshape(4, -1), "labels": [3, 1, 0, 9], "batch_label": b"x"}
    with (place / "test_batch").open("wb") as file:
        Python2(file, 2).dump(batch)
    assert b"numpy.core.multiarray" in (place / "test_batch").read_bytes()
    data = load_data("cifar10:test", tmp_path, limit=2, offset=1)
    assert torch.equal(data.images * 255, torch.from_numpy(images[1:3]).float())
    assert (data.labels.tolist(), data.class_names[9]) == ([1, 0], "truck")
    (place / "test_batch").write_bytes(pickle.dumps({"data": images, "labels": [1]}, 2))
    assert "no batch of CIFAR's" in refused("cifar10:test", tmp_path)
    (place / "test_batch").write_bytes(pickle.dumps(print))
    assert "not executed" in refused("cifar10:test", tmp_path)
    (place / "test_batch").unlink()
    (tmp_path / "cifar-10-python.tar.gz").touch()
    assert "unpack cifar-10-python.tar.gz" in refused("cifar10:test", tmp_path)


def test_cifar100(refused, tmp_path):
    place = tmp_path / "cifar-100-python"
    place.mkdir()
    images = pixels(2, 3, 32, 32)
    batch = {"data": images.reshape(2, -1), "fine_labels": [99, 7], "coarse_labels": [1, 2]}
    (place / "test").write_bytes(pickle.dumps(batch, 2))
    names = [f"c{k}" for k in range(100)]
    (place / "meta").write_bytes(pickle.dumps({"fine_label_names": names}, 2))
    data = load_data("cifar100:test", tmp_path)
    assert (data.labels.tolist(), data.class_names[99], data.classes) == ([99, 7], "c99", 100)
    assert "no file train" in refused("cifar100:train", tmp_path)
