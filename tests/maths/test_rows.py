"""Records with one row per slot."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from hauberk.maths.rows import Rows, put_in_rings_


@dataclass
class Inner(Rows):
    values: Tensor


@dataclass
class Outer(Rows):
    tensor: Tensor
    array: np.ndarray
    inner: Inner
    nothing: None
    number: float
    pair: tuple[Tensor, Tensor]
    flag: bool = False


def make(n, start=0, flag=False):
    numbers = torch.arange(start, start + n)
    return Outer(
        tensor=numbers.view(n, 1).float(), array=numbers.numpy() * 2, inner=Inner(numbers * 3),
        nothing=None, number=0.5, pair=(torch.zeros(2), torch.ones(2)), flag=flag,
    )  # fmt: skip


def test_take():
    rows = make(5)
    found = rows.take(torch.tensor([4, 0, 0]))
    assert found.tensor.flatten().tolist() == [4, 0, 0]
    assert found.array.tolist() == [8, 0, 0]
    assert found.inner.values.tolist() == [12, 0, 0]
    assert found.pair is rows.pair
    assert (found.nothing, found.number, found.flag) == (None, 0.5, False)
    found.tensor[0] = -1
    assert rows.tensor[4] == 4


def test_take_nobody():
    found = make(3).take(torch.empty(0, dtype=torch.int64))
    assert len(found.tensor) == len(found.array) == len(found.inner.values) == 0


def test_join():
    found = make(2).join(make(3, start=10))
    assert found.tensor.flatten().tolist() == [0, 1, 10, 11, 12]
    assert found.array.tolist() == [0, 2, 20, 22, 24]
    assert found.inner.values.tolist() == [0, 3, 30, 33, 36]


def test_a_flag_holds_if_it_holds_for_some():
    assert make(1, flag=True).join(make(1)).flag
    assert make(1).join(make(1, flag=True)).flag
    assert not make(1).join(make(1)).flag


def test_join_undoes_take():
    rows = make(6)
    again = rows.take(torch.arange(2)).join(rows.take(torch.arange(2, 6)))
    assert torch.equal(again.tensor, rows.tensor)
    assert np.array_equal(again.array, rows.array)


def test_rings_hold_the_last_values_of_each_row():
    """Against a list a row: the latest value stands at its number modulo the length."""
    length, draw = 3, torch.Generator().manual_seed(0)
    flat, deep = torch.zeros(4, length), torch.zeros(4, length, 2, dtype=torch.float64)
    at = torch.zeros(4, dtype=torch.int64)
    pushed = [[] for _ in range(4)]
    for turn in range(9):
        where = torch.rand(4, generator=draw) < 0.6
        new = torch.arange(4.0) + 10 * (turn + 1)
        pairs = (flat, new), (deep, torch.stack((new, -new), 1).double())
        at = put_in_rings_(at, where, *pairs)
        for row in where.nonzero().flatten().tolist():
            pushed[row].append(new[row].item())
        expected = [[0.0] * length for _ in range(4)]
        for row, values in enumerate(pushed):
            for k, value in enumerate(values):
                expected[row][k % length] = value
        assert flat.tolist() == expected
        assert deep[..., 0].tolist() == expected
        assert torch.equal(deep[..., 1], -deep[..., 0])
        assert at.tolist() == [len(values) % length for values in pushed]
    assert max(map(len, pushed)) > length
    assert len(set(map(len, pushed))) > 1
