"""Nearest points of a hyperplane in a box."""

from math import inf

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import linprog, minimize

from hauberk.maths.hyperplane import to_hyperplane
from hauberk.maths.norms import norm

PS = [0, 1, 1.2, 1.5, 2, 3, 7, inf]


def problem(seed, n=6, d=7, share=0.6, dtype=torch.float64):
    """Normals, goals at a share of what the box allows, and a box that touches 0 at times."""
    rng = torch.Generator().manual_seed(seed)
    w = torch.randn(n, d, generator=rng, dtype=dtype)
    w[:, 0] = 0
    lo = -torch.rand(n, d, generator=rng, dtype=dtype)
    hi = torch.rand(n, d, generator=rng, dtype=dtype)
    lo[:, 1] = 0
    hi[:, 2] = 0
    most = torch.where(w > 0, w * hi, w * lo).sum(1)
    return w, most * share, lo, hi


def linear_program(w, c, p, lo, hi):
    """The least l1 or linf norm by linprog, d = a - b split in two."""
    d = len(w)
    if p == 1:
        done = linprog(
            np.ones(2 * d), A_eq=[np.r_[w, -w]], b_eq=[c],
            bounds=[(0, h) for h in hi] + [(0, -v) for v in lo],
        )  # fmt: skip
        return done.fun
    eye, one = np.eye(d), np.ones((d, 1))
    done = linprog(
        np.r_[np.zeros(d), 1], A_ub=np.block([[eye, -one], [-eye, -one]]), b_ub=np.zeros(2 * d),
        A_eq=[np.r_[w, 0]], b_eq=[c], bounds=[*zip(lo, hi, strict=True), (0, None)],
    )  # fmt: skip
    return done.fun


@pytest.mark.parametrize("share", [0.1, 0.6, 0.95])
@pytest.mark.parametrize("p", [1, inf])
def test_against_linear_programs(p, share):
    w, c, lo, hi = problem(1, share=share)
    found = norm(to_hyperplane(w, c, p, lo, hi), p)
    rows = zip(w.numpy(), c.numpy(), lo.numpy(), hi.numpy(), strict=True)
    best = [linear_program(a, b, p, low, high) for a, b, low, high in rows]
    torch.testing.assert_close(found, torch.tensor(best, dtype=torch.float64), rtol=1e-9, atol=0)


@pytest.mark.parametrize("share", [0.2, 0.8])
@pytest.mark.parametrize("p", [1.5, 2, 3])
def test_against_a_general_minimiser(p, share):
    w, c, lo, hi = problem(2, n=3, share=share)
    found = to_hyperplane(w, c, p, lo, hi)
    for i in range(len(w)):
        done = minimize(
            lambda v: (np.abs(v) ** p).sum(), np.zeros(w.shape[1]) + 1e-3, method="SLSQP",
            bounds=list(zip(lo[i].numpy(), hi[i].numpy(), strict=True)),
            constraints={"type": "eq", "fun": lambda v, i=i: v @ w[i].numpy() - float(c[i])},
            options={"maxiter": 500, "ftol": 1e-14},
        )  # fmt: skip
        mine = float((found[i].abs() ** p).sum())
        assert mine == pytest.approx(done.fun, rel=1e-4)
        assert mine <= done.fun * (1 + 1e-9) + 1e-12


def test_fewest_coordinates_by_trying_all():
    w, c, lo, hi = problem(3, n=8, d=6)
    found = norm(to_hyperplane(w, c, 0, lo, hi), 0)
    gains = torch.where(w > 0, w * hi, w * lo)
    fewest = torch.full((8,), inf, dtype=w.dtype)
    for subset in torch.cartesian_prod(*[torch.tensor([0.0, 1.0])] * 6).to(w):
        enough = (gains * subset).sum(1) >= c
        fewest = torch.where(enough, fewest.clamp(max=float(subset.sum())), fewest)
    assert torch.equal(found, fewest)


@pytest.mark.parametrize("p", PS)
@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 999), share=st.floats(0.01, 0.99), back=st.booleans())
def test_lies_on_the_plane_and_in_the_box(p, seed, share, back):
    w, c, lo, hi = problem(seed, share=share)
    sign = -1 if back else 1  # the same problem, seen in a mirror
    d = to_hyperplane(w, sign * c, p, *((lo, hi) if sign > 0 else (-hi, -lo)))
    torch.testing.assert_close((d * w).sum(1), sign * c, rtol=1e-9, atol=1e-12)
    d = sign * d
    assert ((d >= lo) & (d <= hi)).all()
    assert (d[:, 0] == 0).all()
    assert torch.equal(d, to_hyperplane(w, c, p, lo, hi))


@pytest.mark.parametrize("p", PS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_without_a_box_it_is_the_dual_norm(p, dtype):
    w, c, _, _ = problem(4, dtype=dtype)
    c = c * torch.tensor([1, -1, 1, -1, 1, 0], dtype=dtype)
    d = to_hyperplane(w, c, p, -inf, inf)
    assert torch.isfinite(d).all()
    torch.testing.assert_close((d * w).sum(1), c)
    if p == 0:
        assert torch.equal(norm(d, 0), (c != 0).to(dtype))
        return
    dual = {1: inf, inf: 1}.get(p, p / (p - 1) if p > 1 else 1)
    torch.testing.assert_close(norm(d, p), c.abs() / norm(w, dual))


@pytest.mark.parametrize("p", PS)
def test_half_bounded_boxes(p):
    w, c, lo, hi = problem(5)
    d = to_hyperplane(w, c, p, lo, inf)
    torch.testing.assert_close((d * w).sum(1), c, rtol=1e-9, atol=1e-12)
    assert (d >= lo).all()
    if p:
        assert (norm(d, p) <= norm(to_hyperplane(w, c, p, lo, hi), p) * (1 + 1e-9)).all()


@pytest.mark.parametrize("p", PS)
def test_out_of_reach_goes_to_the_nearest_corner(p):
    w, c, lo, hi = problem(6, share=2.0)
    corner = torch.where(w > 0, hi, lo).masked_fill(w == 0, 0)
    torch.testing.assert_close(to_hyperplane(w, c, p, lo, hi), corner)


@pytest.mark.parametrize("p", PS)
def test_nothing_to_do(p):
    w, c, lo, hi = problem(7)
    assert (to_hyperplane(w, c * 0, p, lo, hi) == 0).all()
    assert (to_hyperplane(w * 0, c, p, lo, hi) == 0).all()
    assert to_hyperplane(w[:0], c[:0], p, lo[:0], hi[:0]).shape == (0, 7)
    assert to_hyperplane(w.view(6, 7, 1), c, p, -1.0, 1.0).shape == (6, 7, 1)


@pytest.mark.parametrize("p", PS)
@pytest.mark.parametrize("factor", [1e-12, 1e12])
def test_the_scale_of_the_normal_does_not_matter(p, factor):
    w, c, lo, hi = problem(8, dtype=torch.float32)
    near = to_hyperplane(w, c, p, lo, hi)
    torch.testing.assert_close(to_hyperplane(w * factor, c * factor, p, lo, hi), near)


@pytest.mark.parametrize("p", [-1, 0.5])
def test_no_norm_is_refused(p):
    with pytest.raises(ValueError, match="p >= 1"):
        to_hyperplane(torch.ones(1, 2), torch.ones(1), p, -1.0, 1.0)
