"""Labels in all the forms in which they come."""

import numpy as np
import pytest
import torch

from hauberk.data.labels import to_labels
from hauberk.errors import InputError


@pytest.mark.parametrize(
    "given",
    [
        np.array([2, 0, 1], np.uint8),
        np.array([[2], [0], [1]], np.int16),
        np.array([2.0, 0.0, 1.0], np.float16),
        np.array([[0, 0, 1.0], [1, 0, 0], [0, 1, 0]]),
        np.array([[0, 0, 1], [1, 0, 0], [0, 1, 0]], bool),
        np.array(["2", "0", "1"]),
        np.array([b"2", b"0", b"1"]),
        np.array([2, 0, 1], object),
        torch.tensor([2, 0, 1]),
        torch.tensor([2.0, 0.0, 1.0], requires_grad=True),
        torch.eye(3)[[2, 0, 1]],
    ],
)
def test_the_same_labels(given):
    found = to_labels(given, "mine", 3)
    assert found.tolist() == [2, 0, 1]
    assert found.dtype == torch.int64


def test_truth_values_are_two_classes():
    assert to_labels(torch.tensor([True, False]), "mine", None).tolist() == [1, 0]


@pytest.mark.parametrize(
    ("given", "says"),
    [
        (np.array([0.5, 1.0]), "example 0 is 0.5"),
        (np.array([0.0, np.nan]), "example 1 is nan"),
        (np.array([0.0, np.inf]), "example 1 is inf"),
        (np.array([-1, 1]), "give 0 and 1 for -1 and 1"),
        (np.array([1, 3]), "a label is 3 but there are 3 classes"),
        (np.array(["cat", "dog"]), "a label is 'cat'.*--classes"),
        (np.array([[1, 1], [0, 1]]), "example 0 marks 2 classes"),
        (np.array([[0, 0], [0, 1]]), "example 0 marks 0 classes"),
        (np.array([[0.9, 0.1], [0.0, 1.0]]), "not a score"),
        (np.zeros((2, 2, 2), int), "labels have shape"),
        (np.array([1j]), "labels are complex128"),
    ],
)
def test_what_is_no_label(given, says):
    with pytest.raises(InputError, match=says):
        to_labels(given, "mine", 3)
