"""Several threats side by side: each part does what its region alone does."""

from math import inf

import pytest
import torch
from helpers.climbing import climb
from hypothesis import given, settings
from hypothesis import strategies as st

from hauberk import InputError
from hauberk.attacks import APGD, PGD
from hauberk.maths.rng import Draws
from hauberk.threats import (
    L0,
    L1,
    L2,
    Affine,
    Box,
    Each,
    Linf,
    Lp,
    RotationTranslation,
    Shared,
    Swaps,
)

PARTS = (Linf(0.3), L2(2.0), L1(5.0), RotationTranslation(20, 2))
BOXES = [(0.0, 1.0), (-1.0, 2.0)]
DTYPES = pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
EACH_BOX = pytest.mark.parametrize("box", BOXES, ids=str)


def images(n=4, shape=(1, 6, 6), dtype=torch.float32, box=(0.0, 1.0), seed=0):
    x = torch.rand(n, *shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)
    return x * (box[1] - box[0]) + box[0]


def normal(shape, seed=1, dtype=torch.float32):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def draws(n, seed=0):
    return Draws.of(seed, torch.arange(n))


def bound(parts=PARTS, box=(0.0, 1.0), n=4, dtype=torch.float32):
    """The region of all and those of its parts, around the same images."""
    x = images(n, dtype=dtype, box=box)
    return Each(*parts).at(x, Box(*box)), [part.at(x, Box(*box)) for part in parts]


def pieces(u):
    """What PARTS make of their variables, from the flat ``u`` (S, 3 * 36 + 3)."""
    flat = u.split([36, 36, 36, 3], 1)
    return [part.reshape(-1, 1, 6, 6) for part in flat[:3]] + [flat[3].clone()]


@DTYPES
@EACH_BOX
def test_each_part_moves_as_it_does_alone(box, dtype):
    region, alone = bound(box=box, dtype=dtype)
    u = region.random(draws(4), 5)
    grad = normal(u.shape, dtype=dtype)
    share = torch.full((4,), 0.2, dtype=dtype)
    step = torch.tensor([0.1, 0.2, 0.3, 1.0], dtype=dtype)
    moved = region.ascent(u, grad, step, share)
    projected = region.project_(moved.clone())
    final = region.finalise(projected)
    decoded = region.decode(final)
    assert decoded.shape == (4, 4, 1, 6, 6)
    assert decoded.dtype == dtype
    for k, one in enumerate(alone):
        own = pieces(u)[k]
        assert torch.equal(own, one.random(draws(4).split(k), 5))
        own = one.ascent(own, pieces(grad)[k], step * one.eps, share)
        assert torch.equal(pieces(moved)[k], own)
        own = one.project_(own.clone())
        assert torch.equal(pieces(projected)[k], own)
        own = one.finalise(own)
        assert torch.equal(pieces(final)[k], own)
        assert torch.equal(decoded[:, k], one.decode(own))
        assert torch.equal(pieces(region.start())[k], one.start())


def test_a_step_given_as_a_number():
    region, alone = bound()
    u, grad = region.start(), normal((4, 111))
    moved = region.ascent(u, grad, 0.25)
    for k, one in enumerate(alone):
        expected = one.ascent(one.start(), pieces(grad)[k], 0.25 * one.eps)
        assert torch.equal(pieces(moved)[k], expected)
    assert torch.equal(u, region.start())


def test_steps_keep_their_unit_when_the_region_is_scaled():
    region, _ = bound()
    small = region.scaled(torch.tensor([0.5, 1.0, 0.1, 0.0]))
    assert small.radius.tolist() == pytest.approx([0.5, 1.0, 0.1, 0.0])
    u, grad = region.start(), normal((4, 111))
    assert torch.equal(small.ascent(u, grad, 0.1), region.ascent(u, grad, 0.1))
    far = small.finalise(small.project_(small.ascent(u, grad, 1.0)))
    relative = region.distance(small.decode(far), far)
    assert (relative <= small.radius + 1e-7).all()
    assert small.contains(small.decode(far), far).all()
    assert not small.contains(region.decode(region.ascent(u, grad, 0.2)), None)[2:].any()


@DTYPES
def test_gradients_reach_the_part_they_belong_to(dtype):
    region, alone = bound(dtype=dtype)
    u = region.project_(region.random(draws(4), 0)).requires_grad_()
    decoded = region.decode(u)
    weight = normal(decoded.shape, dtype=dtype)
    (grad,) = torch.autograd.grad((decoded * weight).sum(), u)
    for k, one in enumerate(alone):
        own = pieces(u.detach())[k].requires_grad_()
        (expected,) = torch.autograd.grad((one.decode(own) * weight[:, k]).sum(), own)
        torch.testing.assert_close(pieces(grad)[k], expected)


@DTYPES
@EACH_BOX
def test_final_points_are_inside_and_only_if_all_are(box, dtype):
    region, _ = bound(box=box, dtype=dtype)
    threat = Each(*PARTS)
    x = images(dtype=dtype, box=box)
    u = region.finalise(region.project_(region.random(draws(4), 0) + normal((4, 111), dtype=dtype)))
    decoded, witness = region.decode(u), region.witness(u)
    assert threat.contains(x, decoded, witness, box).all()
    assert (region.distance(decoded, witness) <= 1).all()
    for k in range(4):
        bad = decoded.clone()
        bad[:, k] = box[0] + box[1] - bad[:, k]
        assert not threat.contains(x, bad, witness, box).any()
        bad = decoded.clone()
        bad[:, k, 0, 0, 0] = box[1] + 1e-3
        assert not threat.contains(x, bad, witness, box).any()
    # A warp without the numbers that made it is not believed, nor is one of another shape.
    assert not threat.contains(x, decoded, None, box).any()
    assert not threat.contains(x, decoded, witness[:, 1:], box).any()
    assert threat.contains(x, x.unsqueeze(1).expand_as(decoded), None, box).all()
    balls = Each(*PARTS[:3])
    assert balls.contains(x, decoded[:, :3], None, box).all()
    assert not balls.contains(x, decoded[:, [1, 0, 2]], None, box).all()


def test_distance_is_the_largest_share_of_a_radius():
    x = torch.zeros(3, 4, dtype=torch.float64)
    points = torch.tensor([[[0.1, 0.0, 0, 0], [1.0, 0, 0, 0]]], dtype=torch.float64).repeat(3, 1, 1)
    points[1, 1] = 0
    points[2] = 0
    threat = Each(Linf(0.4), L2(2.0))
    assert threat.distance(x, points).tolist() == pytest.approx([0.5, 0.25, 0])
    zero = Each(Linf(0.0), L2(2.0))
    assert zero.distance(x, points).tolist() == [inf, inf, 0]
    assert zero.contains(x, points, None, (-1, 1)).tolist() == [False, False, True]


def test_rows_are_taken_and_joined():
    whole, _ = bound()
    u = whole.random(draws(4), 0)
    grad = normal((4, 111))
    joined = whole.take(torch.tensor([2])).join(whole.take(torch.tensor([0, 1, 3])))
    order = torch.tensor([2, 0, 1, 3])
    for do in (
        lambda r, rows: r.ascent(u[rows], grad[rows], r.eps * 0.1),
        lambda r, rows: r.project_(u[rows] * 3),
        lambda r, rows: r.decode(u[rows]),
        lambda r, rows: r.random(draws(4).take(rows), 3),
        lambda r, rows: r.contains(r.decode(u[rows]), u[rows]),
        lambda r, rows: r.distance(r.decode(u[rows]), u[rows]),
        lambda r, rows: r.scaled(torch.full((4,), 0.5)).project_(u[rows].clone()),
    ):
        torch.testing.assert_close(do(joined, order), do(whole, torch.arange(4))[order])
    assert joined.members == 4
    assert torch.equal(joined.start(), whole.start()[order])


def test_an_empty_batch():
    region, _ = bound(n=0)
    u = region.start()
    assert u.shape == (0, 111)
    for found in (region.project_(u), region.ascent(u, u, 0.1), region.finalise(u)):
        assert found.shape == (0, 111)
    assert region.decode(u).shape == (0, 4, 1, 6, 6)
    assert region.contains(region.decode(u), u).shape == (0,)
    assert region.random(draws(0), 0).shape == (0, 111)


def test_warm_starts_where_all_parts_know_one():
    region, alone = bound(PARTS[:3])
    points = images(seed=7).unsqueeze(1).repeat(1, 3, 1, 1, 1)
    u = region.encode(points)
    assert torch.equal(region.decode(u), points)
    near = region.decode(region.project_(u))
    for k, one in enumerate(alone):
        assert torch.equal(near[:, k], one.project_(points[:, k].clone()))
    assert bound()[0].encode(points[:, [0, 1, 2, 0]]) is None


def test_other_parts_and_flat_inputs():
    x = torch.rand(3, 10, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    threat = Each(L0(2), Lp(1.5, 0.5), Swaps(4))
    region = threat.at(x)
    u = region.finalise(region.project_(region.random(draws(3), 0)))
    for number in range(3):
        grad = normal(u.shape, seed=number, dtype=torch.float64)
        u = region.project_(region.ascent(u, grad, 0.3))
    u = region.finalise(u)
    assert threat.contains(x, region.decode(u), u).all()
    one = Each(Linf(0.1)).at(x)
    moved = one.project_(one.ascent(one.start(), normal((3, 10), dtype=torch.float64), 2.0))
    assert one.members == 1
    assert one.decode(moved).shape == (3, 1, 10)


def linear(slope):
    """A loss whose gradient in ``u`` is ``slope``."""
    return lambda u: ((u * slope).flatten(1).sum(1), slope)


def test_pgd_takes_each_part_where_it_goes_alone():
    region, alone = bound()
    slope = normal((4, 111))
    attack = PGD(steps=10, share=0.1)
    together, _ = climb(attack, region, linear(slope), draws(4))
    for k, one in enumerate(alone):
        own, _ = climb(attack, one, linear(pieces(slope)[k]), draws(4).split(k))
        torch.testing.assert_close(pieces(together)[k], own, atol=1e-6, rtol=0)


def test_apgd_climbs_in_all_parts():
    region, alone = bound(PARTS[:2])
    slope = normal((4, 72))
    _, found = climb(APGD(steps=30), region, linear(slope), draws(4))
    best = region.finalise(found.u)
    decoded = region.decode(best)
    assert region.contains(decoded, best).all()
    for k, one in enumerate(alone):
        way = slope.view(4, 2, 1, 6, 6)[:, k]
        gain = ((decoded[:, k] - one.x0) * way).flatten(1).sum(1)
        far = one.project_(one.x0 + way * 1e4)
        assert (gain > 0.9 * ((far - one.x0) * way).flatten(1).sum(1)).all()


def test_notation_and_flags():
    threat = Each(Linf(0.3), L2(2))
    assert str(threat) == "each(linf:0.3, l2:2)"
    assert repr(threat) == "Each(Linf(0.3), L2(2))"
    assert threat.kind == "each"
    assert threat == Each(Linf(0.3) | L2(2)) != Each(L2(2), Linf(0.3))
    assert threat.scaled(2) == Each(Linf(0.6), L2(4))
    assert threat.parts == (Linf(0.3), L2(2))
    assert Each(threat, L1(9)) == Each(Linf(0.3), L2(2), L1(9))
    assert not threat.grouped
    region = threat.at(images())
    assert region.members == 2
    assert not Each(L1(1)).at(images()).sparse
    assert Each(Linf(0.3)).at(images().half()).start().dtype == torch.float32


@pytest.mark.parametrize(
    ("threats", "message"),
    [
        ((), "at least one threat"),
        ((Linf(0.3), Linf(0.3)), r"linf:0\.3 is named twice"),
        ((Linf(0.3) | L2(1), L2(1)), "l2:1 is named twice"),
        ((Affine(Linf(0.3), L2(1)), L2(1)), "has variants"),
        ((Shared(Linf(0.1)),), "threat to groups"),
        ((Each(Linf(0.1)), Linf(0.1)), r"linf:0\.1 is named twice"),
    ],
)
def test_what_cannot_be_moved_side_by_side(threats, message):
    with pytest.raises(InputError, match=message):
        Each(*threats)


def test_what_has_no_meaning_for_several_points():
    with pytest.raises(InputError, match="project on one"):
        Each(Linf(0.1)).project(images(), images())
    with pytest.raises(InputError, match="warps images"):
        Each(*PARTS).at(torch.zeros(2, 5))


@settings(deadline=None, max_examples=30)
@given(data=st.data())
def test_what_is_final_is_inside(data):
    some = [L0(2), L1(0.7), Lp(3, 0.4), L2(0.5), Linf(0.1), RotationTranslation(9, 1)]
    parts = data.draw(st.lists(st.sampled_from(some), min_size=1, max_size=4, unique_by=str))
    dtype = data.draw(st.sampled_from([torch.float32, torch.float64]))
    low = data.draw(st.sampled_from([0.0, -1.0, 5.0]))
    seed = data.draw(st.integers(0, 1000))
    box = (low, low + 1)
    x = images(2, (1, 3, 4), dtype, box, seed)
    threat = Each(*parts)
    region = threat.at(x, Box(*box))
    u = region.random(draws(2, seed), 0)
    length = data.draw(st.sampled_from([0.0, 0.3, 10.0]))
    u = region.project_(region.ascent(u, normal(u.shape, seed, dtype), length))
    u = region.finalise(u)
    x_now = region.decode(u)
    assert threat.contains(x, x_now, u, box).all()
    assert (region.distance(x_now, u) <= 1).all()
