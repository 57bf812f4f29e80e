"""A union of threats searched as one."""

import pytest
import torch

from hauberk import InputError
from hauberk.maths.rng import Draws
from hauberk.threats import L1, L2, Box, Linf, Union, Whole

UNION = Union(Linf(0.1), L2(0.5), L1(1.5))


def data(n=8):
    x = torch.rand(n, 20, generator=torch.Generator().manual_seed(2))
    x[: n // 3] = x[: n // 3].round()  # at the edges
    return x


def region(x0, union=UNION, box=(0.0, 1.0)):
    return Whole(union).at(x0, Box.of(box))


def test_the_projection_is_the_nearest_of_the_parts():
    x0 = data(30)
    u = x0 + 0.3 * torch.randn(30, 20, generator=torch.Generator().manual_seed(1))
    around = region(x0)
    near = around.project_(u.clone())
    gaps = [(part.project(x0, u) - u).norm(dim=1) for part in UNION.parts]
    assert torch.stack(gaps).argmin(0).unique().numel() > 1
    torch.testing.assert_close((near - u).norm(dim=1), torch.stack(gaps).amin(0), rtol=0, atol=1e-5)
    final = around.finalise(near)
    assert around.contains(final).all()
    assert torch.equal(around.finalise(final), final)
    torch.testing.assert_close(around.project_(final.clone()), final, rtol=0, atol=1e-6)


def test_the_distance_is_relative_to_the_nearest_ball():
    x0 = torch.full((4, 20), 0.5)
    x = x0.clone()
    x[0] += 0.05
    x[1, 0] += 0.25
    x[2] += 0.2
    far = region(x0, Union(Linf(0.1), L2(0.5))).distance(x)
    expected = torch.tensor([0.2236 / 0.5, 0.5, 0.2 * 20**0.5 / 0.5, 0.0]).double()
    torch.testing.assert_close(far, expected, rtol=1e-3, atol=0)
    around = region(x0)
    inside = around.contains(x)
    assert torch.equal(inside, UNION.contains(x0, x))
    assert torch.equal(inside, around.distance(x) <= 1)


def test_random_points_come_from_every_part():
    x0 = torch.full((300, 20), 0.5)
    around = region(x0, Union(Linf(0.05), L1(0.5)))
    points = around.random(Draws.of(0, torch.arange(300)), 0)
    assert around.contains(around.finalise(points)).all()
    dense = ((points - x0).abs() <= 0.05).all(1)
    assert 90 < int(dense.sum()) < 210


def test_rows_are_taken_and_joined_and_scaled_with_their_parts():
    x0 = data(6)
    around = region(x0)
    index = torch.tensor([4, 1])
    taken = around.take(index)
    u = torch.rand(2, 20)
    torch.testing.assert_close(taken.project_(u.clone()), region(x0[index]).project_(u.clone()))
    joined = taken.join(region(x0))
    assert len(joined.x0) == len(joined.regions[2].x0) == len(joined.sizes) == 8
    factor = torch.tensor([0.5] * 6).double()
    small = around.scaled(factor)
    expected = region(x0, UNION.scaled(0.5)).project_(x0 + 0.3)
    torch.testing.assert_close(small.project_(x0 + 0.3), expected)
    assert (small.distance(small.finalise(expected)) <= small.radius).all()


def test_a_union_has_no_step_of_its_own():
    x0 = data(2)
    with pytest.raises(InputError, match="MSD"):
        region(x0).ascent(x0, x0, 0.1)
    whole = Whole(UNION)
    assert str(whole) == str(UNION)
    assert whole.parts == UNION.parts
    assert whole.scaled(0.5).parts == UNION.scaled(0.5).parts
    assert repr(whole) == f"Whole({UNION!r})"
