"""Torch's loaders."""

import pytest
import torch
from torch.utils.data import (
    DataLoader,
    RandomSampler,
    SubsetRandomSampler,
    TensorDataset,
    WeightedRandomSampler,
)

from hauberk.data.loaders import of_loader
from hauberk.data.source import Request
from hauberk.errors import InputError

X, Y = torch.rand(12, 3), torch.arange(12)
DATA = TensorDataset(X, Y)


def order(loader):
    raw = of_loader(loader, Request("mine"))
    images, labels = raw.read(0, raw.size)
    assert torch.equal(images, X[labels])
    return labels.tolist()


def test_shuffling_does_not_count():
    state = torch.get_rng_state()
    assert order(DataLoader(DATA, batch_size=5)) == list(range(12))
    assert order(DataLoader(DATA, batch_size=5, shuffle=True, drop_last=True)) == list(range(12))
    assert order(DataLoader(DATA, sampler=SubsetRandomSampler([7, 2, 5]))) == [2, 5, 7]
    assert order(DataLoader(DATA, sampler=[4, 9, 1])) == [4, 9, 1]
    assert order(DataLoader(DATA, batch_sampler=[[3, 1], [0]])) == [3, 1, 0]
    assert torch.equal(torch.get_rng_state(), state)


def test_generators_stay_where_they_are():
    generator = torch.Generator().manual_seed(4)
    state = generator.get_state()
    order(DataLoader(DATA, shuffle=True, generator=generator))
    assert torch.equal(generator.get_state(), state)


@pytest.mark.parametrize(
    "sampler",
    [WeightedRandomSampler([1.0] * 12, 12), RandomSampler(DATA, replacement=True)],
)
def test_samplers_that_draw_each_time_anew(sampler):
    with pytest.raises(InputError, match="draws other examples each time"):
        of_loader(DataLoader(DATA, sampler=sampler), Request("mine"))


def test_collation_is_the_loaders_own():
    def collate(items):
        return {"pixel_values": torch.stack([x for x, _ in items]) / 2,
                "labels": torch.stack([y for _, y in items])}  # fmt: skip

    raw = of_loader(DataLoader(DATA, batch_size=4, collate_fn=collate), Request("mine"))
    images, labels = raw.read(3, 9)
    assert torch.equal(images, X[3:9] / 2)
    assert labels.tolist() == list(range(3, 9))
    single = of_loader(DataLoader(DATA, batch_size=None), Request("mine"))
    assert torch.equal(single.read(2, 4)[0], X[2:4])
