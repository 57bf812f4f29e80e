"""Single items: what of them is the image, what the label."""

import numpy as np
import pytest
import torch

from hauberk.data.items import as_array, is_batch, labels_of, split_item, stack
from hauberk.data.reading import PLAIN
from hauberk.errors import InputError


def test_images_and_labels_of_items():
    x = torch.zeros(3, 4)
    assert split_item((x, 1, "path"), "mine", 0) == (x, 1)
    assert split_item({"jpg": 1, "cls": 2, "__key__": 3}, "mine", 0) == (1, 2)
    with pytest.raises(InputError, match=r"item 7: .*can both be"):
        split_item({"jpg": 1, "png": 2, "cls": 2}, "mine", 7)


@pytest.mark.parametrize(
    ("image", "label", "found"),
    [
        (torch.zeros(5, 2), torch.zeros(5), True),
        (torch.zeros(5, 2), [0] * 5, True),
        (torch.zeros(5, 2), 1, False),
        (torch.zeros(5, 2), torch.tensor(1), False),
        (torch.zeros(5, 2), torch.zeros(3), False),
        (torch.zeros(5), torch.zeros(5), False),
        ([1.0, 2.0], 1, False),
    ],
)
def test_batches_are_known(image, label, found):
    assert is_batch(image, label) is found


def test_lists_of_numbers():
    assert as_array([[0, 255]], "mine", 0).dtype == np.uint8
    assert as_array([[0, 256]], "mine", 0).dtype == np.float32
    assert as_array([0, 255], "mine", 0).dtype == np.float32
    with pytest.raises(InputError, match="ragged"):
        as_array([[1], [1, 2]], "mine", 0)
    with pytest.raises(InputError, match="make all images alike"):
        stack([np.zeros(2), np.zeros(3)], PLAIN, "mine", 0)
    assert labels_of([torch.tensor(1), 2], "mine").tolist() == [1, 2]
