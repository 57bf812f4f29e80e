"""The order of images in a stream, and its loss."""

import torch

from hauberk.evaluation.universal.stream import capped_margin, shuffled


def test_orders_are_permutations_of_their_own():
    first, second = shuffled(20, 0, 0), shuffled(20, 0, 1)
    assert sorted(first.tolist()) == [*range(20)]
    assert not torch.equal(first, second)
    assert torch.equal(first, shuffled(20, 0, 0))
    assert capped_margin(torch.tensor([[0.0, 99.0]]), torch.tensor([0])).item() == 10.0
