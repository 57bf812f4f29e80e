"""Images and labels as a Python user has them."""

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader, TensorDataset

from hauberk.data import load_data
from hauberk.data.labelled import holds_labels, labelled
from hauberk.data.reading import Reading
from hauberk.errors import InputError

X, Y = torch.rand(6, 3), torch.tensor([1, 0, 2, 2, 1, 0])


@pytest.mark.parametrize(
    ("images", "labels"),
    [
        (X.numpy(), Y.numpy()),
        (X.numpy(), Y.tolist()),
        (X, torch.eye(3)[Y]),
        (X.tolist(), Y),
        (TensorDataset(X, Y), None),
        (DataLoader(TensorDataset(X, Y), batch_size=4, shuffle=True), None),
        ({"x": X.numpy(), "y": Y.numpy()}, None),
        ((X, Y), None),
        ([X, Y], None),
        ((list(X), Y.tolist()), None),
        ([*X], Y),
        ([x.numpy() for x in X], Y),
        (lambda: ((x, int(y)) for x, y in zip(X, Y, strict=True)), None),
        ([(x, y) for x, y in zip(X, Y, strict=True)], None),
    ],
)
def test_the_same_examples(images, labels):
    data = labelled(images, labels)
    assert torch.equal(data.images[:], X)
    assert data.labels.tolist() == Y.tolist()
    assert data.ids.tolist() == list(range(6))
    assert holds_labels(images) == (labels is None)


def test_bytes_are_spread_over_the_box():
    pixels = np.full((2, 5, 6, 3), 255, np.uint8)
    assert labelled(pixels, [0, 1]).images[:].shape == (2, 3, 5, 6)
    assert labelled(pixels, [0, 1], box=(-1, 2)).images[:].unique().tolist() == [2]
    assert labelled(torch.from_numpy(pixels), [0, 1]).images[:].unique().tolist() == [1]


def test_data_sets_of_this_package():
    part = load_data("digits:test", limit=3, offset=7)
    assert labelled(part) is part
    assert labelled("digits:test").images.shape == (500, 1, 8, 8)
    some = labelled(TensorDataset(X, Y), reading=Reading(sample=2))
    assert torch.equal(some.images[:], X[some.ids])


def test_labels_may_be_names():
    data = labelled(X, ["b", "a", "c", "c", "b", "a"])
    assert (data.labels.tolist(), data.class_names) == (Y.tolist(), ("a", "b", "c"))


def test_labels_are_given_once():
    with pytest.raises(InputError, match="labels are missing"):
        labelled(X)
    for images in (TensorDataset(X, Y), "digits:test", load_data("digits:test", limit=1)):
        with pytest.raises(InputError, match="holds its labels: leave out labels"):
            labelled(images, Y)
