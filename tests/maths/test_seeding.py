"""Torch's global generators inside a block, and after it."""

import pytest
import torch

from hauberk.maths.seeding import seeded


def test_the_same_numbers_inside_and_none_lost_outside():
    torch.manual_seed(3)
    expected = torch.rand(2)
    torch.manual_seed(3)
    first = torch.rand(1)
    with seeded(7):
        inside = torch.rand(4)
        with seeded(7):
            assert torch.equal(torch.rand(4), inside)
    assert torch.equal(torch.cat([first, torch.rand(1)]), expected)
    with seeded(8):
        assert not torch.equal(torch.rand(4), inside)


def test_any_integer_is_a_seed():
    for seed in (-1, 2**63, 2**70):
        with seeded(seed):
            one = torch.rand(1)
        with seeded(seed):
            assert torch.equal(torch.rand(1), one)


def test_an_exception_puts_the_generator_back():
    before = torch.get_rng_state()
    with pytest.raises(KeyError), seeded(0):
        raise KeyError(torch.rand(3))
    assert torch.equal(torch.get_rng_state(), before)
