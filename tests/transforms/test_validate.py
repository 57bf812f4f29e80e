"""The check of users' transforms."""

import pytest
import torch
from torch import nn

from hauberk import InputError
from hauberk.transforms import (
    Brightness,
    FlipH,
    Rotate,
    Sometimes,
    StraightThrough,
    check,
)

X = torch.rand(3, 3, 6, 8, generator=torch.Generator().manual_seed(0))


def mine(function):
    function.__qualname__ = "mine"
    return function


@pytest.mark.parametrize(
    ("function", "says"),
    [
        (3, "3 is no function"),
        ("flh", "'flh' is no function"),
        (FlipH, "FlipH is a class"),
        (mine(lambda x: x[:, :, 1:]), r"mine turned shape \(2, 3, 6, 8\) into \(2, 3, 5, 8\)"),
        (mine(lambda x: None), "mine returned a NoneType"),
        (mine(lambda x: x.detach().numpy()), "mine returned a ndarray"),
        (mine(lambda x: x.numpy()), r"mine failed.*StraightThrough\(f\)"),
        (mine(lambda x: x.add_(1)), "mine failed.*in place"),
        (mine(lambda x: x / 0), "mine returned NaN or infinite"),
        (mine(lambda x: (x - 2).log()), "mine returned NaN"),
        (mine(lambda: None), "mine failed.*it must take a tensor"),
        (mine(lambda x: x.detach()), r"mine is not differentiable.*StraightThrough\(f\)"),
        (mine(lambda x: (x * 9).round()), r"mine is not differentiable.*StraightThrough\(f\)"),
        (mine(lambda x: (x > 0.5).long()), "mine is not differentiable"),
        (mine(lambda x: torch.ones_like(x).requires_grad_()), "mine is not differentiable"),
        (mine(lambda x: x.exp() + x.exp().add_(1)), r"mine has no gradient.*StraightThrough\(f\)"),
        (mine(lambda x: (x - x).abs().sqrt() + x), "mine has NaN or infinite gradients"),
    ],
)
def test_check_says_what_is_wrong(function, says):
    with pytest.raises(InputError, match=says):
        check(function, X)


def test_check_accepts_what_works():
    check(nn.Softmax(dim=3), X)  # the gradient of its plain sum is 0
    check(lambda x: x + torch.rand_like(x), X)
    check(nn.Dropout(0.5), X)
    check(StraightThrough(lambda x: (x * 9).round() / 9), X)
    check(Brightness(0.1), X[:, 0, 0])
    check(Rotate(30), X[:1].double())
    with torch.no_grad():
        check(FlipH(), X)


def test_check_looks_under_coins():
    for p in (0, 0.5, 1):
        with pytest.raises(InputError, match="not differentiable"):
            check(Sometimes(torch.round, p), X)


def test_check_leaves_no_trace():
    before, state = X.clone(), torch.get_rng_state()
    check(lambda x: x + torch.rand_like(x), X)
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(X, before)
    assert not X.requires_grad


@pytest.mark.parametrize("x", [X[:0], X.long(), None, [1.0]])
def test_check_wants_images(x):
    with pytest.raises(InputError, match="give one or two"):
        check(FlipH(), x)
