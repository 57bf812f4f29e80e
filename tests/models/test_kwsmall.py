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
