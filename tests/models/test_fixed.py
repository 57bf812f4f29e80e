"""Models that take batches of exactly one size."""

import pytest
import torch
from torch import nn

import hauberk as hb
from hauberk.errors import InputError
from hauberk.models import FixedBatch


class Three(nn.Module):
    """Has the size of its batches in its code."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.linear = nn.Linear(4, 2)

    def forward(self, x):
        return self.linear(x.reshape(3, 4))


def test_any_number_of_inputs_in_batches_of_one_size():
    model, x = Three(), torch.rand(8, 2, 2)
    torch.testing.assert_close(FixedBatch(model, 3)(x), model.linear(x.flatten(1)))
    y = model.linear(x.flatten(1)).argmax(1)
    free = nn.Sequential(nn.Flatten(), model.linear)
    found = [hb.evaluate(m, x, y, "linf:0.2", suite="fast") for m in (FixedBatch(model, 3), free)]
    assert torch.equal(*(each.robust() for each in found))


def test_a_size_below_1():
    with pytest.raises(InputError, match="give 1 or more"):
        FixedBatch(nn.Flatten(), 0)
