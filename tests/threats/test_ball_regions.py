"""lp balls bound to inputs: points stay inside them in float64, and radii may differ by row."""

import pytest
import torch

import hauberk as hb
from hauberk.maths.rng import Draws
from hauberk.threats.ball_regions import ball_around


@pytest.mark.parametrize("p", [0, 1, 1.5, 2, float("inf")])
def test_a_ball_of_another_radius_for_each_input(p):
    x0 = torch.rand(6, 1, 3, 4, generator=torch.Generator().manual_seed(0))
    radius = torch.tensor([0.0, 1.0, 2.0, 3.0, 4.0, 5.0], dtype=torch.float64)
    edges = torch.zeros(()), torch.ones(())
    region = ball_around(x0, radius, p, edges)
    u = region.random(Draws.of(0, torch.arange(6)), 0) * 3 - 1
    u = region.finalise(region.project_(u))
    assert bool((region.distance(u) <= radius).all())
    assert region.contains(u).all()
    assert torch.equal(u[0], x0[0])
    assert not torch.equal(u[3], x0[3])
    half = region.scaled(torch.full((6,), 0.5, dtype=torch.float64))
    assert bool((half.distance(half.finalise(half.project_(u.clone()))) <= radius / 2).all())


def test_a_region_of_a_threat_is_the_same_ball():
    x0 = torch.full((2, 3), 0.5)
    region = hb.L2(0.25).at(x0)
    same = ball_around(x0, torch.full((2,), 0.25, dtype=torch.float64), 2, region.edges)
    u = torch.tensor([[1.0, 0.5, 0.5], [0.9, 0.9, 0.1]])
    assert torch.equal(region.project_(u.clone()), same.project_(u.clone()))
    assert region.project_(u.clone())[0].tolist() == pytest.approx([0.75, 0.5, 0.5], abs=1e-6)
