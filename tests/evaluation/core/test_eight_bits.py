"""Rounding to 8 bits goes towards the clean input, and never past it."""

import pytest
import torch

import hauberk as hb
from hauberk.evaluation.core.eight_bits import to_bytes
from hauberk.threats.box import Box

GRID = torch.arange(256.0) / 255


@pytest.mark.parametrize(
    "box", [Box(), Box(-1, 1), Box(torch.tensor([[0.0]]), torch.tensor([4.0]))]
)
def test_a_rounded_point_lies_between_the_clean_input_and_the_point(box):
    rng = torch.Generator().manual_seed(0)
    clean = box.spread(torch.randint(0, 256, (50, 30), generator=rng).float() / 255)
    lo, hi = box.bounds(clean)
    points = (clean + 0.1 * torch.randn(50, 30, generator=rng)).clamp(lo, hi)
    whole, rounded = to_bytes(points, clean, box)
    low, high = torch.minimum(points, clean), torch.maximum(points, clean)
    assert ((rounded >= low - 1e-6) & (rounded <= high + 1e-6)).all()
    assert torch.equal(whole, to_bytes(rounded, clean, box)[0])  # a level stays where it is
    step = (hi - lo) / 255
    assert ((rounded - points).abs() <= step * (1 + 1e-5)).all()


def test_levels_of_the_box_stay_as_they_are():
    clean = GRID.flip(0)[None]
    whole, rounded = to_bytes(GRID[None], clean, Box())
    assert whole[0].tolist() == list(range(256))
    assert torch.equal(rounded, GRID[None])
    same, kept = to_bytes(clean, clean, Box())
    assert same[0].tolist() == list(range(255, -1, -1))
    assert torch.equal(kept, clean)


def test_a_clean_input_between_levels_goes_to_its_nearest():
    clean = torch.tensor([[10.4, 10.4, 10.4]]) / 255
    points = torch.tensor([[10.6, 10.2, 12.9]]) / 255
    assert to_bytes(points, clean, Box())[0].tolist() == [[10, 10, 12]]


def test_a_box_without_ends_has_no_levels():
    with pytest.raises(hb.InputError, match="has no end"):
        to_bytes(GRID[None], GRID[None], Box(-torch.inf, torch.inf))
