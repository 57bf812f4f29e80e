"""Transforms that draw: the same image draws the same whatever the batch; ranges; ends."""

import math

import pytest
import torch

from hauberk import InputError
from hauberk.maths.rng import Draws
from hauberk.transforms import (
    Brightness,
    Compose,
    CropResize,
    FlipH,
    Gamma,
    Identity,
    RandomCropResize,
    RandomRotate,
    Rotate,
    Sometimes,
    apply,
    is_random,
    wang2021,
)

STOCHASTIC = wang2021("stochastic")
RANDOM = [*STOCHASTIC[1:], Compose(FlipH(), RandomRotate(10), Sometimes(RandomRotate(40), 0.5))]


def images(n, side=8, dtype=torch.float64):
    return torch.rand(n, 3, side, side + 2, dtype=dtype, generator=torch.Generator().manual_seed(1))


def same(a, b):
    """Up to roundings, which depend on where in a batch a number stands; draws differ by more."""
    return torch.allclose(a, b, rtol=0, atol=1e-12)


def streams(ids, seed=5):
    return Draws.of(seed, torch.as_tensor(ids))


@pytest.mark.parametrize("transform", RANDOM, ids=str)
def test_an_image_draws_the_same_whatever_the_batch(transform):
    x = images(9)
    whole = transform(x, streams(range(9)), 3)
    some = torch.tensor([7, 0, 4])
    assert same(transform(x[some], streams(some), 3), whole[some])
    each = torch.cat([transform(x[i : i + 1], streams([i]), 3) for i in range(9)])
    assert same(each, whole)
    mixed = torch.tensor([3, 1, 3])  # a draw of its own for each image
    found = transform(x[some], streams(some), mixed)
    assert same(found[[0, 2]], whole[some][[0, 2]])
    assert transform(x[:0], streams([]), 3).shape == (0, 3, 8, 10)


@pytest.mark.parametrize("transform", RANDOM, ids=str)
def test_other_draws_and_seeds_give_other_images(transform):
    x = images(32)
    first = transform(x, streams(range(32)), 0)
    assert not torch.equal(transform(x, streams(range(32)), 1), first)
    assert not torch.equal(transform(x, streams(range(32), seed=6), 0), first)


@pytest.mark.parametrize("transform", RANDOM, ids=str)
def test_the_global_generator_and_its_independence(transform):
    x = images(32)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        first, second = transform(x), transform(x)
        torch.manual_seed(0)
        assert torch.equal(transform(x), first)
        assert not torch.equal(first, second)
        before = torch.get_rng_state()
        transform(x, streams(range(32)))
        assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("transform", RANDOM, ids=str)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_dtypes_draw_alike(transform, dtype):
    x = images(6).to(dtype)
    found = transform(x, streams(range(6)))
    assert found.dtype == dtype
    exact = transform(x.double(), streams(range(6)))
    assert torch.allclose(found.double(), exact, atol=max(8 * torch.finfo(dtype).eps, 1e-5))


@pytest.mark.parametrize("transform", RANDOM[:-1], ids=str)
def test_gradients_are_true(transform):
    x = images(3, side=5).mul_(0.9).add_(0.05).requires_grad_()
    assert torch.autograd.gradcheck(lambda v: transform(v, streams(range(3)), 2), (x,))


def test_never_and_always():
    x = images(50)
    for draws in (None, streams(range(50))):
        assert torch.equal(Sometimes(FlipH(), 0)(x, draws), x)
        assert torch.equal(Sometimes(FlipH(), 1)(x, draws), x.flip(3))


def test_sometimes_takes_whole_images_at_its_rate():
    n = 4000
    x = torch.zeros(n, 2)
    moved = Sometimes(Brightness(1.0), 0.8)(x, streams(range(n)))
    assert set(moved.sum(1).tolist()) == {0.0, 2.0}
    # Five standard errors; the draws are fixed by their seed, so this cannot fail by luck.
    assert abs(moved[:, 0].mean() - 0.8) < 5 * math.sqrt(0.16 / n)


def test_the_coin_tells_nothing_about_what_it_covers():
    x = images(400)
    half = Sometimes(Sometimes(FlipH(), 0.5), 0.5)(x, streams(range(400)))
    flipped = (half != x).flatten(1).any(1).double().mean()
    assert abs(flipped - 0.25) < 5 * math.sqrt(0.25 * 0.75 / 400)  # one coin twice: 0.5


def test_parts_of_a_composition_draw_on_their_own():
    x = torch.zeros(400, 1)
    coin = Sometimes(Brightness(1.0), 0.5)
    total = Compose(coin, coin)(x, streams(range(400)))
    assert set(total.flatten().tolist()) == {0.0, 1.0, 2.0}


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
    x = images(3)
    draws = streams(range(3))
    assert torch.allclose(RandomCropResize(0.7, 0.7)(x, draws), CropResize(0.7)(x), atol=1e-12)
    assert torch.allclose(RandomCropResize(1, 1)(x, draws), x, atol=1e-12)
    assert torch.allclose(RandomRotate(30, 30)(x, draws), Rotate(30)(x), atol=1e-12)
    assert RandomRotate(10) == RandomRotate(-10) == RandomRotate(-10, 10)


def test_what_counts_as_random():
    assert all(t.random for t in RANDOM)
    assert not Identity().random
    assert not is_random(torch.sin)

    class Noise:
        random = True

        def __call__(self, x, draws=None, draw=0):
            return x + draws.uniform(draw, x.shape[1:], x.dtype)

    x = images(2)
    assert is_random(Noise())
    assert Compose(FlipH(), Noise()).random
    found = apply(Noise(), x, streams([0, 1]), 4)
    assert torch.equal(found, x + streams([0, 1]).uniform(4, x.shape[1:], x.dtype))
    assert torch.equal(apply(torch.sin, x, streams([0, 1])), x.sin())


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
def test_bad_settings_are_refused_at_once(make):
    with pytest.raises(InputError, match="give"):
        make()


def test_bad_use_is_refused():
    with pytest.raises(InputError, match="draws for 2 images and 3"):
        RandomRotate(10)(images(3), streams([0, 1]))
    with pytest.raises(InputError, match="at least 2 x 2"):
        RandomCropResize()(torch.zeros(1, 1, 1, 1))
    with pytest.raises(InputError, match="same shape"):
        Sometimes(lambda x: x[..., 1:], 0.5)(images(2))
    with pytest.raises(InputError, match="same shape"):
        Sometimes(lambda x: None, 0.5)(images(2))


def test_the_published_set():
    assert STOCHASTIC[4] == Sometimes(Gamma(1.3), 0.8)
    assert [str(t) for t in STOCHASTIC] == [
        "ori", "sometimes(flh,0.8)", "sometimes(flv,0.8)", "sometimes(bri:0.1,0.8)",
        "sometimes(gam:1.3,0.8)", "crop:0.6..1", "rot:-10..10",
    ]  # fmt: skip
