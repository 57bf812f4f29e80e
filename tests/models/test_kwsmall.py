"""The small network of Kolter and Wong."""

import torch
from torch import nn

from hauberk import models


def test_kwsmall_without_normalisation_is_a_plain_sequential():
    model = models.kwsmall_mnist()
    x = torch.rand(2, 1, 28, 28)
    assert torch.equal(model(x), nn.Sequential(*model.children())(x))


def test_kwsmall_defaults_to_mnist():
    shapes = [p.shape for p in models.KWSmall().parameters()]
    assert shapes == [p.shape for p in models.kwsmall_mnist().parameters()]


def test_the_normalisations_are_the_published_ones():
    """Those of convex_adversarial and of SDP-FO's CNN-A."""
    torch.manual_seed(0)
    x = torch.rand(2, 3, 32, 32)
    for factory, mean, std in (
        (models.kwsmall_cifar10, (0.485, 0.456, 0.406), (0.225, 0.225, 0.225)),
        (models.cnn_a_cifar10, (125.3, 123.0, 113.9), (63.0, 62.1, 66.7)),
    ):
        model = factory()
        unit = 255 if factory is models.cnn_a_cifar10 else 1
        mean, std = (torch.tensor(values).view(-1, 1, 1) / unit for values in (mean, std))
        expected = nn.Sequential(*model.children())((x - mean) / std)
        torch.testing.assert_close(model(x), expected)
