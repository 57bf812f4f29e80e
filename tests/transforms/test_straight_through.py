"""Straight-through gradients and JPEG, against Pillow itself."""

import pytest
import torch

from hauberk import InputError
from hauberk.transforms import Compose, Gamma, RandomRotate, StraightThrough


def images(*shape, dtype=torch.float64):
    return torch.rand(*shape, dtype=dtype, generator=torch.Generator().manual_seed(2))


def quantise(x):
    return (x * 4).round() / 4


def gradient(transform, x):
    """The gradient of a random combination of values, and the combination's weights."""
    x = x.clone().requires_grad_()
    weights = images(*x.shape, dtype=x.dtype)
    return torch.autograd.grad(transform(x), x, weights)[0], weights


def test_value_forward_and_identity_backward():
    x = images(2, 3, 4, 5)
    through = StraightThrough(quantise, "quantise")
    assert torch.equal(through(x), quantise(x))
    found, weights = gradient(through, x)
    assert torch.equal(found, weights)
    assert not gradient(quantise, x)[0].any()


def test_the_rest_of_a_chain_keeps_its_gradient():
    x = images(2, 1, 3, 3) + 0.1
    found, weights = gradient(Compose(Gamma(2), StraightThrough(quantise)), x)
    assert torch.allclose(found, 2 * x * weights)


def test_the_function_works_on_a_copy_off_the_graph():
    kept = []

    def rude(x):
        kept.append(x)
        x.numpy()[:] = 0.5
        return x

    x = images(2, 1, 3, 3).requires_grad_()
    before = x.detach().clone()
    value = StraightThrough(rude)(x)
    assert torch.equal(x, before)
    assert bool((value == 0.5).all())
    assert value is not kept[0]
    assert not kept[0].requires_grad


def test_dtype_of_the_input_and_any_shape():
    x = images(4, 7, dtype=torch.float32)
    value = StraightThrough(lambda v: v.double().round())(x)
    assert value.dtype == torch.float32
    assert StraightThrough(quantise)(x[:0]).shape == (0, 7)


def test_randomness_is_that_of_the_function():
    assert StraightThrough(RandomRotate(10)).random
    assert not StraightThrough(quantise).random


@pytest.mark.parametrize("function", [lambda x: x[:1], lambda x: None, lambda x: x.numpy()])
def test_other_results_are_refused(function):
    with pytest.raises(InputError, match="tensor of the same shape"):
        StraightThrough(function, "mine")(images(2, 1, 3, 3))


def test_no_function_is_refused():
    with pytest.raises(InputError, match="give a function"):
        StraightThrough(3)
