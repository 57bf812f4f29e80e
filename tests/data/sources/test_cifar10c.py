"""The files of CIFAR-10-C, made up here at a small size."""

import numpy as np
import pytest
import torch

from hauberk.data import load_data
from hauberk.data.sources import cifar10c

RNG = np.random.default_rng(0)


def write(folder, kind="fog", n=4, images=None, labels=None):
    folder.mkdir(exist_ok=True, parents=True)
    if images is None:
        images = RNG.integers(0, 256, (5 * n, 32, 32, 3), dtype=np.uint8)
    if labels is None:
        labels = np.tile(np.arange(n), 5)
    np.save(folder / f"{kind}.npy", images)
    np.save(folder / "labels.npy", labels)
    return images, labels


@pytest.mark.parametrize("place", [".", "CIFAR-10-C", "cifar10c"])
def test_severities_lie_one_after_the_other(tmp_path, place):
    labels = np.arange(20) % 10
    images, _ = write(tmp_path / place, labels=labels)
    for severity in (1, 2, 3, 4, 5):
        data = load_data(f"cifar10c:fog:{severity}", tmp_path)
        part = slice(4 * severity - 4, 4 * severity)
        wanted = torch.from_numpy(images[part]).permute(0, 3, 1, 2).float() / 255
        assert torch.equal(data.images, wanted)
        assert data.labels.tolist() == labels[part].tolist()
        assert (data.ids.tolist(), data.classes) == ([0, 1, 2, 3], 10)
    window = load_data("cifar10c:fog:2", tmp_path, limit=2, offset=1)
    assert torch.equal(window.images, load_data("cifar10c:fog:2", tmp_path).images[1:3])
    assert window.ids.tolist() == [1, 2]


@pytest.mark.parametrize("kind", cifar10c.FILES)
def test_all_kinds_of_the_archive(tmp_path, kind):
    write(tmp_path, kind, n=1)
    assert len(load_data(f"cifar10c:{kind}:5", tmp_path)) == 1


def test_a_corruption_on_top(tmp_path):
    write(tmp_path)
    found = load_data("cifar10c:fog:2+contrast:5", tmp_path)
    assert found.images.std() < 0.5 * load_data("cifar10c:fog:2", tmp_path).images.std()


def test_missing_files_are_named(tmp_path, refused):
    assert "no fog.npy in" in refused("cifar10c:fog:1", tmp_path)
    write(tmp_path)
    assert "no snow.npy in" in refused("cifar10c:snow:1", tmp_path)
    (tmp_path / "labels.npy").unlink()
    assert "no labels.npy in" in refused("cifar10c:fog:1", tmp_path)
    assert "--data-dir" in refused("cifar10c:fog:1")


@pytest.mark.parametrize(
    ("spec", "says"),
    [
        ("cifar10c:fogg:3", "did you mean fog?"),
        ("cifar10c:test", "cifar10c:KIND:SEVERITY"),
        ("cifar10c", "cifar10c:KIND:SEVERITY"),
        ("cifar10c:fog", "cifar10c:fog:1 to cifar10c:fog:5"),
        ("cifar10c:fog:0", "cifar10c:fog:1 to cifar10c:fog:5"),
        ("cifar10c:fog:6", "cifar10c:fog:1 to cifar10c:fog:5"),
    ],
)
def test_what_is_not_there_is_refused(tmp_path, refused, spec, says):
    write(tmp_path)
    assert says in refused(spec, tmp_path)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"images": np.zeros((10, 32, 32, 3), np.float32)}, "float32"),
        ({"images": np.zeros((10, 3, 32, 32), np.uint8)}, "(10, 3, 32, 32)"),
        ({"images": np.zeros((11, 32, 32, 3), np.uint8), "labels": np.zeros(11, int)}, "a fifth"),
        ({"labels": np.zeros(7, int)}, "(7,) for 20 images"),
        ({"labels": np.zeros((20, 1), int)}, "(20, 1) for 20 images"),
        ({"labels": np.full(20, 10)}, "a label is 10"),
        ({"images": np.zeros((0, 32, 32, 3), np.uint8), "labels": np.zeros(0, int)}, "empty"),
    ],
)
def test_arrays_of_another_shape_are_refused(tmp_path, refused, change, says):
    write(tmp_path, **change)
    assert says in refused("cifar10c:fog:1", tmp_path)


def test_no_code_in_a_file_is_executed(tmp_path, refused):
    write(tmp_path)
    np.save(tmp_path / "fog.npy", np.array([print], dtype=object), allow_pickle=True)
    message = refused("cifar10c:fog:1", tmp_path)
    assert "fog.npy is no readable .npy file" in message


@pytest.mark.parametrize("content", [b"", b"nonsense", b"\x93NUMPY\x01\x00"])
def test_damaged_files_are_refused(tmp_path, refused, content):
    write(tmp_path)
    (tmp_path / "fog.npy").write_bytes(content)
    assert "fog.npy is no readable .npy file" in refused("cifar10c:fog:1", tmp_path)


def test_an_archive_is_no_array(tmp_path, refused):
    write(tmp_path)
    with (tmp_path / "fog.npy").open("wb") as file:
        np.savez(file, a=np.zeros(1))
    assert "fog.npy is no .npy file" in refused("cifar10c:fog:1", tmp_path)
