"""Normalisation inside the model."""

import pytest
import torch

from hauberk import models
from hauberk.errors import InputError
from hauberk.models.normalised import standardise


@pytest.mark.parametrize("factory", [models.kwsmall_cifar10, models.cnn_a_cifar10, models.ResNet4B])
def test_normalisation_is_inside_and_not_in_the_state_dict(factory):
    model = factory()
    x = torch.rand(2, 3, 32, 32)
    mean, std = model.mean.flatten(), model.std.flatten()
    expected = torch.stack([(x[:, c] - mean[c]) / std[c] for c in range(3)], dim=1)
    torch.testing.assert_close(model.normalise(x), expected)
    assert not {"mean", "std"} & model.state_dict().keys()


@pytest.mark.parametrize(
    ("mean", "std", "says"),
    [
        ((0.5,), (0.2,), "3 channels"),
        ((0.5, 0.5, 0.5), (0.2,), "equally many"),
        ((0.5, 0.5, 0.5), (0.2, 0.0, 0.2), "above 0"),
    ],
)
def test_normalisation_that_does_not_fit(mean, std, says):
    with pytest.raises(InputError, match=says):
        models.kwsmall_cifar10(mean, std)


CIFAR = (3, 32, 32)


SMALL = {
    "preact": models.PreActResNet18,
    "wide": lambda **more: models.WideResNet(10, 1, **more),
}


@pytest.mark.parametrize("name", SMALL)
def test_normalisation_is_the_same_as_that_of_the_input(name):
    x, mean, std = torch.rand(2, *CIFAR), [0.1, 0.5, 0.9], [0.2, 0.3, 0.4]
    torch.manual_seed(0)
    plain = SMALL[name]().eval()
    for more, before in (
        ({"per_image": True}, standardise(x)),
        (
            {"mean": mean, "std": std},
            (x - torch.tensor(mean)[:, None, None]) / torch.tensor(std)[:, None, None],
        ),
    ):
        model = SMALL[name](**more).eval()
        model.load_state_dict(plain.state_dict(), strict=True)
        torch.testing.assert_close(model(x), plain(before))


def test_standardised_images_have_mean_0_and_variance_1():
    x = torch.rand(4, 3, 8, 8, dtype=torch.float64) * 0.3 + 0.1
    flat = standardise(x).flatten(1)
    zeros = torch.zeros(4, dtype=torch.float64)
    torch.testing.assert_close(flat.mean(1), zeros)
    torch.testing.assert_close(flat.var(1, correction=0), zeros + 1)
    torch.testing.assert_close(standardise(2 * x + 3), standardise(x))  # whatever the contrast


def test_flat_images_are_standardised_by_the_bound():
    """The bound is 1 / sqrt(d): for x = (a, -a) below it, x * sqrt(2)."""
    x = torch.tensor([[0.01, -0.01], [0.7, 0.7]], dtype=torch.float64, requires_grad=True)
    found = standardise(x)
    expected = torch.tensor([[0.01, -0.01], [0.0, 0.0]], dtype=torch.float64) * 2**0.5
    torch.testing.assert_close(found.detach(), expected)
    (found[:, 0].sum()).backward()
    assert x.grad.isfinite().all()
    assert standardise(torch.rand(0, 3, 4, 4)).shape == (0, 3, 4, 4)


def test_standardisation_has_the_right_slope():
    x = torch.rand(2, 5, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(standardise, x)
