"""Windows of a data set, requests that name none, and the real files."""

import numpy as np
import pytest
import torch

from hauberk.data import load_data, open_data
from hauberk.data.source import RawData
from hauberk.errors import InputError


def test_limit_and_offset_keep_ids():
    whole, part = load_data("digits:test"), load_data("digits:test", limit=7, offset=30)
    assert part.ids.tolist() == list(range(30, 37))
    assert torch.equal(part.images, whole.images[30:37])
    assert torch.equal(part.labels, whole.labels[30:37])
    assert load_data("digits:test", limit=100, offset=450).ids.tolist() == list(range(450, 500))


def test_bad_windows(refused):
    assert "limit=0" in refused("digits:test", limit=0)
    assert "limit=-3" in refused("digits:test", limit=-3)
    assert "offset=-1" in refused("digits:test", offset=-1)
    message = refused("digits:test", offset=500)
    assert "beyond the end" in message
    assert "500 examples" in message


@pytest.mark.parametrize("spec", ["nonsense", "", ":", "nonsense:test", "mnsit:test"])
def test_unknown_specs_list_the_known(refused, spec):
    message = refused(spec)
    assert "digits:train|test" in message
    assert "folder:DIR" in message


def test_the_hub_is_not_read(refused):
    assert "save_to_disk(DIR), and give hf:DIR" in refused("hf:mnist")


@pytest.mark.parametrize("spec", ["digits", "mnist:", "fashion:valid", "cifar10:TEST"])
def test_unknown_splits(refused, spec, tmp_path):
    message = refused(spec, tmp_path)
    name = spec.split(":")[0]
    assert f"{name}:train or {name}:test" in message


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
def test_real_training_files(refused, real_data_dir):
    assert len(load_data("mnist:train", real_data_dir, offset=59_000)) == 1000
    data = load_data("cifar10:train", real_data_dir, offset=10_000, limit=10_000)
    counts = [984, 1007, 1010, 995, 1010, 988, 1008, 1026, 987, 985]
    assert torch.bincount(data.labels).tolist() == counts
    assert "fashion" in refused("fashion:test", real_data_dir)


@pytest.mark.parametrize("spec", ["digits:test", "digits:train+fog:2"])
def test_open_data_is_load_data_read_by_rows(spec):
    there, here = (f(spec, limit=9, offset=4) for f in (load_data, open_data))
    assert torch.equal(here.images[2:7], there.images[2:7])
    assert torch.equal(here.images[torch.tensor([8, 0])], there.images[[8, 0]])
    assert (here.images.shape, here.images.dtype) == (there.images.shape, there.images.dtype)
    assert torch.equal(here.labels, there.labels)
    assert torch.equal(here.ids, there.ids)
    assert (here.name, here.classes, len(here)) == (there.name, there.classes, len(there))


def test_open_data_finds_labels_where_a_source_gives_them_with_the_images(monkeypatch):
    monkeypatch.setattr("hauberk.data.examples.AT_ONCE", 8)
    windows = []

    def read(start, stop):
        windows.append((start, stop))
        return np.zeros((stop - start, 1, 2, 2)), np.arange(start, stop)

    monkeypatch.setattr("hauberk.data.loading._open", lambda request: RawData(9, read))
    data = open_data("mine:all", offset=1)
    assert data.labels.tolist() == [1, 2, 3, 4, 5, 6, 7, 8]
    assert max(stop - start for start, stop in windows) == 2


def test_images_of_another_shape_are_refused_where_they_are_read(monkeypatch):
    def read(start, stop):
        return np.zeros((stop - start, 2, 2 + start)), np.arange(start, stop)

    monkeypatch.setattr("hauberk.data.loading._open", lambda request: RawData(9, read))
    with pytest.raises(InputError, match=r"images 5 to 6 have shape \(2, 7\), the first \(2, 2\)"):
        open_data("mine:all").images[5:7]
