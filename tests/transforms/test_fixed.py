"""Transforms that draw nothing: exact values, independent references, gradients, shapes."""

import math

import pytest
import torch
from torch.nn.functional import interpolate

from hauberk import InputError
from hauberk.transforms import (
    Brightness,
    Compose,
    CropResize,
    FlipH,
    FlipV,
    Gamma,
    Identity,
    Rotate,
    wang2021,
)

FIXED = wang2021("deterministic")
TINY = torch.tensor([[[[0.0, 0.1, 0.2], [0.3, 0.4, 0.5]]]])


def images(*shape, dtype=torch.float64, seed=0):
    return torch.rand(*shape, dtype=dtype, generator=torch.Generator().manual_seed(seed))


def test_flips_by_hand():
    assert FlipH()(TINY).tolist() == torch.tensor([[[[0.2, 0.1, 0], [0.5, 0.4, 0.3]]]]).tolist()
    assert FlipV()(TINY).tolist() == torch.tensor([[[[0.3, 0.4, 0.5], [0, 0.1, 0.2]]]]).tolist()
    x = images(2, 3, 4, 6)
    assert torch.equal(FlipH()(FlipH()(x)), x)
    assert torch.equal(FlipV()(FlipV()(x)), x)


def test_identity_is_the_input():
    assert Identity()(TINY) is TINY


def test_brightness_leaves_the_box_unless_clipped():
    x = torch.tensor([[0.0, 0.5, 0.95]], dtype=torch.float64)
    assert torch.equal(Brightness(0.1)(x), x + 0.1)
    assert Brightness(0.1, clip=True)(x).tolist() == [[0.1, 0.6, 1.0]]
    assert torch.equal(Brightness(-0.1, clip=True)(x), (x - 0.1).clamp(0, 1))


def test_gamma_is_a_power_with_a_bounded_gradient():
    for gamma in (0.4, 1.0, 1.3, 2.2):
        x = torch.tensor([[-0.01, 0.0, 1e-9, 1 / 255, 0.5, 1.0, 1.1]], dtype=torch.float64)
        x.requires_grad_()
        value = Gamma(gamma)(x)
        expected = [max(v, 0.0) ** gamma for v in x[0].tolist()]
        assert value[0].tolist() == pytest.approx(expected, abs=1e-15)
        (slope,) = torch.autograd.grad(value.sum(), x)
        expected = [gamma * max(v, 1 / 255) ** (gamma - 1) for v in x[0].tolist()]
        assert slope[0].tolist() == pytest.approx(expected, rel=1e-12)


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


# In a chain a rotation would bring zeros to gamma, whose gradient there is not the true one.
@pytest.mark.parametrize("transform", [*FIXED, Compose(*FIXED[:-1], CropResize(0.7))], ids=str)
@pytest.mark.parametrize("shape", [(2, 3, 6, 6), (1, 1, 5, 4), (3, 2, 2, 7)])
def test_gradients_are_true(transform, shape):
    x = images(*shape).mul_(0.9).add_(0.05).requires_grad_()
    assert torch.autograd.gradcheck(transform, (x,))


@pytest.mark.parametrize("transform", FIXED, ids=str)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16, torch.float16])
def test_dtype_shape_and_batch_are_kept(transform, dtype):
    x = images(4, 3, 6, 9).to(dtype)
    found = transform(x)
    assert (found.dtype, found.shape) == (dtype, x.shape)
    exact = transform(x.double())
    rounding = max(4 * torch.finfo(dtype).eps, 1e-5)
    assert torch.allclose(found.double(), exact, rtol=0, atol=rounding)
    one_by_one = torch.cat([transform(image) for image in x.split(1)])
    assert torch.allclose(one_by_one, found, rtol=0, atol=rounding)
    empty = transform(x[:0])
    assert (empty.dtype, empty.shape) == (dtype, (0, 3, 6, 9))


@pytest.mark.parametrize("transform", FIXED, ids=str)
def test_the_input_is_left_alone(transform):
    x = images(2, 3, 6, 6)
    before = x.clone()
    transform(x)
    assert torch.equal(x, before)


@pytest.mark.parametrize("transform", [Identity(), Brightness(0.2), Gamma(1.3)], ids=str)
def test_transforms_of_values_take_any_shape(transform):
    x = images(4, 7)
    assert transform(x).shape == x.shape


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


@pytest.mark.parametrize("x", [torch.zeros(1, 1, 4, 4, dtype=torch.uint8), [[0.0]], None])
def test_other_numbers_are_refused(x):
    with pytest.raises(InputError, match="floating numbers"):
        Identity()(x)
    with pytest.raises(InputError, match="images"):
        Identity()(torch.tensor(1.0))


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


def test_compose_goes_from_left_to_right():
    x = images(1, 1, 4, 4)
    both = Compose(Brightness(0.1), Gamma(2))
    assert torch.allclose(both(x), (x + 0.1) ** 2)
    assert not both.random
    nested = Compose(Compose(FlipH(), Rotate(90)), FlipV())
    assert nested == Compose(FlipH(), Compose(Rotate(90), FlipV()))
    assert len(nested.parts) == 3
    own = Compose(torch.sin, Brightness(0.1))
    assert torch.equal(own(x), x.sin() + 0.1)


def test_the_published_set():
    assert [str(t) for t in FIXED] == [
        "ori", "flh", "flv", "bri:0.1", "gam:1.3", "crop:0.8", "rot:30",
    ]  # fmt: skip
    assert not any(t.random for t in FIXED)
