"""Inputs read by rows: the same as a tensor, and the same at every reading."""

from zlib import crc32

import numpy as np
import pytest
import torch
from helpers.rows import Rows

from hauberk.data.examples import (
    Picked,
    Watched,
    at_once,
    crc_of,
    gone_through,
    portions,
)
from hauberk.errors import InputError

X = torch.rand(11, 2, 3, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize(
    "rows",
    [
        slice(None), slice(2, 5), slice(-3, None), slice(9, 40), slice(4, 4), slice(7, 3),
        torch.tensor([3, 1, 2]), torch.tensor([10, 0, 10, 4]), torch.tensor([], dtype=torch.int64),
    ],
)  # fmt: skip
def test_rows_are_those_of_the_tensor(rows):
    found = Rows(X)[rows]
    assert found.dtype == X.dtype
    assert torch.equal(found, X[rows])


def test_neighbours_are_read_together_and_nothing_else():
    x = Rows(X)
    _ = x[torch.tensor([5, 8, 4, 9, 4])]
    assert x.windows == [(4, 6), (8, 10)]


def test_groups_are_those_of_the_tensor():
    index = torch.tensor([[3, 0], [10, 4], [1, 2]])
    for inputs in (X, Rows(X)):
        x = Picked(inputs, index)
        assert x.shape == (3, 2, 2, 3)
        assert torch.equal(x[1:], X[index][1:])
        assert torch.equal(x[torch.tensor([2, 0])], X[index][[2, 0]])
    assert torch.equal(Picked(X, index[:, 0])[:], X[[3, 10, 1]])


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.float16])
def test_the_crc_of_portions_is_that_of_all_bytes(dtype, monkeypatch):
    monkeypatch.setattr("hauberk.data.examples.AT_ONCE", 13)
    x = X.to(dtype)
    expected = crc32(x.numpy().tobytes())
    assert crc_of(x) == crc_of(Rows(x)) == expected
    assert crc_of(x.transpose(1, 2).contiguous().transpose(1, 2)) == expected
    watched = gone_through(Rows(x), lambda some, start: None)
    assert crc_of(watched) == watched.crc == expected
    assert crc_of(torch.arange(5)) == crc32(np.arange(5).tobytes())


def test_portions_are_of_moderate_size(monkeypatch):
    monkeypatch.setattr("hauberk.data.examples.AT_ONCE", 13)
    x = Rows(X)
    assert [start for start, _ in portions(x)] == [0, 2, 4, 6, 8, 10]
    assert x.windows[-1] == (10, 11)
    assert at_once(torch.Size((100,))) == 1


def test_every_row_is_checked_once_with_its_place(monkeypatch):
    monkeypatch.setattr("hauberk.data.examples.AT_ONCE", 13)
    for inputs in (X, Rows(X)):
        seen = []
        found = gone_through(inputs, lambda some, start: seen.append((start, some.clone())))  # noqa: B023
        assert [start for start, _ in seen] == [0, 2, 4, 6, 8, 10]
        assert torch.equal(torch.cat([some for _, some in seen]), X)
        assert torch.equal(found[3:7], X[3:7])
    assert isinstance(found, Watched)


def test_inputs_that_change_are_refused():
    x = Rows(X.clone())
    watched = gone_through(x, lambda some, start: None)
    assert torch.equal(watched[torch.tensor([6, 2])], X[[6, 2]])
    x.x[6, 1, 2] += 1e-7
    assert torch.equal(watched[:6], X[:6])
    with pytest.raises(InputError, match="input 6 is another than when it was first read"):
        watched[5:8]
