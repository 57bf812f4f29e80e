"""Proximal operators of the lp norms."""

from math import inf

import numpy as np
import pytest
import torch
from scipy.optimize import minimize

from hauberk.maths.norms import norm
from hauberk.maths.prox import clip, prox


def points(n=6, d=5, seed=1, dtype=torch.float64):
    rng = torch.Generator().manual_seed(seed)
    a = torch.randn(n, d, generator=rng, dtype=dtype)
    return a, torch.rand(n, generator=rng, dtype=dtype) * 1.5


def value(d, a, p, weight):
    return weight * norm(d, p) + (d - a).square().sum(1) / 2


@pytest.mark.parametrize("p", [0, 1, 2, inf])
def test_no_other_point_is_better(p):
    a, weight = points()
    found = prox(a, p, weight, -inf, inf)
    least = value(found, a, p, weight)
    rng = torch.Generator().manual_seed(2)
    for size in (1e-3, 1e-2, 0.1, 1.0):
        for _ in range(200):
            other = found + size * torch.randn(a.shape, generator=rng, dtype=a.dtype)
            other = other * (torch.rand(a.shape, generator=rng, dtype=a.dtype) < 0.6)
            assert (value(other, a, p, weight) >= least - 1e-12).all()


@pytest.mark.parametrize("p", [0, 1])
def test_separable_ones_are_exact_within_the_box(p):
    a, weight = points(4, 3)
    lo, hi = -torch.full_like(a, 0.3), torch.full_like(a, 0.7)
    found = prox(a, p, weight, lo, hi)
    grid = torch.linspace(-0.3, 0.7, 2001, dtype=a.dtype)
    grid = torch.cat((grid, grid.new_zeros(1)))
    cost = weight[:, None, None] * (grid.abs() if p else (grid != 0).to(grid))
    best = (cost + (grid - a[..., None]).square() / 2).amin(2).sum(1)
    mine = value(found, a, p, weight)
    assert ((found >= lo) & (found <= hi)).all()
    torch.testing.assert_close(mine, best, rtol=0, atol=1e-6)


@pytest.mark.parametrize("p", [1, 2, inf])
def test_against_a_general_minimiser(p):
    a, weight = points(3, 4)
    found = value(prox(a, p, weight, -inf, inf), a, p, weight)
    for i in range(len(a)):
        centre, w = a[i].numpy(), float(weight[i])

        def cost(v, centre=centre, w=w):
            return w * np.linalg.norm(v, p) + ((v - centre) ** 2).sum() / 2

        options = {"xatol": 1e-10, "fatol": 1e-12, "maxiter": 20000, "maxfev": 20000}
        done = minimize(cost, centre * 0.5, method="Nelder-Mead", options=options)
        # At the kinks of p = 1 and inf the simplex method may stick above the minimum.
        assert float(found[i]) <= done.fun + 1e-9
        if p == 2:
            assert float(found[i]) == pytest.approx(done.fun, abs=1e-6)


def test_closed_forms():
    a, weight = torch.tensor([[3.0, 4.0]]), torch.tensor([1.0])
    torch.testing.assert_close(prox(a, 2, weight, -inf, inf), a * 0.8)
    torch.testing.assert_close(prox(a, 1, weight, -inf, inf), torch.tensor([[2.0, 3.0]]))
    torch.testing.assert_close(prox(a, inf, weight, -inf, inf), torch.tensor([[3.0, 3.0]]))
    kept = prox(a, 0, torch.tensor([5.0]), -inf, inf)
    torch.testing.assert_close(kept, torch.tensor([[0.0, 4.0]]))


@pytest.mark.parametrize("p", [0, 1, 2, inf])
def test_ends_of_the_weight_and_ordinary_shapes(p):
    a, weight = points(dtype=torch.float32)
    torch.testing.assert_close(prox(a, p, weight * 0, -0.5, 0.5), a.clamp(-0.5, 0.5))
    assert (prox(a, p, weight + 1e6, -inf, inf) == 0).all()
    assert (prox(a * 0, p, weight, -1.0, 1.0) == 0).all()
    assert prox(a[:0], p, weight[:0], -1.0, 1.0).shape == (0, 5)
    image = a[:, :4].reshape(6, 1, 2, 2)
    each = prox(image, p, weight, -torch.ones(1, 2, 2), torch.ones(1, 2, 2))
    torch.testing.assert_close(each.flatten(1), prox(a[:, :4], p, weight, -1.0, 1.0))
    assert each.dtype == torch.float32
    # Weights may be wider than the points.
    torch.testing.assert_close(prox(a, p, weight.double(), -1.0, 1.0), prox(a, p, weight, -1, 1))


def test_clip_takes_numbers_and_tensors():
    a = torch.tensor([[-2.0, 0.5, 2.0]])
    torch.testing.assert_close(clip(a, -1, 1), torch.tensor([[-1.0, 0.5, 1.0]]))
    high = torch.tensor([[0.0, 0.1, 9.0]])
    torch.testing.assert_close(clip(a, -1, high), torch.tensor([[-1.0, 0.1, 2.0]]))
