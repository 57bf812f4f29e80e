import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from hauberk import InputError
from hauberk.evaluation.minmax.groups import groups

labels_of = st.lists(st.integers(0, 4), min_size=1, max_size=40)


def test_in_order_and_without_the_rest():
    labels = torch.tensor([3, 1, 4, 1, 5, 9, 2])
    assert groups(labels, 2).tolist() == [[0, 1], [2, 3], [4, 5]]
    assert groups(labels, 7).tolist() == [[0, 1, 2, 3, 4, 5, 6]]
    assert groups(labels, 1).tolist() == [[i] for i in range(7)]


def test_by_class_each_class_by_itself():
    labels = torch.tensor([2, 0, 2, 0, 0, 1, 2, 0, 0])
    assert groups(labels, 2, by_class=True).tolist() == [[1, 3], [4, 7], [0, 2]]
    assert groups(labels, 3, by_class=True).tolist() == [[1, 3, 4], [0, 2, 6]]


@given(labels_of, st.integers(1, 5))
def test_a_partition_of_all_but_the_last_few(labels, size):
    y = torch.tensor(labels)
    if len(y) < size:
        return
    index = groups(y, size)
    assert index.flatten().tolist() == list(range(len(y) // size * size))


@given(labels_of, st.integers(1, 5))
def test_by_class_leaves_out_less_than_a_group_of_each_class(labels, size):
    y = torch.tensor(labels)
    counts = y.bincount()
    if counts.max() < size:
        with pytest.raises(InputError, match=f"the largest class has {counts.max()}"):
            groups(y, size, by_class=True)
        return
    index = groups(y, size, by_class=True)
    assert bool((y[index] == y[index[:, :1]]).all())
    assert len(index.unique()) == index.numel()
    used = y[index.flatten()].bincount(minlength=len(counts))
    assert torch.equal(used, counts // size * size)
    # Within a class, in order: a later run on more data keeps the groups that it had.
    for c in range(len(counts)):
        own = index[y[index[:, 0]] == c].flatten()
        assert torch.equal(own, own.sort().values)
        assert torch.equal(own, (y == c).nonzero().flatten()[: len(own)])


@pytest.mark.parametrize("size", [0, -2])
def test_no_group_of_nobody(size):
    with pytest.raises(InputError, match="give 1 or more"):
        groups(torch.arange(4), size)


@pytest.mark.parametrize("by_class", [False, True])
def test_more_than_there_are(by_class):
    with pytest.raises(InputError, match="smaller"):
        groups(torch.tensor([0, 1, 1]), 4, by_class)
    with pytest.raises(InputError, match="smaller"):
        groups(torch.zeros(0, dtype=torch.int64), 1, by_class)
