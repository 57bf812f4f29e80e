"""Data sets that are Python objects."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader, IterableDataset, Subset, TensorDataset

from hauberk.data.loading import opened
from hauberk.data.objects import open_object
from hauberk.data.reading import Reading
from hauberk.data.source import Request
from hauberk.errors import InputError

X = torch.linspace(0, 1, 60).reshape(10, 1, 2, 3)
Y = torch.arange(10) % 3


def read(found, **how):
    request = Request("mine", None, Reading(**how))
    data = opened(open_object(found, request), "mine", request.reading)
    return replace(data, images=data.images[:])


class Batches(IterableDataset):
    def __iter__(self):
        yield X[:4], Y[:4]
        yield {"pixel_values": X[4:], "labels": Y[4:]}


class Column(list):
    def __init__(self, items):
        super().__init__(items)
        self.features = {"label": SimpleNamespace(names=["a", "b", "c"])}


@pytest.mark.parametrize(
    "found",
    [
        (X, Y),
        [X.numpy(), Y.tolist()],
        {"x": X, "y": Y, "name": "mine"},
        {"data": X.numpy(), "target": Y.numpy(), "target_names": ["a", "b", "c"]},
        TensorDataset(X, Y),
        Subset(TensorDataset(X, Y), range(10)),
        list(zip(X, Y, strict=True)),
        [(x.numpy(), int(y), k) for k, (x, y) in enumerate(zip(X, Y, strict=True))],
        [{"image": x, "label": y} for x, y in zip(X, Y, strict=True)],
        [(x.tolist(), int(y)) for x, y in zip(X, Y, strict=True)],
        [(X[:7], Y[:7]), (X[7:], Y[7:])],
        (pair for pair in zip(X, Y, strict=True)),
        Batches(),
        DataLoader(Batches(), batch_size=None),
        DataLoader(TensorDataset(X, Y), batch_size=4),
        SimpleNamespace(test_dataloader=lambda: [DataLoader(TensorDataset(X, Y))]),
        Column({"image": x, "label": y} for x, y in zip(X, Y, strict=True)),
    ],
)
def test_the_same_examples(found):
    data = read(found)
    assert torch.allclose(data.images, X)
    assert data.labels.tolist() == Y.tolist()


def test_names_of_classes():
    assert read(Column([(X[0], 0), (X[1], 2)])).class_names == ("a", "b", "c")
    bunch = {"data": X, "target": Y}
    assert read(bunch).class_names is None
    subset = TensorDataset(X, Y)
    subset.classes = ["x", "y", ("z", "zz")]
    assert read(Subset(subset, [0])).class_names == ("x", "y", "z")
    names = np.array(["dog", "cat", "dog"])
    data = read((X[:3], names))
    assert (data.labels.tolist(), data.class_names) == ([1, 0, 1], ("cat", "dog"))
    data = read((X[:3], names), classes=["dog", "cow", "cat"])
    assert (data.labels.tolist(), data.classes) == ([0, 2, 0], 3)
    items = [(x, name) for x, name in zip(X, names.tolist(), strict=False)]
    assert read(items[:2]).labels.tolist() == [1, 0]
    assert read(iter(items)).labels.tolist() == [1, 0, 1]


def test_pictures_of_any_size():
    pillow = pytest.importorskip("PIL.Image", reason="needs Pillow")
    items = [(pillow.new("L", (8, 8), 3), 0), (pillow.new("RGB", (9, 12), (3, 3, 3)), 1)]
    data = read(items, resize=6, crop=5, rgb=True)
    assert data.images.shape == (2, 3, 5, 5)
    assert torch.equal(data.images, torch.full((2, 3, 5, 5), 3 / 255))
    # Single pictures in arrays, and lists of bytes as they come from tables of nested lists.
    arrays = [(np.zeros((8, 9, 3), np.uint8), 0), (np.zeros((8, 9, 3), np.uint8), 1)]
    assert read(arrays, resize=4, crop=4).images.shape == (2, 3, 4, 4)
    assert read([([[255, 0], [0, 0]], 1)]).images.tolist() == [[[[1, 0], [0, 0]]]]


@pytest.mark.parametrize(
    ("found", "says"),
    [
        (((X, Y), (X, Y)), "two pairs of arrays"),
        ({"train": [1], "test": [2]}, "has the parts train, test"),
        ({"x_train": X, "y_train": Y, "x_test": X, "y_test": Y}, "say which"),
        ([{"input_ids": [1], "label": 0}], "no tokens|not tokens"),
        ([(0, X[0], 1)], r"is \(int, Tensor, int\)"),
        ([(X[0],)], "not .image, label"),
        ([("text", 0)], "no image"),
        (SimpleNamespace(test_dataloader=lambda: [1, 2]), "2 test loaders"),
        (3, "gave a int"),
    ],
)
def test_what_is_no_data_set(found, says):
    with pytest.raises(InputError, match=says):
        read(found)


def test_random_augmentation_shows():
    class Noisy(TensorDataset):
        def __getitem__(self, index):
            return X[index] + torch.rand(()), Y[index]

    for found in (Noisy(X, Y), DataLoader(Noisy(X, Y))):
        with pytest.raises(InputError, match="example 0 differs from one reading to the next"):
            read(found)
