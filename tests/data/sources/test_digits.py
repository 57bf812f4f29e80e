"""The digits of scikit-learn."""

import torch

from hauberk.data import Dataset, load_data


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
