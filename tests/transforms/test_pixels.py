"""Flips, brightness, gamma: values by hand, gradients."""

import pytest
import torch

from hauberk.transforms import (
    Brightness,
    FlipH,
    FlipV,
    Gamma,
    Identity,
)

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


@pytest.mark.parametrize("transform", [Identity(), Brightness(0.2), Gamma(1.3)], ids=str)
def test_transforms_of_values_take_any_shape(transform):
    x = images(4, 7)
    assert transform(x).shape == x.shape
