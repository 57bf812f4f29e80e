import gzip
import sys
import zipfile

import numpy as np
import pytest
import torch

from hauberk.data import Dataset, load_data
from hauberk.errors import InputError

RNG = np.random.default_rng(0)


@pytest.fixture(autouse=True)
def _own_import_path(monkeypatch, tmp_path):
    monkeypatch.setattr(sys, "path", sys.path[:])
    monkeypatch.chdir(tmp_path)


def refused(*args, **kwargs):
    with pytest.raises(InputError) as caught:
        load_data(*args, **kwargs)
    message = str(caught.value)
    assert "\n" not in message
    return message


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


def write_cifar_bin(path, images, labels):
    records = np.concatenate([labels[:, None], images.reshape(len(images), -1)], axis=1)
    path.write_bytes(records.astype(np.uint8).tobytes())


# --- digits


def test_digits():
    train, test = load_data("digits:train"), load_data("digits:test")
    assert isinstance(test, Dataset)
    assert (len(train), len(test)) == (1297, 500)
    assert test.images.shape == (500, 1, 8, 8)
    assert test.images.dtype == torch.float32
    assert (test.labels.dtype, test.ids.dtype) == (torch.int64, torch.int64)
    assert (test.images.min(), test.images.max()) == (0, 1)
    assert (test.name, test.classes) == ("digits:test", 10)
    assert test.ids.tolist() == list(range(500))
    assert torch.bincount(test.labels, minlength=10).min() >= 35


def test_digits_split_is_disjoint_whole_and_fixed():
    from sklearn.datasets import load_digits

    train, test = load_data("digits:train"), load_data("digits:test")
    both = torch.cat([train.images, test.images]).flatten(1)
    whole = torch.from_numpy(load_digits().data / 16).float()
    assert sorted(both.tolist()) == sorted(whole.tolist())
    assert test.labels[:12].tolist() == [2, 5, 7, 9, 1, 2, 7, 1, 8, 7, 1, 5]


# --- windows


def test_limit_and_offset_keep_ids():
    whole, part = load_data("digits:test"), load_data("digits:test", limit=7, offset=30)
    assert part.ids.tolist() == list(range(30, 37))
    assert torch.equal(part.images, whole.images[30:37])
    assert torch.equal(part.labels, whole.labels[30:37])
    assert load_data("digits:test", limit=100, offset=450).ids.tolist() == list(range(450, 500))


def test_bad_windows():
    assert "limit=0" in refused("digits:test", limit=0)
    assert "limit=-3" in refused("digits:test", limit=-3)
    assert "offset=-1" in refused("digits:test", offset=-1)
    message = refused("digits:test", offset=500)
    assert "beyond the end" in message
    assert "500 examples" in message


# --- IDX


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


def test_fashion_is_not_taken_for_mnist(tmp_path):
    labels = np.repeat(np.arange(10, dtype=np.uint8), 1000)
    write_mnist(tmp_path, np.zeros((10000, 1, 1), np.uint8), labels, pack=False)
    assert len(load_data("fashion:test", tmp_path)) == 10000
    assert "not those of mnist but fashion's" in refused("mnist:test", tmp_path)
    labels[0] = 5
    write_mnist(tmp_path, np.zeros((10000, 1, 1), np.uint8), labels, pack=False)
    assert "not those of fashion:" in refused("fashion:test", tmp_path)


def test_idx_missing(tmp_path):
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
def test_idx_corrupt(tmp_path, how, says):
    images = pixels(3, 28, 28)
    write_mnist(tmp_path, images, np.zeros(3, np.uint8))
    path = tmp_path / "t10k-images-idx3-ubyte.gz"
    path.write_bytes(spoil_idx(images, path.read_bytes(), how))
    message = refused("mnist:test", tmp_path)
    assert says in message
    assert str(path) in message


def test_idx_inconsistent(tmp_path):
    write_mnist(tmp_path, pixels(3, 28, 28), np.zeros(4, np.uint8))
    assert "3 images but 4 labels" in refused("mnist:test", tmp_path)
    write_mnist(tmp_path, pixels(0, 28, 28), np.zeros(0, np.uint8))
    assert "empty" in refused("mnist:test", tmp_path)
    write_mnist(tmp_path, pixels(2, 28, 28), np.array([0, 10], np.uint8))
    assert "a label is 10 but there are 10 classes" in refused("mnist:test", tmp_path)


# --- CIFAR-10


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


def test_cifar_errors(tmp_path):
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


def test_cifar_npz_errors(tmp_path):
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


@pytest.mark.parametrize("name", ["cifar-10-batches-py/test_batch", "test_batch"])
def test_cifar_pickles_are_refused(tmp_path, name):
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).touch()
    message = refused("cifar10:test", tmp_path)
    assert "execute code" in message
    assert "binary" in message


# --- npz


@pytest.mark.parametrize(
    ("given", "shape"),
    [
        ((4, 9, 9), (4, 1, 9, 9)),
        ((4, 9, 9, 3), (4, 3, 9, 9)),
        ((4, 9, 9, 1), (4, 1, 9, 9)),
        ((4, 9, 9, 4), (4, 4, 9, 9)),
        ((4, 3, 9, 9), (4, 3, 9, 9)),
        ((4, 12), (4, 12)),
    ],
)
def test_uint8_layouts(tmp_path, given, shape):
    images = pixels(*given)
    np.savez(tmp_path / "x.npz", images=images, labels=np.zeros(4, np.int16))
    data = load_data("npz:x.npz")
    assert data.images.shape == shape
    assert data.images.is_contiguous()
    expected = torch.from_numpy(images).float() / 255
    if len(given) == 4 and given[-1] < 9:
        expected = expected.permute(0, 3, 1, 2)
    assert torch.equal(data.images, expected.reshape(shape))
    assert data.classes is None


@pytest.mark.parametrize("dtype", ["<f4", ">f4", "<f8", "<f2"])
@pytest.mark.parametrize("shape", [(4, 7), (4, 9, 9, 3), (4, 9, 9), (4, 2, 3, 4, 5)])
def test_floats_are_taken_as_they_are(tmp_path, dtype, shape):
    images = RNG.normal(size=shape).astype(dtype)
    np.savez(tmp_path / "x.npz", images=images, labels=np.zeros(4, np.int64))
    data = load_data("npz:x.npz")
    assert data.images.dtype == torch.float32
    assert torch.equal(data.images, torch.from_numpy(images.astype(np.float32)))


def test_npz_is_looked_for_here_and_in_data_dir(tmp_path):
    (tmp_path / "d").mkdir()
    np.savez(tmp_path / "d" / "x.npz", images=pixels(2, 4), labels=np.array([0, 1]))
    assert len(load_data("npz:d/x.npz")) == 2
    assert len(load_data("npz:x.npz", "d")) == 2
    assert len(load_data(f"npz:{tmp_path / 'd' / 'x.npz'}")) == 2
    assert "does not exist" in refused("npz:x.npz")
    assert "neither here nor in d" in refused("npz:y.npz", "d")
    assert "names nothing" in refused("npz:")
    assert "is a folder" in refused("npz:d")


GOOD = {"images": pixels(3, 5, 5), "labels": np.array([0, 1, 2])}


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"images": None}, "but no images"),
        ({"labels": None}, "but no labels"),
        ({"images": pixels(3, 5, 5).astype(int)}, "images are int64"),
        ({"images": np.zeros((3, 5), bool)}, "images are bool"),
        ({"images": np.zeros((3, 5), complex)}, "images are complex128"),
        ({"images": np.array(["a", "b", "c"])}, "images are <U1"),
        ({"images": np.array([[0.0], [np.nan], [1.0]])}, "NaN or infinite"),
        ({"images": np.array([[0.0], [1e300], [1.0]])}, "NaN or infinite"),
        ({"images": np.zeros(3)}, "(N, ...)"),
        ({"images": np.float32(3)}, "(N, ...)"),
        ({"images": pixels(3, 5, 5, 5)}, "1, 3 or 4 channels"),
        ({"images": pixels(3, 1, 5, 5, 5)}, "1, 3 or 4 channels"),
        ({"images": pixels(0, 5, 5), "labels": np.zeros(0, int)}, "empty"),
        ({"labels": np.array([0, 1])}, "3 images but 2 labels"),
        ({"labels": np.zeros((3, 1), int)}, "labels (N,)"),
        ({"labels": np.array([0.0, 1.0, 2.0])}, "labels are float64"),
        ({"labels": np.array([True, False, True])}, "labels are bool"),
        ({"labels": np.array([0, -1, 2])}, "a label is -1"),
    ],
)
def test_npz_contents(tmp_path, change, says):
    arrays = {k: v for k, v in (GOOD | change).items() if v is not None}
    np.savez(tmp_path / "x.npz", **arrays)
    assert says in refused("npz:x.npz")


def test_npz_files(tmp_path):
    path = tmp_path / "x.npz"
    np.savez(path, images=np.array([{}], dtype=object), labels=np.array([0]))
    assert "plain arrays" in refused("npz:x.npz")
    np.savez_compressed(path, **GOOD)
    path.write_bytes(path.read_bytes()[:-40])
    assert "no readable .npz" in refused("npz:x.npz")
    with path.open("wb") as file:
        np.save(file, GOOD["images"])
    assert "no readable .npz" in refused("npz:x.npz")
    path.write_bytes(b"")
    assert "no readable .npz" in refused("npz:x.npz")
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("images", b"text")
        archive.writestr("labels", b"text")
    assert "no array" in refused("npz:x.npz")


# --- specs


@pytest.mark.parametrize("spec", ["nonsense", "", ":", "nonsense:test", "mnsit:test"])
def test_unknown_specs_list_the_known(spec):
    message = refused(spec)
    assert "digits:train|test" in message
    assert "folder:DIR" in message


def test_the_hub_is_not_read():
    assert "npz:FILE" in refused("hf:mnist")


@pytest.mark.parametrize("spec", ["digits", "mnist:", "fashion:valid", "cifar10:TEST"])
def test_unknown_splits(spec, tmp_path):
    message = refused(spec, tmp_path)
    name = spec.split(":")[0]
    assert f"{name}:train or {name}:test" in message


# --- the real files


@pytest.mark.real
@pytest.mark.parametrize(
    ("spec", "shape", "counts"),
    [
        ("mnist:test", (10000, 1, 28, 28), [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]),
        ("cifar10:test", (10000, 3, 32, 32), [1000] * 10),
    ],
)
def test_real_files(real_data_dir, spec, shape, counts):
    data = load_data(spec, real_data_dir)
    assert data.images.shape == shape
    assert torch.bincount(data.labels).tolist() == counts


@pytest.mark.real
def test_real_training_files(real_data_dir):
    assert len(load_data("mnist:train", real_data_dir, offset=59_000)) == 1000
    data = load_data("cifar10:train", real_data_dir, offset=10_000, limit=10_000)
    counts = [984, 1007, 1010, 995, 1010, 988, 1008, 1026, 987, 985]
    assert torch.bincount(data.labels).tolist() == counts
    assert "fashion" in refused("fashion:test", real_data_dir)
