"""What holds for every transform: gradients, dtypes, draws that no batch changes."""

import math

import pytest
import torch
from torch import nn

from hauberk import InputError
from hauberk.maths.rng import Draws
from hauberk.transforms import (
    Compose,
    CropResize,
    FlipH,
    Identity,
    RandomCropResize,
    RandomRotate,
    Rotate,
    Sometimes,
    apply,
    is_random,
    named,
    wang2021,
)

FIXED = wang2021("deterministic")


def images(*shape, dtype=torch.float64, seed=0):
    return torch.rand(*shape, dtype=dtype, generator=torch.Generator().manual_seed(seed))


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


@pytest.mark.parametrize("x", [torch.zeros(1, 1, 4, 4, dtype=torch.uint8), [[0.0]], None])
def test_other_numbers_are_refused(x):
    with pytest.raises(InputError, match="floating numbers"):
        Identity()(x)
    with pytest.raises(InputError, match="images"):
        Identity()(torch.tensor(1.0))


STOCHASTIC = wang2021("stochastic")


RANDOM = [*STOCHASTIC[1:], Compose(FlipH(), RandomRotate(10), Sometimes(RandomRotate(40), 0.5))]


def squares(n, side=8, dtype=torch.float64):
    return torch.rand(n, 3, side, side + 2, dtype=dtype, generator=torch.Generator().manual_seed(1))


def same(a, b):
    """Up to roundings, which depend on where in a batch a number stands; draws differ by more."""
    return torch.allclose(a, b, rtol=0, atol=1e-12)


def streams(ids, seed=5):
    return Draws.of(seed, torch.as_tensor(ids))


@pytest.mark.parametrize("transform", RANDOM, ids=str)
def test_an_image_draws_the_same_whatever_the_batch(transform):
    x = squares(9)
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
    x = squares(32)
    first = transform(x, streams(range(32)), 0)
    assert not torch.equal(transform(x, streams(range(32)), 1), first)
    assert not torch.equal(transform(x, streams(range(32), seed=6), 0), first)


@pytest.mark.parametrize("transform", RANDOM, ids=str)
def test_the_global_generator_and_its_independence(transform):
    x = squares(32)
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
    x = squares(6).to(dtype)
    found = transform(x, streams(range(6)))
    assert found.dtype == dtype
    exact = transform(x.double(), streams(range(6)))
    assert torch.allclose(found.double(), exact, atol=max(8 * torch.finfo(dtype).eps, 1e-5))


@pytest.mark.parametrize("transform", RANDOM[:-1], ids=str)
def test_gradients_of_random_ones_are_true(transform):
    x = squares(3, side=5).mul_(0.9).add_(0.05).requires_grad_()
    assert torch.autograd.gradcheck(lambda v: transform(v, streams(range(3)), 2), (x,))


def test_what_counts_as_random():
    assert all(t.random for t in RANDOM)
    assert not Identity().random
    assert not is_random(torch.sin)

    class Noise:
        random = True

        def __call__(self, x, draws=None, draw=0):
            return x + draws.uniform(draw, x.shape[1:], x.dtype)

    x = squares(2)
    assert is_random(Noise())
    assert Compose(FlipH(), Noise()).random
    found = apply(Noise(), x, streams([0, 1]), 4)
    assert torch.equal(found, x + streams([0, 1]).uniform(4, x.shape[1:], x.dtype))
    assert torch.equal(apply(torch.sin, x, streams([0, 1])), x.sin())


def test_bad_use_is_refused():
    with pytest.raises(InputError, match="draws for 2 images and 3"):
        RandomRotate(10)(squares(3), streams([0, 1]))
    with pytest.raises(InputError, match="at least 2 x 2"):
        RandomCropResize()(torch.zeros(1, 1, 1, 1))
    with pytest.raises(InputError, match="same shape"):
        Sometimes(lambda x: x[..., 1:], 0.5)(squares(2))
    with pytest.raises(InputError, match="same shape"):
        Sometimes(lambda x: None, 0.5)(squares(2))


def test_names():
    assert named(Rotate(30)) == "rot:30"
    assert named(math.sin) == "sin"
    assert named(nn.Softmax(1)) == "Softmax"
