"""The rules of softened gradients that keep little: same value, the gradient they claim."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from hauberk.victims.softening import Softened
from hauberk.victims.softening_rules import spread

TAU = 0.3


def inputs(*shape, seed=0, offset=0.0):
    x = torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return (x + offset).requires_grad_(True)


def gradient(function, x, seed=5):
    """Value and gradient in ``x`` of a function, for a fixed random gradient of the value."""
    with Softened(TAU):
        value = function(x)
    weight = torch.randn(value.shape, generator=torch.Generator().manual_seed(seed))
    (grad,) = torch.autograd.grad(value, x, weight.to(value.dtype))
    return value.detach(), grad, weight.to(value.dtype)


def plain(function, x, weight):
    value = function(x)
    return value.detach(), torch.autograd.grad(value, x, weight)[0]


def sigmoids(x):
    """A sigmoid of each unit over TAU standard deviations of its example's units."""
    flat = x.detach().flatten(1)
    width = TAU * flat.std(1, correction=0)
    return torch.sigmoid(x.detach() / width.view(-1, *[1] * (x.dim() - 1)))


@pytest.mark.parametrize("shape", [(3, 5), (3, 2, 4, 4)])
@pytest.mark.parametrize("offset", [0.0, 2.0, -3.0])
@pytest.mark.parametrize("in_place", [False, True])
def test_a_relu_has_the_slope_of_a_sigmoid(shape, offset, in_place):
    x = inputs(*shape, offset=offset)
    value, grad, weight = gradient(lambda v: F.relu(v * 1, inplace=in_place), x)
    assert torch.equal(value, x.detach().clamp(min=0))
    assert torch.allclose(grad, weight * sigmoids(x), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("offset", [0.0, 1.0, 30.0, 1e4])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_spread_survives_a_mean_that_is_nearly_all(offset, dtype):
    x = inputs(3, 2, 5, 4, offset=offset).detach().to(dtype)
    exact = x.double().flatten(1).std(1, correction=0) * 40**0.5
    found = spread(x, (1, 2, 3))
    assert found.shape == (3, 1, 1, 1)
    assert torch.allclose(found.flatten().double(), exact, rtol=1e-3)


def test_a_relu_may_overwrite_a_part():
    def function(v):
        y = v * 1
        F.relu(y[:, :2], inplace=True)
        return y

    x = inputs(3, 5)
    value, grad, weight = gradient(function, x)
    assert torch.equal(value[:, :2], x.detach()[:, :2].clamp(min=0))
    assert torch.equal(value[:, 2:], x.detach()[:, 2:])
    assert torch.allclose(grad[:, :2], (weight[:, :2] * sigmoids(x[:, :2])))
    assert torch.equal(grad[:, 2:], weight[:, 2:])


def test_saturated_units_have_finite_gradients():
    x = torch.tensor([[1e4, -1e4, 0.0, 1.0]], dtype=torch.float32).requires_grad_(True)
    with Softened(1e-6):
        value = F.relu(x)
    (grad,) = torch.autograd.grad(value.sum(), x)
    assert grad.tolist() == [[1.0, 0.0, 0.5, 1.0]]


@pytest.mark.parametrize(
    "how",
    [
        {}, {"stride": 2}, {"padding": 1, "stride": (2, 1)}, {"dilation": 2}, {"groups": 2},
        {"padding": "same"}, {"padding": "valid", "stride": 2},
    ],
)  # fmt: skip
@pytest.mark.parametrize("bias", [False, True])
def test_a_convolution_has_its_own_gradient_and_keeps_no_input(how, bias):
    torch.manual_seed(1)
    layer = nn.Conv2d(4, 6, 3, bias=bias, **how).double().requires_grad_(False)
    x = inputs(2, 4, 7, 6)
    value, grad, weight = gradient(layer, x)
    exact, gradient_ = plain(layer, x, weight)
    assert torch.equal(value, exact)
    assert torch.allclose(grad, gradient_, rtol=1e-12, atol=1e-12)
    if not isinstance(how.get("padding"), str):
        assert kept(layer, x) == {tuple(layer.weight.shape)}


def kept(layer, x):
    """Shapes of what a layer keeps for its way back."""
    shapes = set()
    save = torch.autograd.graph.saved_tensors_hooks(
        lambda t: shapes.add(tuple(t.shape)) or t, lambda t: t
    )
    with save, Softened(TAU):
        layer(x)
    return shapes


@pytest.mark.parametrize("affine", [False, True])
@pytest.mark.parametrize("dims", [1, 2])
def test_batch_normalisation_by_running_statistics_keeps_a_factor_a_channel(affine, dims):
    torch.manual_seed(1)
    kind = nn.BatchNorm1d if dims == 1 else nn.BatchNorm2d
    layer = kind(4, affine=affine, eps=0.01).double().eval()
    layer.running_mean.uniform_(-1, 1)
    layer.running_var.uniform_(0.2, 3)
    if affine:
        nn.init.uniform_(layer.weight, -1, 1)
        nn.init.uniform_(layer.bias, -1, 1)
    layer.requires_grad_(False)
    x = inputs(3, 4) if dims == 1 else inputs(3, 4, 5, 5)
    value, grad, weight = gradient(layer, x)
    exact, gradient_ = plain(layer, x, weight)
    assert torch.equal(value, exact)
    assert torch.allclose(grad, gradient_, rtol=1e-12, atol=1e-12)
    assert kept(layer, x) == {(4, *[1] * (x.dim() - 2))}


@pytest.mark.parametrize("layer", [nn.Conv2d(4, 6, 3), nn.BatchNorm2d(4).eval()])
def test_weights_that_are_trained_get_their_gradients(layer):
    layer = layer.double()
    x = inputs(2, 4, 5, 5)
    with Softened(TAU):
        value = layer(x)
    found = torch.autograd.grad(value.square().sum(), [x, *layer.parameters()])
    exact = torch.autograd.grad(layer(x).square().sum(), [x, *layer.parameters()])
    assert all(torch.allclose(a, b) for a, b in zip(found, exact, strict=True))


def test_batch_statistics_are_part_of_the_gradient():
    layer = nn.BatchNorm2d(4).double().train().requires_grad_(False)
    x = inputs(3, 4, 5, 5)
    _, grad, weight = gradient(layer, x)
    assert torch.allclose(grad, plain(layer, x, weight)[1])


def test_a_residual_network_keeps_less_than_without():
    torch.manual_seed(0)
    net = nn.Sequential(
        *[nn.Conv2d(4, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU(inplace=True)] * 3
    )
    net = net.eval().requires_grad_(False)
    x = torch.rand(2, 4, 8, 8).requires_grad_(True)

    def size(*blocks):
        total = {}
        save = torch.autograd.graph.saved_tensors_hooks(
            lambda t: total.setdefault(t.untyped_storage().data_ptr(), t.numel()) and t,
            lambda t: t,
        )
        with save:
            if blocks:
                with Softened(TAU):
                    net(x)
            else:
                net(x)
        return sum(total.values())

    assert size("softened") < size()
