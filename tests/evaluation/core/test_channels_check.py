"""Grey images that a colour net spreads over its channels, and nets that mean to."""

import pytest
import torch
from torch import nn

from hauberk.evaluation.core.channels_check import greyed
from hauberk.evaluation.core.labels_check import all_grey
from hauberk.evaluation.core.sample import Sample
from hauberk.threats.box import Box
from hauberk.victims.victim import Victim

MEAN = torch.tensor([0.485, 0.456, 0.406]).view(3, 1, 1)


class Net(nn.Module):
    def __init__(self, before, channels=3):
        super().__init__()
        self.before, self.first = before, nn.Conv2d(channels, 4, 3)
        self.gate = nn.Conv2d(4, 1, 1)
        self.last = nn.Linear(144, 5)

    def forward(self, x):
        z = self.first(self.before(x))
        return self.last((z * self.gate(z)).flatten(1))


def images(channels=1):
    return torch.rand(6, channels, 8, 8, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("before", [
    lambda x: x - MEAN, lambda x: (x - MEAN[None]) / 0.25, lambda x: x.sub(MEAN),
    lambda x: x / MEAN, lambda x: MEAN * x,
])  # fmt: skip
def test_one_channel_that_meets_several_means(before):
    (found,) = greyed(Victim(Net(before).eval()), images())
    assert found.code == "grey images in a colour net"
    assert "1 channel, which the model's arithmetic spreads over 3" in found.observed


@pytest.mark.parametrize(("before", "channels"), [
    (lambda x: x.repeat(1, 3, 1, 1) - MEAN, 3), (lambda x: x.expand(-1, 3, -1, -1), 3),
    (lambda x: torch.cat([x, x, x], 1) / MEAN, 3), (lambda x: (x - 0.13) / 0.3, 1),
    (lambda x: x - torch.tensor([0.1]).view(1, 1, 1), 1),
])  # fmt: skip
def test_nets_for_grey_images_are_left_alone(before, channels):
    assert greyed(Victim(Net(before, channels).eval()), images()) == []


def test_images_in_colour_are_left_alone():
    assert greyed(Victim(Net(lambda x: x - MEAN).eval()), images(3)) == []
    assert greyed(Victim(nn.Flatten()), images().flatten(1)) == []


def test_grey_images_in_three_channels_where_the_net_is_not_good_at_them():
    y, x = torch.arange(40) % 4, images(1).repeat(7, 1, 1, 1)[:40].expand(-1, 3, -1, -1)

    def found(x, wrong):
        given = y.clone()
        given[:wrong] = (y[:wrong] + 1) % 4
        return all_grey(Sample(x, y, given, 4, Box(), lambda _: given))

    assert "on 30 of 40 clean inputs, and all images are grey" in str(found(x, 10))
    assert found(x, 4) is None
    assert found(x + torch.rand(1, 3, 1, 1), 10) is None
