"""Distances that solvers move in: the same methods on lp balls, metrics and measured threats."""

from math import inf

import pytest
import torch

from hauberk.maths.norms import norm
from hauberk.maths.rng import Draws
from hauberk.threats import L0, L1, L2, Linf, Lp, Measured, Metric
from hauberk.threats.distances import DistanceRegion, MeasuredDistanceRegion

X = torch.rand(4, 6, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
U = torch.rand(4, 6, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
DRAWS = Draws.of(0, torch.arange(4))
RADIUS = torch.tensor([0.1, 0.3, 1.0, 2.0], dtype=torch.float64)


def squares(x0, x):
    return (2 * (x - x0)).square().sum(1).clamp_min(1e-30).sqrt()


EVERY = [Linf(0.2), L2(0.5), L1(1.0), Lp(1.5, 0.7), Metric(2), Metric(inf), Metric(1),
         Measured(squares, 0.5)]  # fmt: skip
each = pytest.mark.parametrize("threat", EVERY, ids=repr)


@each
def test_measure_is_the_distance_and_slope_its_gradient(threat):
    region = DistanceRegion.require(threat.at(X), "test")
    distance, slope = region.slope(U)
    assert torch.allclose(distance, region.distance(U))
    assert torch.allclose(region.measure(U), distance)
    h = 1e-6
    moved = U + h * slope
    gain = (region.measure(moved) - distance) / h
    assert torch.allclose(gain, slope.square().sum(1), rtol=1e-3)


@each
def test_points_within_other_radii(threat):
    region = threat.at(X)
    ball = region.with_radius(RADIUS)
    assert torch.equal(ball.radius, RADIUS)
    for points in (
        region.project_within_(U.clone(), RADIUS),
        region.random_within(DRAWS, 0, RADIUS),
        ball.project_(U.clone()),
    ):
        assert (region.distance(points) <= RADIUS * (1 + 1e-9)).all()
        assert region.in_box(points).all()


@each
def test_interpolated_points_lie_on_the_segment(threat):
    region = threat.at(X) if isinstance(threat, Metric) else threat.scaled(100).at(X)
    share = torch.tensor([0.0, 0.25, 0.5, 1.0], dtype=torch.float64)
    points = region.interpolate(U, share)
    assert torch.allclose(points, X + share.unsqueeze(1) * (U - X))


def test_in_l0_the_largest_changes_are_kept():
    x, u = torch.zeros(1, 4), torch.tensor([[0.1, 0.4, 0.0, 0.3]])
    points = L0(4).at(x).interpolate(u, torch.tensor([2 / 3]))
    assert points.tolist() == [[0, pytest.approx(0.4), 0, pytest.approx(0.3)]]


def test_radii_that_a_distance_can_have():
    radius = torch.tensor([0.5, 1.0, 2.7], dtype=torch.float64)
    assert Metric(0).at(X).attainable(radius).tolist() == [0, 1, 2]
    assert Metric(2).at(X).attainable(radius) is radius


@pytest.mark.parametrize("p", [1, 1.5, 2, 3])
def test_excess_is_the_distance_beyond(p):
    region = Lp(p, 0.3).at(X)
    excess, slope = region.excess(U, 0.5)
    assert torch.allclose(excess, region.distance(U) - 0.15)
    assert torch.equal(slope, region.slope(U)[1].flatten(1))


@pytest.mark.parametrize("share", [1.0, 0.5])
def test_excess_in_linf_is_the_length_of_all_excesses(share):
    region = Linf(0.3).at(X)
    u = U.clone().requires_grad_(True)
    beyond = ((u - X).abs() - 0.3 * share).clamp_min(0).norm(dim=1)
    excess, slope = region.excess(U, share)
    assert torch.allclose(excess, beyond.detach())
    beyond.sum().backward()
    assert torch.allclose(slope, u.grad)


def test_lengths():
    for threat, p in ((Linf(1), inf), (L1(1), 1), (Metric(3), 3), (L0(2), 0)):
        assert torch.equal(threat.at(X).length(U), norm(U, p))


def test_measured_distances_from_other_places():
    region = MeasuredDistanceRegion.require(Measured(squares, 0.5).at(X), "LPA")
    assert torch.allclose(region.around(U).distance(U), torch.zeros(4).double(), atol=1e-9)
    direction = torch.zeros_like(X)
    direction[:, 0] = 1
    assert torch.allclose(region.rate(U, direction), torch.full((4,), 2.0).double(), rtol=1e-3)
    assert torch.allclose(region.smoothed().distance(U), region.distance(U))
    assert float(region.diameter) == pytest.approx(6**0.5)
