"""The valid input range, in any dtype."""

import pytest
import torch

from hauberk import InputError
from hauberk.threats.box import Box, narrowed, round_up

dtypes = pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16], ids=str)


def test_box():
    assert str(Box.of((0, 1))) == "[0, 1]"
    assert str(Box(torch.zeros(3), 1.0)) == "[tensor(3,), 1]"
    box = Box(-1.0, 2.0)
    assert Box.of(box) is box
    for lo, hi in ((1, 0), (torch.nan, 1), (0, torch.nan), (torch.tensor([0, 2]), 1)):
        with pytest.raises(InputError, match="is empty"):
            Box(lo, hi)


@dtypes
def test_a_box_is_never_wider_in_another_dtype(dtype):
    for lo, hi in ((0.1, 0.3), (-0.7, 1 / 3), (-1e-50, 1e-50)):
        low, high = Box(lo, hi).bounds(torch.empty(1, dtype=dtype))
        assert low.dtype == high.dtype == dtype
        assert float(low) >= lo
        assert float(high) <= hi


@dtypes
def test_rounded_up_and_towards_the_clean_input(dtype):
    for value in (0.1, 1 / 3, -0.7, 0.5):
        up = round_up(value, torch.empty((), dtype=dtype))
        assert up.dtype == dtype
        assert float(up) >= value
        assert float(up) - value <= torch.finfo(dtype).eps
    x0, x = torch.tensor([0.5, 0.5]).double(), torch.tensor([0.1, 0.7]).double()
    near = narrowed(x, x0, dtype).double()
    assert ((near - x0).abs() <= (x - x0).abs()).all()
