"""What is odd about data, on both sides of its threshold."""

import pytest
import torch

from hauberk.evaluation.core.data_check import (
    few_classes,
    likely,
    little_of_the_box,
    odd_data,
    repeated,
)
from hauberk.threats.box import Box


def uniform(n=50, *shape):
    return torch.rand(n, *(shape or (1, 8, 8)), generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize(("counts", "classes", "told"), [
    ([50], 10, True), ([10], 10, True), ([9], 10, False), ([25, 25], 10, True),
    ([5, 5], 2, False), ([5] * 9, 10, False), ([50], 2, True),
    ([5, 5], 1000, True), ([8], 2, False),
])  # fmt: skip
def test_few_classes_of_sorted_data(counts, classes, told):
    y = torch.cat([torch.full((many,), k) for k, many in enumerate(counts)])
    assert (few_classes(y, classes) is not None) == told


def test_a_shuffled_subset_of_many_classes_may_be_meant():
    y = torch.arange(100) % 10
    assert few_classes(y, 1000) is None
    assert few_classes(y.sort().values, 1000) is not None
    assert few_classes(torch.arange(60) % 3, 10) is not None
    assert few_classes(torch.arange(60) % 6, 10) is None


def test_what_is_likely():
    """The chance of one class among ten in n draws is 10 / 10**n."""
    assert likely(3, 1, 10) == pytest.approx(0.01)
    assert likely(5, 10, 10) == 1


def test_data_that_fill_little_of_the_box():
    x = uniform()
    for inputs, box in (
        (x / 255, Box()),
        (x, Box(0, 255)),
        (x, Box(-1, 1)),
        (x * 0.4 + 0.3, Box()),
    ):
        assert little_of_the_box(inputs, box).code == "data fill little of the box"
    for inputs, box in ((x, Box()), (2 * x - 1, Box(-1, 1)), (x * 0.6, Box()),
                        (x[:1, :, :2], Box(0, 255)), (x, Box(0, float("inf")))):  # fmt: skip
        assert little_of_the_box(inputs, box) is None
    each = Box(torch.zeros(1, 8, 8), torch.full((1, 8, 8), 2.0))
    assert "50% of the box" in str(little_of_the_box(x, each)) or "% of the box" in str(
        little_of_the_box(x, each)
    )
    assert little_of_the_box(torch.full((5, 64), 0.3), Box()).code == "blank inputs"


def test_repeated_inputs():
    x = uniform(40)
    assert repeated(x) is None
    assert "only 20 are different" in str(repeated(torch.cat([x[:20]] * 2)))
    assert repeated(torch.cat([x[:38], x[:2]])) is None
    assert repeated(torch.cat([x[:5]] * 3)) is None  # too few to say


def test_honest_data_are_left_alone():
    assert odd_data(uniform(), torch.arange(50) % 10, 10, Box()) == []
    assert odd_data(uniform(10), torch.tensor([7, 2, 1, 0, 4, 1, 4, 9, 5, 9]), 10, Box()) == []
