"""Distances on the whole box."""

from math import inf, nan

import pytest
import torch

from hauberk import InputError
from hauberk.maths.norms import norm
from hauberk.maths.rng import Draws
from hauberk.threats import Box
from hauberk.threats.distances import LpDistanceRegion
from hauberk.threats.metric import Metric
from hauberk.threats.notation import metric

PS = [0, 1, 1.5, 2, inf]


def inputs(n=4, shape=(2, 3), dtype=torch.float64):
    return torch.rand(n, *shape, generator=torch.Generator().manual_seed(3), dtype=dtype)


def gauge(p, x=None, box=(-1.0, 2.0)):
    region = Metric(p).at(inputs() if x is None else x, Box(*box))
    assert isinstance(region, LpDistanceRegion)
    return region


@pytest.mark.parametrize("p", PS)
def test_notation_reads_back(p):
    assert metric(str(Metric(p))) == Metric(p)
    assert hash(metric(str(Metric(p)))) == hash(Metric(p))


@pytest.mark.parametrize("text", ["l0.5", "l2:1", "", "inf", "l-1", "rt"])
def test_what_is_no_metric_is_refused(text):
    with pytest.raises(InputError):
        metric(text)


@pytest.mark.parametrize("p", [0.5, -1, nan])
def test_what_is_no_norm_is_refused(p):
    with pytest.raises(InputError, match="no norm"):
        Metric(p)


@pytest.mark.parametrize("p", PS)
def test_the_whole_box_belongs(p):
    x = inputs()
    region = gauge(p)
    corner = torch.full_like(x, 2.0)
    assert region.contains(corner).all()
    assert not region.contains(corner + 1e-9).any()
    assert torch.equal(region.project_(corner + 7), corner)
    assert torch.equal(region.finalise(corner + 7), corner)
    torch.testing.assert_close(region.distance(corner), norm(corner - x, p))
    assert region.contains(region.random(Draws.of(0, torch.arange(4)), 0)).all()


@pytest.mark.parametrize("p", PS)
def test_distances_do_not_know_the_dtype(p):
    x = inputs(dtype=torch.float32)
    region = gauge(p, x)
    moved = x + 0.25
    assert region.distance(moved).dtype == torch.float64
    assert torch.equal(region.distance(moved), norm(moved.double() - x.double(), p))
    assert region.measure(moved).dtype == torch.float32
    half = Metric(p).at(x.half(), Box())
    assert half.x0.dtype == torch.float32


@pytest.mark.parametrize("p", PS)
def test_pull_is_the_projection_on_the_ball_and_the_box(p):
    region, u = gauge(p), inputs() + 0.9
    radius = torch.tensor([0.0, 0.5, 2.0, inf], dtype=torch.float64)
    near = region.project_within_(u.clone(), radius)
    assert (region.measure(near) <= radius * (1 + 1e-12)).all()
    assert torch.equal(near[0], region.x0[0])
    torch.testing.assert_close(near[3], u[3])
    inside = region.project_within_(near.clone(), radius)
    torch.testing.assert_close(inside, near)


@pytest.mark.parametrize("p", PS)
def test_onto_lands_on_the_plane(p):
    region, u = gauge(p), inputs() + 0.2
    normal = inputs(dtype=torch.float64) - 0.5
    gap = torch.tensor([0.3, -0.3, 0.1, 0.0], dtype=torch.float64)
    v = region.project_to_hyperplane(u, normal, gap)
    torch.testing.assert_close(((v - u) * normal).flatten(1).sum(1), gap)
    assert region.contains(v).all()


@pytest.mark.parametrize("p", PS)
def test_dual_bounds_the_rise_and_is_reached(p):
    region = gauge(p)
    grad = inputs() - 0.5
    rate = region.dual(grad)
    # To first order, a step onto the plane of rise r costs r / dual, where the box leaves room.
    rise = torch.full((4,), 1e-3, dtype=torch.float64)
    step = region.project_to_hyperplane(region.x0.clone(), grad, rise)
    if p:
        torch.testing.assert_close(region.measure(step) * rate, rise)
    else:
        assert (region.measure(step) == 1).all()
        assert (
            region.measure(region.project_to_hyperplane(region.x0, grad, rate * (1 - 1e-9))) == 1
        ).all()
        assert (
            region.measure(region.project_to_hyperplane(region.x0, grad, rate * (1 + 1e-9))) == 2
        ).all()


@pytest.mark.parametrize("p", PS[1:])
@pytest.mark.parametrize("size", [1e-25, 1e25])
def test_dual_of_tiny_and_huge_gradients(p, size):
    region, grad = gauge(p, inputs(dtype=torch.float32)), inputs(dtype=torch.float32) - 0.5
    torch.testing.assert_close(region.dual(grad * size) / size, region.dual(grad))
    assert (region.dual(grad * 0) == 0).all()


@pytest.mark.parametrize("p", [0, 1, 2, inf])
def test_prox_shrinks_towards_the_clean_input(p):
    region, u = gauge(p), inputs() + 0.4
    weight = torch.tensor([0.0, 0.01, 0.1, 1e6], dtype=torch.float64)
    v = region.prox_(u.clone(), weight)
    assert (region.measure(v) <= region.measure(u) + 1e-12).all()
    torch.testing.assert_close(v[0], u[0])
    torch.testing.assert_close(v[3], region.x0[3], rtol=0, atol=1e-9)


@pytest.mark.parametrize("p", PS)
def test_toward_takes_a_share_of_the_distance(p):
    region, u = gauge(p), inputs() + torch.linspace(0.1, 0.6, 6, dtype=torch.float64).view(2, 3)
    share = torch.tensor([0.0, 0.5, 1.0, 1 / 3], dtype=torch.float64)
    v = region.interpolate(u, share)
    torch.testing.assert_close(region.measure(v), share * region.measure(u))
    if p == 0:
        # The three largest changes are kept.
        assert torch.equal((v[1] != region.x0[1]).flatten(), torch.arange(6) >= 3)


@pytest.mark.parametrize("p", PS)
def test_sized_gives_balls_of_each_radius(p):
    region = gauge(p)
    radius = torch.tensor([0.0, 1.0, 2.0, 3.0], dtype=torch.float64)
    ball = region.with_radius(radius)
    assert torch.equal(ball.radius, radius)
    near = region.random_within(Draws.of(0, torch.arange(4)), 0, radius)
    assert (ball.distance(near) <= radius * (1 + 1e-9)).all()
    assert region.contains(near).all()
    assert torch.equal(region.scaled(radius).radius, region.radius)
    assert Metric(p).scaled(3.0) == Metric(p)


@pytest.mark.parametrize("p", PS)
def test_steps_have_the_length_asked_for(p):
    region, u = gauge(p), inputs()
    grad = inputs() - 0.5
    step = torch.full((4,), 1e-3, dtype=torch.float64)
    moved = region.ascent(u.clone(), grad, step) - u
    length = norm(moved, {0: 2}.get(p, p))
    torch.testing.assert_close(length, step)
    assert ((moved * grad).flatten(1).sum(1) > 0).all()


def test_rows_and_empty_batches():
    region = gauge(2)
    part = region.take(torch.tensor([2, 0]))
    assert torch.equal(part.x0, region.x0[[2, 0]])
    both = part.join(region)
    assert len(both.x0) == 6
    none = gauge(1, inputs()[:0])
    assert (
        none.project_to_hyperplane(
            none.start(), none.start(), torch.zeros(0, dtype=torch.float64)
        ).shape[0]
        == 0
    )
