"""Every example once an epoch, in an order of the epoch's own."""

import torch
from helpers.training import blobs, clean, loader, normalised, own

from hauberk.train import Loss, fit
from hauberk.train.loop.loader import minibatches


def test_every_epoch_deals_out_all_examples_in_a_new_order():
    x, y = blobs()
    one, other = loader(x, y, 16), loader(x, y, 7)
    orders = []
    for epoch in range(2):
        dealt = torch.cat([one.rows(epoch, i) for i in range(one.steps)])
        assert torch.equal(dealt.sort().values, torch.arange(50))
        assert torch.equal(dealt, torch.cat([other.rows(epoch, i) for i in range(other.steps)]))
        orders.append(dealt)
    assert not torch.equal(*orders)
    assert not torch.equal(orders[0][:16], loader(x, y, 16, seed=1).rows(0, 0))


def test_a_single_example_left_over_joins_the_minibatch_before():
    sizes = []

    def loss(batch):
        sizes.append(len(batch.x))
        return Loss(clean(batch))

    x, y = blobs(31)
    fit(normalised(), (x, y), own(loss), epochs=2, minibatch=10)
    assert sizes == [10, 10, 11] * 2
    for n in range(1, 40):
        for size in range(1, 12):
            many = minibatches(n, size)
            left = n - (many - 1) * size
            assert 1 <= left <= size + 1
            assert left > 1 or n == 1 or size == 1
