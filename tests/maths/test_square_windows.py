"""Windows lie in the image and have the right side; patterns are what they are said to be."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from hauberk.maths.rng import Draws
from hauberk.maths.square_windows import (
    image_shape,
    inside,
    repaint,
    stripes,
    tiles,
    two_bumps,
    window,
)

sizes = st.integers(1, 12)
SHAPES = [(7,), (4, 5), (1, 6, 6), (3, 5, 8), (3, 1, 9), (2, 9, 1), (1, 1, 1), (2, 3, 4, 5)]


def draws_for(n, seed=0):
    ids = torch.arange(n)
    return Draws.of(seed, ids, 0, torch.zeros_like(ids))


def mask_of(draws, draw, side, height, width):
    return inside(*window(draws, draw, side, height, width), side)


@pytest.mark.parametrize(
    ("shape", "image"),
    [((7,), (1, 1, 7)), ((4, 5), (1, 4, 5)), ((3, 4, 5), (3, 4, 5)), ((2, 3, 4, 5), (2, 3, 20))],
)
def test_any_input_is_seen_as_an_image(shape, image):
    assert image_shape(torch.Size(shape)) == image


@settings(max_examples=60, deadline=None)
@given(sizes, sizes, st.lists(st.integers(1, 15), min_size=1, max_size=5), st.integers(0, 99))
def test_windows_are_squares_inside_the_image(height, width, sides, seed):
    """Cut to the image where they are larger; so many rows, so many columns, all adjoining."""
    side = torch.tensor(sides)
    mask = mask_of(draws_for(len(sides), seed), seed, side, height, width)
    assert mask.shape == (len(sides), 1, height, width)
    for m, s in zip(mask[:, 0], sides, strict=True):
        down, across = m.any(1).nonzero().flatten(), m.any(0).nonzero().flatten()
        assert len(down) == min(s, height)
        assert len(across) == min(s, width)
        assert down[-1] - down[0] == len(down) - 1
        assert across[-1] - across[0] == len(across) - 1
        assert m.sum() == len(down) * len(across)


def test_windows_reach_every_place_and_none_more_than_others():
    """A window of 2 in a row of 5 has four places."""
    n = 4000
    side = torch.full((n,), 2)
    rows, columns = window(draws_for(n), 0, side, 1, 5)
    assert (rows == 0).all()
    first = -columns[:, 0, 0, 0]
    counts = torch.bincount(first, minlength=4)
    assert len(counts) == 4
    assert (counts / n - 0.25).abs().max() < 0.035  # five standard errors


def test_windows_hang_on_the_example_and_the_draw_alone():
    side = torch.tensor([3, 2, 4, 1])
    whole = mask_of(draws_for(4), 5, side, 9, 9)
    ids = torch.tensor([2, 0])
    some = mask_of(Draws.of(0, ids, 0, torch.zeros_like(ids)), 5, side[ids], 9, 9)
    assert torch.equal(some, whole[ids])
    each = mask_of(draws_for(4), torch.tensor([5, 6, 5, 6]), side, 9, 9)
    assert torch.equal(each[0::2], whole[0::2])


def test_no_windows_for_nobody():
    none = draws_for(0)
    side = torch.zeros(0, dtype=torch.long)
    mask = mask_of(none, 0, side, 4, 6)
    assert mask.shape == (0, 1, 4, 6)
    for shape in SHAPES:
        assert tiles(none, 0, torch.Size(shape), torch.float32).shape == (0, *shape)
        assert stripes(none, 0, torch.Size(shape), torch.float32).shape == (0, *shape)


def bumps(side, turned, height=None, width=None):
    height, width = height or side, width or side
    i = torch.arange(height).view(1, 1, -1, 1)
    j = torch.arange(width).view(1, 1, 1, -1)
    return two_bumps(i, j, torch.tensor([side]), torch.tensor([turned]))[0, 0]


@pytest.mark.parametrize("side", range(1, 12))
def test_two_bumps_fill_the_window_with_two_signs(side):
    one = bumps(side, turned=False)
    assert (one != 0).all()
    assert one.isfinite().all()
    half = max(1, side // 2)
    assert (one[:half] > 0).all()
    assert (one[half:] < 0).all()
    assert torch.equal(bumps(side, turned=True), one.T)


@pytest.mark.parametrize("side", [4, 8, 12])
def test_two_bumps_of_an_even_side_are_each_others_negative(side):
    one = bumps(side, turned=False)
    torch.testing.assert_close(one[: side // 2], -one[side // 2 :])


@pytest.mark.parametrize("side", [6, 9, 11])
def test_each_bump_falls_off_from_its_centre(side):
    one = bumps(side, turned=False).abs()
    half = side // 2
    for part in (one[:half], one[half:]):
        row, column = len(part) // 2, side // 2
        assert part[row, column] == part.max()
        for line in (part[row, column:], part[row, : column + 1].flip(0), part[row:, column]):
            assert (line.diff() <= 0).all()
        assert part[row, column] > part[row, 0]


def test_two_bumps_are_nothing_outside_of_the_window():
    draws, side = draws_for(20), torch.full((20,), 4)
    rows, columns = window(draws, 0, side, 9, 11)
    turned = torch.arange(20) % 2 == 0
    found = two_bumps(rows, columns, side, turned)
    assert torch.equal(found != 0, inside(rows, columns, side))
    for k in range(20):
        seen = found[k, 0][found[k, 0] != 0].view(4, 4)
        assert torch.equal(seen, bumps(4, bool(turned[k])))


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_tiles_cover_the_image(shape, dtype):
    found = tiles(draws_for(30), 0, torch.Size(shape), dtype)
    assert found.shape == (30, *shape)
    assert found.dtype == dtype
    assert (found != 0).all()
    assert found.isfinite().all()
    assert torch.equal(tiles(draws_for(30), 0, torch.Size(shape), dtype), found)
    if found[0].numel() > 1:
        assert len(found.flatten(1).unique(dim=0)) > 1  # examples differ


def test_each_tile_is_a_pair_of_bumps():
    found = tiles(draws_for(10), 0, torch.Size((2, 10, 10)), torch.float64)
    for tile in found.unfold(2, 2, 2).unfold(3, 2, 2).reshape(-1, 2, 2):
        likes = [sign * bumps(2, turned).double() for sign in (1, -1) for turned in (False, True)]
        assert any(torch.allclose(tile, like) for like in likes)
    # Channels are turned alike, and have signs of their own.
    assert torch.allclose(found[:, 0].abs(), found[:, 1].abs())
    assert (found[:, 0] != found[:, 1]).any()


@pytest.mark.parametrize("shape", SHAPES)
def test_stripes_are_columns_of_one_sign(shape):
    n = 30
    found = stripes(draws_for(n), 0, torch.Size(shape), torch.float64)
    assert found.shape == (n, *shape)
    assert (found.abs() == 1).all()
    channels, height, width = image_shape(torch.Size(shape))
    image = found.reshape(n, channels, height, width)
    assert (image == image[:, :, :1]).all()
    assert len(image[:, :, 0].flatten().unique()) == 2


@settings(max_examples=60, deadline=None)
@given(
    st.integers(1, 3), st.integers(3, 8), st.integers(3, 8), st.integers(1, 5),
    st.sampled_from([1.0, 1.5, 2.0]), st.floats(0, 1), st.integers(0, 99),
)  # fmt: skip
def test_repainting_spends_the_budget_and_no_more(channels, height, width, s, p, spent, seed):
    """The second window is emptied into the first, and the length is the radius again."""
    n = 3
    draws, side = draws_for(n, seed), torch.full((n,), min(s, height, width))
    delta = draws.normal(0, (channels, height, width), torch.float64)
    radius = torch.tensor([0.5, 1.0, 2.0], dtype=torch.float64)
    length = delta.abs().pow(p).sum((1, 2, 3)).pow(1 / p)
    delta = delta * (spent * radius / length).view(-1, 1, 1, 1)
    rows, columns = window(draws.split(1), 0, side, height, width)
    here = inside(rows, columns, side)
    there = mask_of(draws.split(2), 0, side, height, width)
    both = here | there
    pattern = two_bumps(rows, columns, side, torch.tensor([True, False, True])).double()
    found = repaint(delta, pattern, here, both, radius, p)
    assert found.isfinite().all()
    free = ~both.expand_as(found)
    assert torch.equal(found[free], delta[free])
    assert (found[(there & ~here).expand_as(found)] == 0).all()
    now = found.abs().pow(p).sum((1, 2, 3)).pow(1 / p)
    assert (now <= radius * (1 + 1e-9)).all()
    # Old and new ways may cancel in a window of one pixel: what it held is then left unspent.
    spent_all = (found * here).abs().sum((2, 3)).gt(0).all(1)
    torch.testing.assert_close(now[spent_all], radius[spent_all], rtol=1e-9, atol=1e-12)
    assert s == 1 or spent_all.all()


def test_repainting_keeps_within_a_radius_already_overspent():
    """Rounding may leave a little more than the radius: nothing is spare then, and no NaN."""
    delta = torch.full((1, 1, 4, 4), 0.25)
    here = torch.zeros(1, 1, 4, 4, dtype=torch.bool)
    here[..., :2, :2] = True
    found = repaint(delta, here.float(), here, here, torch.tensor([0.9]), 2.0)
    torch.testing.assert_close(found.norm(), delta.norm())


def test_repainting_nothing_in_a_ball_of_size_zero():
    delta = torch.zeros(2, 1, 4, 4)
    here = torch.ones(2, 1, 4, 4, dtype=torch.bool)
    found = repaint(delta, torch.ones(2, 1, 4, 4), here, here, torch.zeros(2), 2.0)
    assert torch.equal(found, delta)
