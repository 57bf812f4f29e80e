"""Usual names of images and labels."""

import pytest

from hauberk.data.naming import pair_of, role
from hauberk.errors import InputError


@pytest.mark.parametrize(
    ("names", "words", "found"),
    [
        ("images labels", (), ("images", "labels")),
        ("X y feature_names", (), ("X", "y")),
        ("data targets weights", (), ("data", "targets")),
        ("arr_0 arr_1", (), ("arr_0", "arr_1")),
        ("img fine_label coarse_label", (), ("img", "fine_label")),
        ("x_train y_train x_test y_test", ("test",), ("x_test", "y_test")),
        ("train_images train_labels val_images val_labels", ("val",), ("val_images", "val_labels")),
        ("Xtest ytest", (), ("Xtest", "ytest")),
        ("testData testLabels", (), ("testData", "testLabels")),
        ("a b c", ("b", "c"), ("b", "c")),
        ("x_test y_test x_train", (), ("x_test", "y_test")),
    ],
)
def test_pairs(names, words, found):
    assert tuple(pair_of(names.split(), "mine", words)) == found


@pytest.mark.parametrize(
    ("names", "words", "says"),
    [
        ("x_train y_train x_test y_test", (), "say which, mine:train or mine:test"),
        ("x_train y_train", ("test",), "no images and labels of test"),
        ("images", (), "but no labels: write mine:IMAGES:LABELS"),
        ("labels", (), "but no images"),
        ("a b", (), "no images and no labels"),
        ("x_test y_train", (), "but no such pair"),
        ("x image y", (), "x and image can both be the images"),
        ("x y label", (), "y and label can both be the labels"),
        ("x y", ("x", "z"), "no 'z' among x, y"),
        ("x y", ("x", "y", "z"), "no split and no pair"),
        ("", (), "holds nothing"),
    ],
)
def test_what_does_not_say_which(names, words, says):
    with pytest.raises(InputError, match=says):
        pair_of(names.split(), "mine", words)


def test_names_that_say_nothing():
    assert role("weights") is None
    assert role("test") is None
    assert role("x_axis") is None
