"""The projection onto the simplex."""

import numpy as np
import pytest
import torch
from helpers.projections import noise
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import brentq

from hauberk.maths import project_simplex


@settings(max_examples=100, deadline=None)
@given(st.lists(st.floats(-5, 5), min_size=1, max_size=9))
def test_simplex_against_a_root(b: list[float]) -> None:
    v = np.array(b)
    mu = brentq(
        lambda m: np.maximum(v - m, 0).sum() - 1, v.min() - 1 - 1 / len(v), v.max(), xtol=1e-15
    )
    w = project_simplex(torch.tensor(b, dtype=torch.float64))
    assert (w >= 0).all()
    np.testing.assert_allclose(w.numpy(), np.maximum(v - mu, 0), atol=1e-12)


def test_simplex_shapes_and_extremes() -> None:
    b = noise("dense", (4, 3, 6))
    w = project_simplex(b)
    assert w.shape == b.shape
    torch.testing.assert_close(w.sum(-1), torch.ones(4, 3))
    torch.testing.assert_close(project_simplex(w), w)
    torch.testing.assert_close(project_simplex(b + 7), w)
    assert project_simplex(torch.tensor([[1e30, 0.0, -1e30]])).tolist() == [[1.0, 0.0, 0.0]]
    assert project_simplex(torch.tensor([5.0])).tolist() == [1.0]
    assert project_simplex(torch.zeros(0, 3)).shape == (0, 3)
    assert project_simplex(b.bfloat16()).dtype == torch.bfloat16
    with pytest.raises(ValueError, match="K >= 1"):
        project_simplex(torch.zeros(3, 0))
