"""lp balls: projections, steps, membership."""

from math import inf

import pytest
import torch

from hauberk.maths.norms import norm
from hauberk.maths.rng import Draws
from hauberk.threats import L0, L1, L2, Box, Linf, Lp

BALLS = [Linf(0.3), Linf(8 / 255), L2(0.5), L1(2.0), L0(3), Lp(1.5, 0.7), Lp(3, 0.4)]
balls = pytest.mark.parametrize("ball", BALLS, ids=str)
DTYPES = [torch.float32, torch.float64, torch.bfloat16]
dtypes = pytest.mark.parametrize("dtype", DTYPES, ids=str)
SHAPES = [(1,), (12,), (1, 4, 4), (3, 5, 2)]


def inputs(shape=(3, 4, 4), n=20, box=(0.0, 1.0), dtype=torch.float32, seed=0):
    """Clean inputs, some of them at the box's edges, and points far and near."""
    rng = torch.Generator().manual_seed(seed)
    lo, hi = (torch.as_tensor(v, dtype=torch.float64) for v in box)
    x0 = torch.rand(n, *shape, generator=rng, dtype=torch.float64)
    x0[: n // 4] = x0[: n // 4].round()
    x0[n // 4] = 0
    x0[n // 4 + 1] = 1
    x0 = (x0 * (hi - lo) + lo).to(dtype)
    edge_lo, edge_hi = Box(*box).bounds(x0)
    x0 = x0.clamp(edge_lo, edge_hi)
    far = torch.randn(n, *shape, generator=rng, dtype=torch.float64)
    far = far * (hi - lo) * torch.logspace(-4, 1, n, dtype=torch.float64).view(n, *[1] * len(shape))
    return x0, (x0 + far.to(dtype)).to(dtype)


def assert_inside(ball, x0, x, box=(0.0, 1.0)):
    """In float64, by hand, without slack; the box as the inputs' dtype has it."""
    lo, hi = (torch.as_tensor(v, dtype=x.dtype).double() for v in box)
    assert (x.double() >= lo).all()
    assert (x.double() <= hi).all()
    distance = norm(x.double() - x0.double(), ball.p)
    assert (distance <= ball.eps).all(), (distance - ball.eps).max()
    assert ball.contains(x0, x, box=box).all()


PER_FEATURE = (torch.linspace(-2, 0, 4), torch.linspace(0.1, 3, 4))
BOXES = [(0.0, 1.0), (-2.0, 3.0), (0.0, 0.3), (0.25, 0.25), (0.0, 255.0), PER_FEATURE]


@balls
@dtypes
@pytest.mark.parametrize("box", BOXES, ids=lambda b: "per feature" if b is PER_FEATURE else str(b))
def test_project_is_strictly_inside(ball, dtype, box):
    x0, x = inputs(box=box, dtype=dtype)
    before = x.clone()
    near = ball.project(x0, x, box=box)
    assert near.dtype == dtype
    assert near.shape == x.shape
    assert torch.equal(x, before)
    assert_inside(ball, x0, near, box)
    # ... and so is what an attack would do with it, in float32 at least
    region = ball.at(x0, Box.of(box))
    u = region.finalise(region.project_(x.to(region.x0, copy=True)))
    assert_inside(ball, region.x0, u, box)


@balls
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_project_in_any_shape(ball, shape):
    x0, x = inputs(shape)
    near = ball.project(x0, x)
    assert near.shape == x.shape
    assert_inside(ball, x0, near)


@balls
@pytest.mark.parametrize("dtype", DTYPES[:2], ids=str)
def test_project_is_idempotent(ball, dtype):
    x0, x = inputs(dtype=dtype)
    once = ball.project(x0, x)
    twice = ball.project(x0, once)
    torch.testing.assert_close(twice, once, rtol=0, atol=1e-5)
    assert_inside(ball, x0, twice)


@balls
def test_project_leaves_what_is_inside(ball):
    x0, _ = inputs()
    region = ball.at(x0)
    u = region.random(Draws.of(0, torch.arange(len(x0))), 0)
    # within the ball by a hair's breadth, to stay clear of the rounding
    u = x0 + (u - x0) * 0.999 if ball.p else u
    torch.testing.assert_close(ball.project(x0, u), u, rtol=0, atol=1e-6)
    assert torch.equal(ball.project(x0, x0), x0)


@balls
def test_project_uses_the_whole_radius(ball):
    x0 = torch.full((4, 30), 0.5)
    x = x0 + torch.randn(4, 30, generator=torch.Generator().manual_seed(0))
    distance = ball.distance(x0, ball.project(x0, x))
    torch.testing.assert_close(
        distance, torch.full_like(distance, ball.eps), rtol=1e-5, atol=0, check_dtype=False
    )


@balls
def test_project_is_the_nearest_point(ball):
    """No random point of threat ∩ box is nearer."""
    x0, x = inputs((5,), n=12)
    near = ball.project(x0, x)
    mine = norm(near.double() - x.double(), 2)
    region = ball.at(x0)
    draws = Draws.of(0, torch.arange(len(x0)))
    for draw in range(200):
        other = region.random(draws, draw)
        # between the projection and a point of a convex set are points of it, too
        for t in (1.0, 0.1, 0.01):
            between = other if ball.p == 0 else torch.lerp(near, other, t)
            assert (norm(between.double() - x.double(), 2) >= mine - 1e-6).all()


@balls
@pytest.mark.parametrize("dtype", DTYPES[:2], ids=str)
@pytest.mark.parametrize("box", BOXES, ids=lambda b: "per feature" if b is PER_FEATURE else str(b))
def test_random_points_are_inside(ball, dtype, box):
    x0, _ = inputs(n=40, box=box, dtype=dtype)
    region = ball.at(x0, Box.of(box))
    draws = Draws.of(0, torch.arange(40))
    u = region.random(draws, 0)
    assert u.dtype == dtype
    assert_inside(ball, x0, region.finalise(u), box)
    assert torch.equal(u, region.random(draws, 0))
    if box is not BOXES[3]:
        assert not torch.equal(u, region.random(draws, 1))
        # spread out over the threat and not stuck at the clean input
        assert (region.distance(u) > 0.3 * min(ball.eps, 0.3)).double().mean() > 0.5
    some = region.take(torch.tensor([7, 2]))
    again = some.random(draws.take(torch.tensor([7, 2])), 0)
    # Powers may round otherwise where a vector register is not full.
    torch.testing.assert_close(again, u[[7, 2]], rtol=1e-5, atol=1e-6)


@balls
def test_zero_eps_gives_the_clean_input(ball):
    x0, x = inputs()
    none = ball.scaled(0)
    assert torch.equal(none.project(x0, x), x0)
    region = none.at(x0)
    draws = Draws.of(0, torch.arange(len(x0)))
    assert torch.equal(region.finalise(region.random(draws, 0)), x0)
    grad = x - x0
    for share in (None, torch.full((len(x0),), 0.1)):
        moved = region.ascent(x0.clone(), grad, region.eps * 2, share)
        assert torch.equal(region.finalise(region.project_(moved)), x0)
    assert none.contains(x0, x0).all()
    assert none.distance(x0, x0).eq(0).all()


@balls
def test_contains_and_distance(ball):
    x0 = torch.full((3, 8), 0.5, dtype=torch.float64)
    way = torch.zeros(8, dtype=torch.float64)
    way[2] = 1
    if ball.p == 0:
        x = x0.clone()
        x[1, :3] = 0.1
        x[2, :4] = 0.6
        assert ball.distance(x0, x).tolist() == [0, 3, 4]
        assert ball.contains(x0, x).tolist() == [True, True, False]
        return
    box = (-10, 10)
    x0 = torch.zeros(3, 8, dtype=torch.float64)
    eps = torch.tensor(ball.eps, dtype=torch.float64)
    sizes = torch.stack([eps, eps * (1 + 1e-9), eps * (1 - 1e-9)])
    x = x0 + sizes.unsqueeze(1) * way
    torch.testing.assert_close(ball.distance(x0, x), sizes)
    assert ball.contains(x0, x, box=box).tolist() == [True, False, True]
    assert not ball.contains(x0, x, box=(-10, ball.eps / 2)).any()
    # distance knows no box, and works in float64 for whatever it is given
    found = ball.distance(x0.bfloat16(), (x0 + 20).bfloat16())
    assert found.dtype == torch.float64
    torch.testing.assert_close(found, norm(x0 + 20, ball.p))


@balls
def test_nan_is_nowhere(ball):
    x0, x = inputs(n=4)
    x[1, 0] = torch.nan
    assert not ball.contains(x0, x)[1]
    near = ball.at(x0).finalise(x)
    assert ball.contains(x0, near)[[0, 2, 3]].all()


@balls
@pytest.mark.parametrize("dtype", DTYPES[:2], ids=str)
def test_an_ulp_out_of_the_box_is_outside(ball, dtype):
    x0 = torch.tensor([[0.0, 0.5], [1.0, 0.5]], dtype=dtype)
    out = x0.clone()
    out[0, 0] = -torch.finfo(dtype).tiny
    out[1, 0] = x0[1, 0].nextafter(torch.tensor(2.0, dtype=dtype))
    assert ball.contains(x0, x0).all()
    assert not ball.contains(x0, out).any()


@balls
def test_region_scaled_has_a_radius_for_each_example(ball):
    x0, x = inputs(n=4)
    factor = torch.tensor([0.0, 0.5, 1.0, 2.0], dtype=torch.float64)
    region = ball.at(x0).scaled(factor)
    u = region.finalise(region.project_(x + 3 * (x - x0).sign()))
    expected = ball.eps * factor
    expected = expected.floor() if ball.p == 0 else expected
    torch.testing.assert_close(region.radius, expected.double())
    assert (region.distance(u) <= region.radius).all()
    assert region.contains(u).all()
    for i in range(4):
        alone = ball.scaled(float(factor[i])).at(x0[i : i + 1])
        torch.testing.assert_close(
            alone.project_((x + 3 * (x - x0).sign())[i : i + 1]), u[i : i + 1], rtol=0, atol=1e-6
        )


@balls
def test_nobody(ball):
    none = torch.empty(0, 3, 4)
    region = ball.at(none)
    assert ball.project(none, none).shape == none.shape
    assert ball.contains(none, none).shape == (0,)
    assert ball.distance(none, none).shape == (0,)
    draws = Draws.of(0, torch.empty(0, dtype=torch.int64))
    assert region.random(draws, 0).shape == none.shape
    assert region.ascent(none, none, region.eps, region.eps).shape == none.shape
    assert region.finalise(none).shape == none.shape
    assert region.project_(none.clone()).shape == none.shape


@balls
@pytest.mark.parametrize("dtype", DTYPES[:2], ids=str)
def test_finalise_makes_feasible_what_rounding_made_not(ball, dtype):
    x0, x = inputs(n=20, dtype=dtype)
    region = ball.at(x0)
    u = region.project_(x.clone())
    slightly = x0 + (u - x0) * (1 + 3e-6)
    final = region.finalise(slightly)
    assert_inside(ball, x0, final)
    # by a hair's breadth and no more
    if ball.p:
        torch.testing.assert_close(final, u, rtol=0, atol=2e-5)
    inside = region.finalise(x0 + (u - x0) * 0.5)
    assert torch.equal(inside, (x0 + (u - x0) * 0.5).clamp(0, 1))


@balls
@pytest.mark.parametrize("dtype", DTYPES[:2], ids=str)
def test_far_from_zero_where_eps_is_small(ball, dtype):
    """The rounding of x0 +- eps is larger than eps's own."""
    box = (0, 1e7)
    x0 = torch.rand(20, 9, generator=torch.Generator().manual_seed(0), dtype=dtype) * 1e6
    x = x0 + torch.randn(20, 9, generator=torch.Generator().manual_seed(1), dtype=dtype) * 10
    assert_inside(ball, x0, ball.project(x0, x, box=box), box)
    if dtype == torch.float64:
        full = ball.distance(x0, ball.project(x0, x, box=box))
        assert (full > 0.999 * min(ball.eps, 9)).all()


@balls
def test_mixed_dtypes_come_back_in_the_wider_one(ball):
    for a in DTYPES:
        for b in DTYPES:
            x0, _ = inputs(dtype=a)
            _, x = inputs(dtype=b)
            near = ball.project(x0, x)
            assert near.dtype == torch.promote_types(a, b)
            assert_inside(ball, x0, near)


@balls
def test_an_ascent_climbs_fastest_of_all_steps_of_its_length(ball):
    x0 = torch.full((6, 10), 0.5)
    grad = torch.randn(6, 10, generator=torch.Generator().manual_seed(0))
    region = ball.at(x0)
    step = torch.full((6,), 0.01)
    delta = region.ascent(x0, grad, step) - x0
    p = ball.p or 2
    torch.testing.assert_close(norm(delta, p), step, rtol=1e-3, atol=0)
    other = torch.randn(500, 6, 10, generator=torch.Generator().manual_seed(1))
    length = norm(other.flatten(0, 1), p).view(500, 6, 1)
    best = ((other / length * 0.01) * grad).sum(2).amax(0)
    assert ((delta * grad).sum(1) >= best - 1e-6).all()


@pytest.mark.parametrize("ball", [L1(2.0), L0(3)], ids=str)
def test_sparse_ascent_moves_a_share_and_not_what_the_box_stops(ball):
    x0 = torch.full((2, 10), 0.5)
    x0[:, :5] = 1.0
    grad = torch.arange(10, 0, -1.0).expand(2, 10).clone()
    moved = ball.at(x0).ascent(x0, grad, 0.1, torch.tensor([0.2, 0.5])) - x0
    assert (moved[:, :5] == 0).all()
    assert (moved != 0).sum(1).tolist() == [2, 5]
    if ball.p == 1:
        moved = ball.at(x0).ascent(x0, grad, 0.1) - x0
        assert (moved != 0).sum(1).tolist() == [1, 1]


@balls
def test_a_box_without_ends(ball):
    x0, x = inputs()
    box = (-inf, inf)
    assert_inside(ball, x0, ball.project(x0, x * 1e3, box=box), box)
    if ball.p:
        region = ball.at(x0, Box(*box))
        u = region.random(Draws.of(0, torch.arange(len(x0))), 0)
        assert_inside(ball, x0, region.finalise(u), box)


def test_linf_is_exact_at_the_ends():
    x0, x = inputs(n=200)
    near = Linf(8 / 255).project(x0, x0 + 10 * (x - x0).sign())
    distance = (near.double() - x0.double()).abs()
    at_end = (near > 0) & (near < 1) & (x != x0)
    assert (distance[at_end] > 8 / 255 - 1e-7).all()
