"""Crops and rotations against independent references, and the ranges of random ones."""

import math

import pytest
import torch
from torch.nn.functional import interpolate

from hauberk import InputError
from hauberk.maths.rng import Draws
from hauberk.transforms import (
    Brightness,
    Compose,
    CropResize,
    FlipH,
    FlipV,
    Gamma,
    RandomCropResize,
    RandomRotate,
    Rotate,
    Sometimes,
    wang2021,
)


def images(*shape, dtype=torch.float64, seed=0):
    return torch.rand(*shape, dtype=dtype, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("side", [2, 5, 8, 28])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_quarter_turns_are_those_of_torch(side, dtype):
    x = images(2, 3, side, side, dtype=dtype)
    for turns in (-3, -1, 1, 2, 5):
        expected = torch.rot90(x, -turns, (2, 3))  # torch counts counterclockwise
        assert torch.allclose(Rotate(90 * turns)(x), expected, rtol=0, atol=1e-5)


def test_a_turn_of_a_wide_image_keeps_its_pixels_square():
    x = torch.zeros(1, 1, 5, 9)
    x[0, 0, 2, 5] = 1  # one to the right of the middle: clockwise leads below it
    expected = torch.zeros_like(x)
    expected[0, 0, 3, 4] = 1
    assert torch.allclose(Rotate(90)(x), expected, atol=1e-6)


@pytest.mark.parametrize("angle", [30, -10, 200, 0.01])
@pytest.mark.parametrize(("height", "width"), [(8, 8), (7, 12), (13, 6)])
def test_rotation_is_that_of_kornia(angle, height, width):
    from kornia.geometry.transform import rotate

    x = images(2, 3, height, width)
    middle = torch.tensor([[(width - 1) / 2, (height - 1) / 2]]).double().expand(2, 2)
    turned = rotate(
        x, torch.full((2,), -float(angle)).double(), center=middle, padding_mode="zeros",
        mode="bilinear", align_corners=True,
    )  # fmt: skip
    assert torch.allclose(Rotate(angle)(x), turned, atol=1e-10)


def test_rotation_brings_zero_from_outside():
    turned = Rotate(45)(torch.ones(1, 1, 9, 9))
    assert turned[0, 0, 0, 0] == 0
    assert turned[0, 0, 4, 4] == 1


def test_nothing_to_do_is_the_identity():
    x = images(2, 3, 5, 7)
    assert torch.equal(CropResize(1)(x), x)
    assert torch.equal(Rotate(0)(x), x)
    assert torch.allclose(Rotate(360)(x), x, atol=1e-10)


@pytest.mark.parametrize(("side", "keep"), [(8, 4), (16, 8), (12, 6), (20, 16)])
def test_crop_of_whole_pixels_is_that_of_interpolate(side, keep):
    x = images(2, 3, side, 2 * side)
    at = (side - keep) // 2
    cut = x[:, :, at : at + keep, 2 * at : 2 * at + 2 * keep]
    expected = interpolate(cut, (side, 2 * side), mode="bilinear", align_corners=False)
    found = CropResize(keep / side)(x)
    # At the border interpolate repeats the crop's last pixel, where ours reads the one beyond.
    within = (..., slice(1, -1), slice(1, -1))
    assert torch.allclose(found[within], expected[within], atol=1e-12)


def test_crop_enlarges_about_the_middle():
    ramp = torch.arange(10, dtype=torch.float64).expand(1, 1, 10, 10)
    middle = 4.5
    assert torch.allclose(CropResize(0.8)(ramp), middle + 0.8 * (ramp - middle))
    assert torch.allclose(CropResize(0.37)(ramp), middle + 0.37 * (ramp - middle))


@pytest.mark.parametrize("transform", [FlipH(), FlipV(), CropResize(), Rotate()], ids=str)
@pytest.mark.parametrize("shape", [(4, 7), (3, 8, 8), (2, 3, 4, 8, 8)])
def test_transforms_of_images_refuse_other_shapes(transform, shape):
    with pytest.raises(InputError, match=r"takes images \(B, C, H, W\)"):
        transform(torch.zeros(shape))


@pytest.mark.parametrize("transform", [CropResize(0.5), Rotate(30)], ids=str)
@pytest.mark.parametrize("shape", [(2, 3, 1, 1), (2, 3, 1, 8), (2, 3, 8, 1)])
def test_one_pixel_is_refused(transform, shape):
    with pytest.raises(InputError, match="at least 2 x 2 pixels"):
        transform(torch.zeros(shape))


@pytest.mark.parametrize(
    "make",
    [
        lambda: Brightness(math.nan), lambda: Brightness(math.inf), lambda: Brightness("1"),
        lambda: Brightness(0.1, clip=1),
        lambda: Gamma(0), lambda: Gamma(-1), lambda: Gamma(math.inf),
        lambda: CropResize(0), lambda: CropResize(1.1), lambda: CropResize(-0.5),
        lambda: CropResize(math.nan), lambda: Rotate(math.nan), lambda: Rotate(None),
        lambda: Compose(), lambda: Compose(FlipH()), lambda: Compose(FlipH(), 3),
        lambda: Compose(FlipH(), FlipV), lambda: wang2021("both"),
    ],
)  # fmt: skip
def test_bad_settings_are_refused_at_once(make):
    with pytest.raises(InputError, match=r"give|choose"):
        make()


def squares(n, side=8, dtype=torch.float64):
    return torch.rand(n, 3, side, side + 2, dtype=dtype, generator=torch.Generator().manual_seed(1))


def streams(ids, seed=5):
    return Draws.of(seed, torch.as_tensor(ids))


def test_crop_sizes_lie_in_their_range_and_fill_it():
    n = 500
    ramp = torch.arange(10, dtype=torch.float64).expand(n, 1, 10, 10)
    cut = RandomCropResize(0.6, 0.9)(ramp, streams(range(n)))
    size = cut[:, 0, 0, 9] - 4.5  # the edge pixel reads at its distance from the middle, scaled
    size = size / 4.5
    assert bool(((size >= 0.6 - 1e-9) & (size <= 0.9 + 1e-9)).all())
    assert size.min() < 0.61
    assert size.max() > 0.89
    assert abs(size.mean() - 0.75) < 5 * 0.3 / math.sqrt(12 * n)


def test_angles_lie_in_their_range_and_fill_it():
    n = 500
    across = (torch.arange(21, dtype=torch.float64) - 10).expand(n, 1, 21, 21)
    turned = RandomRotate(10)(across, streams(range(n)))
    # Where the ramp of columns is read one pixel below the middle: the sine of the angle.
    angle = torch.rad2deg(torch.asin(turned[:, 0, 11, 10]))
    assert bool((angle.abs() <= 10 + 1e-9).all())
    assert angle.min() < -9.5
    assert angle.max() > 9.5
    assert abs(angle.mean()) < 5 * 20 / math.sqrt(12 * n)


def test_a_range_of_one_number_is_the_fixed_transform():
    x = squares(3)
    draws = streams(range(3))
    assert torch.allclose(RandomCropResize(0.7, 0.7)(x, draws), CropResize(0.7)(x), atol=1e-12)
    assert torch.allclose(RandomCropResize(1, 1)(x, draws), x, atol=1e-12)
    assert torch.allclose(RandomRotate(30, 30)(x, draws), Rotate(30)(x), atol=1e-12)
    assert RandomRotate(10) == RandomRotate(-10) == RandomRotate(-10, 10)


@pytest.mark.parametrize(
    "make",
    [
        lambda: Sometimes(FlipH(), 1.1), lambda: Sometimes(FlipH(), -0.1),
        lambda: Sometimes(FlipH(), math.nan), lambda: Sometimes(3, 0.5),
        lambda: Sometimes(FlipH, 0.5), lambda: RandomCropResize(0.9, 0.6),
        lambda: RandomCropResize(0, 1), lambda: RandomCropResize(0.5, 1.5),
        lambda: RandomRotate(20, 10), lambda: RandomRotate(math.inf), lambda: RandomRotate(0, "1"),
    ],
)  # fmt: skip
def test_bad_ranges_are_refused_at_once(make):
    with pytest.raises(InputError, match="give"):
        make()
