"""Shared perturbations stay strictly inside, whatever rounding does."""

from math import inf

import pytest
import torch
from helpers.data import draws
from helpers.groups import DTYPES, EACH_BALL, EACH_BOX, groups, normal
from hypothesis import given, settings
from hypothesis import strategies as st

from hauberk.threats import L1, L2, Ball, Box, Linf, Shared


@EACH_BALL
@EACH_BOX
@DTYPES
@pytest.mark.parametrize("clip", [False, True])
def test_final_points_are_inside(ball, box, dtype, clip):
    x = groups(s=40, m=4, shape=(1, 5, 5), box=box, dtype=dtype)
    shared = Shared(ball, clip)
    region = shared.at(x, Box(*box))
    for u in (
        region.project_(normal(40, 1, 5, 5, dtype=dtype) * 3),
        normal(40, 1, 5, 5, dtype=dtype),
        region.random(draws(40), 0),
        region.random_coarse(draws(40), 0),
        region.start(),
    ):
        u = region.finalise(u)
        decoded, witness = region.decode(u), region.witness(u)
        assert shared.contains(x, decoded, witness, box).all()
        assert shared.contains(x, decoded, None, box).all()
        assert (region.distance(decoded) <= ball.eps).all()
        assert decoded.dtype == dtype
        assert torch.equal(region.finalise(u), u)
    far = region.finalise(region.project_(normal(40, 1, 5, 5, dtype=dtype) * 9))
    if box == (-1.0, 3.0) and ball.p != 0:  # strictness costs next to nothing
        norm = torch.linalg.vector_norm(far.double().flatten(1), ord=ball.p, dim=1)
        free = Shared(ball, clip).at(x, Box(-inf, inf)).project_(far.clone() * 4)
        size = torch.linalg.vector_norm(free.double().flatten(1), ord=ball.p, dim=1)
        assert (norm <= size * (1 + 1e-6)).all()
        assert (size > ball.eps * 0.99999).all()


def test_final_where_a_sum_rounds_out_of_the_ball():
    # In steps of 2^-24, as numbers from 0.5 to 1 are rounded, the nearest to 0.3 lies above it.
    x = torch.linspace(0.5, 0.69, 400).view(1, 4, 100)
    region = Shared(Linf(0.3)).at(x)
    u = region.project_(torch.ones(1, 100))
    assert not region.contains(region.decode(u)).all()
    final = region.finalise(u)
    assert region.contains(region.decode(final)).all()
    assert (final > 0.3 * (1 - 1e-5)).all()


def test_final_gives_up_where_all_that_is_left_is_rounding():
    # Between 2^23 and 2^24 there are no numbers but integers: 0.66 to 0.99 all round up to 1.
    x = torch.full((2, 2, 3), 2.0**23)
    box = (0.0, 2.0**24)
    region = Shared(Linf(0.99)).at(x, Box(*box))
    final = region.finalise(region.project_(torch.ones(2, 3)))
    assert torch.equal(final, torch.zeros(2, 3))
    assert region.contains(region.decode(final)).all()


@DTYPES
@pytest.mark.parametrize("eps", [0.0, 1e-12, 1e-7, 3e-7])
def test_final_of_a_radius_below_the_rounding(eps, dtype):
    x = groups(s=20, m=3, box=(100.0, 101.0), dtype=dtype)
    for ball in (Linf(eps), L2(eps), L1(eps)):
        shared = Shared(ball)
        region = shared.at(x, Box(100.0, 101.0))
        u = region.finalise(region.project_(normal(20, 6, dtype=dtype)))
        assert shared.contains(x, region.decode(u), u, (100.0, 101.0)).all()


@settings(deadline=None, max_examples=60)
@given(data=st.data())
def test_final_projections_stay_inside_and_near(data):
    seed = data.draw(st.integers(0, 10**6))
    s, m, d = (data.draw(st.integers(1, top)) for top in (3, 5, 7))
    low = data.draw(st.sampled_from([0.0, -1.0, -255.0, 0.25, 1000.0]))
    box = (low, low + data.draw(st.sampled_from([1.0, 1e-3, 255.0])))
    p = data.draw(st.sampled_from([0, 1, 1.5, 2, 3, inf]))
    eps = data.draw(st.sampled_from([0, 1, 2] if p == 0 else [0.0, 1e-4, 0.1, 1.0, 50.0]))
    dtype = data.draw(st.sampled_from([torch.float32, torch.float64]))
    clip = data.draw(st.booleans())
    x = groups(s, m, (d,), box, seed=seed).to(dtype)
    x = x.clamp(*Box(*box).bounds(x))
    shared = Shared(Ball(p, eps), clip)
    region = shared.at(x, Box(*box))
    a = normal(s, d, seed=seed, dtype=dtype) * data.draw(st.sampled_from([1e-3, 1.0, 1e3]))
    near = region.project_(a.clone())
    assert ((near >= region.lo) & (near <= region.hi)).all()
    assert (near.double().sign() * a.double().sign() >= 0).all()
    assert (near.abs() <= a.abs()).all()
    again = region.project_(near.clone())
    torch.testing.assert_close(again, near, rtol=1e-5, atol=0)
    final = region.finalise(near)
    decoded = region.decode(final)
    assert shared.contains(x, decoded, final, box).all()
    assert shared.contains(x, decoded, None, box).all()
    order = torch.randperm(m, generator=torch.Generator().manual_seed(seed))
    other = shared.at(x[:, order], Box(*box))
    assert torch.equal(other.project_(a.clone()), near)
