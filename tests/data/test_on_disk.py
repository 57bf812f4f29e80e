"""Arrays in files: the same rows as in memory, no more of them read, and damage found at once."""

import os
import zipfile

import numpy as np
import pytest
import torch

from hauberk.data import load_data, open_data
from hauberk.data.on_disk import ArrayOnDisk, member
from hauberk.errors import InputError

RNG = np.random.default_rng(0)
IMAGES = RNG.integers(0, 256, (9, 6, 5, 3), dtype=np.uint8)
WINDOWS = [slice(None), slice(2, 5), slice(-2, None), slice(7, 40), slice(4, 4), slice(6, 2)]


@pytest.fixture(autouse=True)
def all_are_large(monkeypatch):
    monkeypatch.setattr("hauberk.data.on_disk.SMALL", 0)


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
@pytest.mark.parametrize("images", [IMAGES, IMAGES[:, 0].astype(np.float32), IMAGES.astype(">i8")])
def test_rows_are_those_of_the_array(tmp_path, save, images):
    save(tmp_path / "x.npz", other=IMAGES[:, 0], images=images)
    found = member(tmp_path / "x.npz", "images")
    assert isinstance(found, ArrayOnDisk)
    assert (found.shape, found.dtype, found.ndim) == (images.shape, images.dtype, images.ndim)
    for rows in WINDOWS:
        assert np.array_equal(found[rows], images[rows])


def test_what_has_no_rows_in_its_file_is_read_at_once(tmp_path):
    columns, flat = np.asfortranarray(IMAGES[..., 0]), IMAGES[:, 0, 0, 0]
    np.savez(tmp_path / "x.npz", columns=columns, flat=flat)
    for name, value in (("columns", columns), ("flat", flat)):
        found = member(tmp_path / "x.npz", name)
        assert isinstance(found, np.ndarray)
        assert np.array_equal(found, value)


def test_only_the_rows_asked_for_are_read(tmp_path, monkeypatch):
    np.savez(tmp_path / "x.npz", images=IMAGES)
    found = member(tmp_path / "x.npz", "images")
    asked, pread = [], os.pread
    monkeypatch.setattr(os, "pread", lambda f, n, at: asked.append((n, at)) or pread(f, n, at))
    _ = found[3:5]
    assert asked == [(2 * 90, found.offset + 3 * 90)]


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_a_damaged_byte_is_found_before_rows_are_read(tmp_path, save):
    path = tmp_path / "x.npz"
    save(path, images=IMAGES, labels=np.arange(9))
    data = bytearray(path.read_bytes())
    place = zipfile.ZipFile(path).getinfo("images.npy").header_offset + 300
    data[place] ^= 1
    path.write_bytes(data)
    with pytest.raises(InputError, match="no readable"):
        open_data(f"npz:{path}")


def test_a_file_that_gets_shorter_is_refused(tmp_path):
    path = tmp_path / "x"
    path.write_bytes(bytes(100))
    found = ArrayOnDisk(path, 0, (10, 10), np.dtype(np.uint8))
    path.write_bytes(bytes(35))
    assert found[:3].shape == (3, 10)
    with pytest.raises(InputError, match="became shorter"):
        found[2:4]
    path.unlink()
    with pytest.raises(InputError, match="cannot be read"):
        found[:1]


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_a_data_set_read_by_rows_is_the_one_in_memory(tmp_path, save):
    save(tmp_path / "x.npz", images=IMAGES, labels=np.arange(9))
    there, here = (f(f"npz:{tmp_path}/x.npz", offset=1) for f in (load_data, open_data))
    expected = torch.from_numpy(IMAGES[1:]).permute(0, 3, 1, 2).float() / 255
    assert torch.equal(there.images, expected)
    assert torch.equal(here.images[2:6], expected[2:6])
    assert torch.equal(here.images[torch.tensor([7, 0])], expected[[7, 0]])
    assert here.labels.tolist() == there.labels.tolist() == [1, 2, 3, 4, 5, 6, 7, 8]
