"""Data sets that can only be gone through."""

import pytest
import torch

from hauberk.data.reading import PLAIN
from hauberk.data.source import Request
from hauberk.data.streams import InOrder, batches
from hauberk.errors import InputError

X, Y = torch.rand(10, 2), torch.arange(10)


class Fives:
    """Counts how far it is gone through."""

    def __init__(self, size=5):
        self.given, self.size = 0, size

    def __iter__(self):
        for k in range(0, 10, self.size):
            self.given += 1
            yield X[k : k + self.size], Y[k : k + self.size]


def test_windows_in_any_order():
    raw = InOrder(Fives(), Request("mine"), None).raw()
    assert raw.size == 10
    for start, stop in ((0, 3), (3, 7), (7, 10), (2, 9), (0, 10), (4, 5)):
        images, labels = raw.read(start, stop)
        assert torch.equal(images, X[start:stop])
        assert labels.tolist() == list(range(start, stop))


def test_no_more_is_gone_through_than_needed():
    source = Fives(1)
    raw = InOrder(source, Request("mine", stop=4), None).raw()
    assert (raw.size, source.given) == (4, 4)
    for k in range(4):
        raw.read(k, k + 1)
    assert source.given == 8  # one more pass, not one for each window


def test_names_are_looked_for_in_all_of_it():
    class Named(Fives):
        def __iter__(self):
            yield from ((x, "ba"[k % 2]) for k, x in enumerate(X))

    raw = InOrder(Named(), Request("mine", stop=1), None).raw()
    assert raw.size == 10


def test_what_can_be_gone_through_once():
    raw = InOrder(iter(Fives()), Request("mine"), None).raw()
    assert torch.equal(raw.read(6, 8)[0], X[6:8])
    assert torch.equal(raw.read(1, 3)[0], X[1:3])
    raw = InOrder(iter(Fives()), Request("mine"), lambda: iter(Fives())).raw()
    assert torch.equal(raw.read(1, 3)[0], X[1:3])


def test_another_order_the_second_time_shows():
    class Other(Fives):
        def __iter__(self):
            yield X, (Y + self.given) % 10
            self.given += 1

    raw = InOrder(Other(), Request("mine"), None).raw()
    with pytest.raises(InputError, match="other examples the second time"):
        raw.read(0, 4)

    class Shorter(Fives):
        def __iter__(self):
            self.given += 1
            yield X[: 10 // self.given], Y[: 10 // self.given]

    raw = InOrder(Shorter(), Request("mine"), None).raw()
    with pytest.raises(InputError, match="other examples the second time"):
        raw.read(8, 10)


def test_what_fails_is_named():
    def broken():
        yield X[0], 1
        raise OSError("disk is full")

    with pytest.raises(InputError, match="item 1 failed: OSError: disk is full"):
        list(batches(broken(), PLAIN, "mine"))
