"""lp norms per example."""

from math import inf

import pytest
import torch

from hauberk.maths import norm


@pytest.mark.parametrize("p", [1, 1.5, 2, 3, inf])
@pytest.mark.parametrize("size", [1.0, 1e-30, 1e30])
def test_as_in_float64(p, size):
    x = torch.randn(6, 3, 4, generator=torch.Generator().manual_seed(0)) * size
    wide = torch.linalg.vector_norm(x.double().flatten(1), p, dim=1)
    assert norm(x.double(), p) == pytest.approx(wide)
    if 1e-15 < size < 1e15 or p not in (2,):  # squares leave the range of float32
        assert norm(x, p).double() == pytest.approx(wide, rel=1e-5)


def test_zero_counts_features():
    assert norm(torch.tensor([[0.0, -2.0, 1e-30], [0.0, 0.0, 0.0]]), 0).tolist() == [2, 0]


@pytest.mark.parametrize("p", [0, 1, 2, 3, inf])
def test_odd_shapes(p):
    assert norm(torch.ones(3), p).tolist() == [1, 1, 1]  # a batch of single numbers
    assert norm(torch.ones(0, 4), p).shape == (0,)
    assert norm(torch.ones(4, 0), p).tolist() == [0] * 4
    assert norm(torch.zeros(1, 5), p).tolist() == [0]
