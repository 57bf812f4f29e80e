"""The shortest convex combination against scipy, and the ring of sampled gradients."""

import numpy as np
import pytest
import torch
from scipy.optimize import minimize

from hauberk.maths.hull import Samples, shortest


def least(vectors):
    """Length of the shortest convex combination of the rows of a matrix, by scipy."""
    k = len(vectors)
    found = minimize(
        lambda w: ((w @ vectors) ** 2).sum(), np.full(k, 1 / k),
        jac=lambda w: 2 * vectors @ (w @ vectors), bounds=[(0, 1)] * k,
        constraints=[{"type": "eq", "fun": lambda w: w.sum() - 1, "jac": lambda w: np.ones(k)}],
        method="SLSQP", options={"ftol": 1e-16, "maxiter": 1000},
    )  # fmt: skip
    return np.sqrt(found.fun)


@pytest.mark.parametrize(("k", "n"), [(1, 3), (2, 5), (4, 3), (8, 5), (8, 40)])
@pytest.mark.parametrize("shift", [0.0, 1.0])
def test_weights_are_those_of_the_quadratic_program(k, n, shift):
    rng = torch.Generator().manual_seed(k * n)
    vectors = torch.randn(20, k, n, generator=rng, dtype=torch.float64) + shift
    given = torch.rand(20, k, generator=rng) < 0.8
    given[:, 0] = True
    weights = shortest(vectors @ vectors.mT, given)
    assert (weights >= 0).all()
    torch.testing.assert_close(weights.sum(1), torch.ones(20).double())
    assert (weights[~given] == 0).all()
    found = torch.einsum("sk,skn->sn", weights, vectors).norm(dim=1)
    for row in range(20):
        want = least(vectors[row, given[row]].numpy())
        assert float(found[row]) == pytest.approx(want, rel=1e-3, abs=2e-4), row


def test_of_equal_or_zero_vectors():
    same = torch.ones(1, 3, 2).double()
    weights = shortest(same @ same.mT, torch.ones(1, 3, dtype=torch.bool))
    assert weights.sum() == 1
    none = shortest(torch.zeros(2, 3, 3), torch.ones(2, 3, dtype=torch.bool))
    assert torch.equal(none.sum(1), torch.ones(2))


def test_only_what_is_near_and_of_the_same_function_counts():
    samples = Samples.empty(torch.zeros(2, 2).double(), 3)
    every, one = torch.ones(2, dtype=torch.bool), torch.ones(2).double()
    here = torch.zeros(2, 2).double()
    reach = 0.5 * one
    assert torch.equal(samples.least(here, one, reach), torch.full((2,), torch.inf).double())
    left, right = torch.tensor([[1.0, 0]] * 2).double(), torch.tensor([[-1.0, 0]] * 2).double()
    samples.push_(here, left, one, every)
    assert torch.equal(samples.least(here, one, reach), one)
    samples.push_(here + 0.1, right, one, torch.tensor([True, False]))
    assert samples.least(here, one, reach).tolist() == [0, 1]
    assert samples.least(here, one, 0.1 * one).tolist() == [1, 1]  # 0.14 away
    assert samples.least(here, 2 * one, reach).tolist() == [torch.inf] * 2
    for _ in range(3):  # older ones are forgotten
        samples.push_(here, left, one, every)
    assert samples.least(here, one, reach).tolist() == [1, 1]


def test_what_is_no_number_stays_in_its_row_and_nothing_waits_for_the_device(monkeypatch):
    def checked(*_):
        raise AssertionError("the plain solve waits for the device, to see whether it succeeded")

    monkeypatch.setattr(torch.linalg, "solve", checked)
    vectors = torch.eye(3).double().repeat(3, 1, 1)
    vectors[0, 1, 1], vectors[1, 0, 0] = torch.nan, torch.inf
    weights = shortest(vectors @ vectors.mT, torch.ones(3, 3, dtype=torch.bool))
    torch.testing.assert_close(weights[2], torch.full((3,), 1 / 3).double())
    assert weights[:2].isnan().all()
