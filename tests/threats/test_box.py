"""The valid input range, in any dtype."""

from decimal import Decimal
from fractions import Fraction

import numpy as np
import pytest
import torch

from hauberk import InputError, threat
from hauberk.threats.box import Box, narrowed, round_up

dtypes = pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16], ids=str)


def test_box():
    assert str(Box.of((0, 1))) == "[0, 1]"
    assert str(Box(torch.tensor([-1.0, 0.0, 0.5]), torch.ones(3))) == "[-1..0.5, 1]"
    box = Box(-1.0, 2.0)
    assert Box.of(box) is box
    for lo, hi in ((1, 0), (torch.nan, 1), (0, torch.nan), (torch.tensor([0, 2]), 1)):
        with pytest.raises(InputError, match="is empty"):
            Box(lo, hi)


@dtypes
def test_bounds_are_compared_in_the_dtype_of_the_inputs(dtype):
    for lo, hi in ((0.1, 0.3), (-0.7, 1 / 3), (-1e-50, 1e-50)):
        low, high = Box(lo, hi).bounds(torch.empty(1, dtype=dtype))
        assert low.dtype == high.dtype == dtype
        if dtype != torch.bfloat16:
            assert low == torch.tensor(lo, dtype=dtype)
            assert high == torch.tensor(hi, dtype=dtype)
        else:  # a coarse number beyond the bound would be far beyond it
            assert lo <= float(low)
            assert float(high) <= hi


@pytest.mark.parametrize(
    ("given", "lo", "hi"),
    [
        (("1/3", "1,2,3"), 1 / 3, [1, 2, 3]),
        ((Fraction(1, 4), Decimal("0.5")), 0.25, 0.5),
        (([-1, -2.5], np.array([0, 1])), [-1, -2.5], [0, 1]),
        ((torch.tensor([0.0, -1.0]), 2), [0, -1], 2),
        (torch.tensor([-1.0, 1.0]), -1, 1),
    ],
)
def test_bounds_are_numbers_lists_arrays_and_text(given, lo, hi):
    box = Box.of(given)
    found = [torch.as_tensor(v, dtype=torch.float64).tolist() for v in (box.lo, box.hi)]
    assert found == [lo, hi]


def test_a_file_holds_a_bound_for_every_feature(tmp_path):
    np.save(tmp_path / "lo.npy", np.array([0.1, -2.0], np.float32))
    box = Box.of((str(tmp_path / "lo.npy"), 3))
    assert box.bounds(torch.zeros(4, 2))[0].tolist() == pytest.approx([0.1, -2.0])
    with pytest.raises(InputError, match=r"bound absent.npy cannot be read"):
        Box.of(("absent.npy", 1))


@pytest.mark.parametrize("given", [3, (1,), (0, 1, 2), ("a", 1), (None, 1), ("1,x", 2), (0, "1/0")])
def test_what_is_no_box_is_refused(given):
    with pytest.raises(InputError, match="box"):
        Box.of(given)


def test_one_value_a_channel_goes_over_channels_not_over_the_width():
    box = Box(torch.tensor([0.0, -1.0, -2.0]), torch.tensor([1.0, 2.0, 3.0]))
    for shape in ((2, 3, 3, 3), (2, 3, 4, 5), (2, 3, 7)):
        lo, hi = box.bounds(torch.zeros(shape))
        for edge, want in ((lo, [0, -1, -2]), (hi, [1, 2, 3])):
            rows = edge.expand(shape).transpose(0, 1).flatten(1)
            assert rows.amin(1).tolist() == rows.amax(1).tolist() == want
    assert box.bounds(torch.zeros(5, 3))[0].tolist() == [0, -1, -2]
    assert box.bounds(torch.zeros(2, 6, 3, 4, 4))[0].shape == (3, 1, 1)  # groups of six images
    whole = Box(torch.zeros(1, 2, 1, 1), torch.ones(2, 3, 4))
    assert whole.bounds(torch.zeros(5, 2, 3, 4))[0].shape == (2, 1, 1)
    each = Box(torch.zeros(5, 2, 1, 1), torch.ones(5, 2, 3, 4))
    assert each.bounds(torch.zeros(5, 2, 3, 4))[1].shape == (5, 2, 3, 4)
    for shape in ((2, 1, 4, 4), (2, 4), (2, 2, 4, 4)):
        with pytest.raises(InputError, match=r"bounds of shape \(3,\) for inputs of shape"):
            box.bounds(torch.zeros(shape))
    with pytest.raises(InputError, match="bounds of shapes"):
        Box(torch.zeros(2), torch.ones(3))


def test_groups_share_a_perturbation_in_a_box_of_channels():
    """As many images in a group as channels: the box is still one of channels."""
    box = Box(torch.tensor([0.0, -1.0, -2.0]), torch.tensor([0.5, 1.0, 2.0]))
    x0 = torch.zeros(1, 3, 3, 2, 2)
    region = threat("shared(linf:9)").at(x0, box)
    high = region.decode(region.project_(torch.full((1, 3, 2, 2), 5.0)))
    assert high[0].amax((0, 2, 3)).tolist() == [0.5, 1.0, 2.0]
    assert high[0].amin((0, 2, 3)).tolist() == [0.5, 1.0, 2.0]


NORMALISATIONS = {
    "imagenet": ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
    "cifar10": ((0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)),
    "cifar10-short": ((0.4914, 0.4822, 0.4465), (0.2023, 0.1994, 0.2010)),
    "cifar100": ((0.5071, 0.4867, 0.4408), (0.2675, 0.2565, 0.2761)),
    "mnist": ((0.1307,), (0.3081,)),
    "tinyimagenet": ((0.4802, 0.4481, 0.3975), (0.2770, 0.2691, 0.2821)),
    "svhn": ((0.4377, 0.4438, 0.4728), (0.1980, 0.2010, 0.1970)),
    "clip": ((0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)),
    "inception": ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5)),
    "near one": ((0.95, 0.9, 0.05), (0.05, 0.1, 0.01)),
}


@pytest.mark.parametrize("name", NORMALISATIONS)
@pytest.mark.parametrize("late", [torch.float32, torch.float64], ids=str)
def test_rounding_alone_puts_no_normalised_image_outside(name, late):
    """Bounds are exact numbers; the images were normalised in float32."""
    mean, std = (torch.tensor(v, dtype=torch.float64) for v in NORMALISATIONS[name])
    levels = (torch.arange(256).float() / 255).expand(1, len(mean), 1, 256)
    x = ((levels - mean.float().view(-1, 1, 1)) / std.float().view(-1, 1, 1)).to(late)
    lo, hi = (0 - mean) / std, (1 - mean) / std
    for box in (Box(lo, hi), Box(float(lo.min()), float(hi.max()))):
        near = box.near(x)
        low, high = box.bounds(x)
        assert ((near >= low) & (near <= high)).all()
        assert float((near - x).abs().max()) < 1e-5
        beyond = box.near(x * 1.001)
        assert not ((beyond >= low) & (beyond <= high)).all()


def test_inputs_inside_stay_the_same_object_and_those_far_outside_as_they_are():
    x = torch.tensor([[0.0, 0.5, 1.0]])
    assert Box().near(x) is x
    far = torch.tensor([[0.0, 1.0000005, 1.0001]])
    assert Box().near(far)[0].tolist() == [0.0, 1.0, far[0, 2].item()]
    assert Box(-torch.inf, torch.inf).near(x) is x


@pytest.mark.parametrize("box", [Box(0, 255), Box(-1, 1), Box(torch.tensor([0.0, -2.0]), 3.0)])
def test_bytes_are_spread_over_the_box(box):
    levels = torch.arange(256, dtype=torch.float64)
    unit = (levels / 255).view(-1, 1).expand(-1, 2)
    found = box.spread(unit)
    for k in range(2):
        lo, hi = (float(torch.as_tensor(v).expand(2)[k]) for v in (box.lo, box.hi))
        want = [lo + n * (hi - lo) / 255 for n in range(256)]
        assert found[:, k].tolist() == pytest.approx(want, abs=1e-12)
    assert bool((Box(0, 255).spread(unit.float()) == levels[:, None]).all())
    with pytest.raises(InputError, match="has no end"):
        Box(0, torch.inf).spread(unit)


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
