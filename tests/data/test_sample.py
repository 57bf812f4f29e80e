"""Examples drawn at random."""

import pytest
import torch

from hauberk.data import load_data
from hauberk.data.sample import drawn
from hauberk.errors import InputError


def test_a_sample_keeps_positions_and_grows(refused):
    whole = load_data("digits:test")
    some, more = load_data("digits:test", sample=20), load_data("digits:test", sample=60)
    assert len(set(some.ids.tolist())) == 20
    assert some.ids.tolist() == sorted(some.ids.tolist()) != list(range(20))
    assert set(some.ids.tolist()) < set(more.ids.tolist())
    assert torch.equal(some.images, whole.images[some.ids])
    assert torch.equal(some.labels, whole.labels[some.ids])
    other = load_data("digits:test", sample=20, sample_seed=1)
    assert other.ids.tolist() != some.ids.tolist()
    window = load_data("digits:test", sample=5, limit=8, offset=100).ids
    assert ((window >= 100) & (window < 108)).all()
    assert len(load_data("digits:test", sample=9999)) == 500
    assert "sample=0" in refused("digits:test", sample=0)


def test_balanced_samples():
    labels = torch.tensor([0] * 90 + [1] * 5 + [2] * 5)
    ids = drawn(torch.arange(100), 12, 3, labels)
    assert torch.bincount(labels[ids]).tolist() == [4, 4, 4]
    ids = drawn(torch.arange(100), 20, 3, labels)
    assert torch.bincount(labels[ids]).tolist() == [10, 5, 5]
    counts = torch.bincount(load_data("digits:test", sample=30, balanced=True).labels)
    assert counts.tolist() == [3] * 10


def test_every_example_is_as_likely():
    seen = torch.zeros(20)
    for seed in range(400):
        seen[drawn(torch.arange(20), 5, seed)] += 1
    assert (seen - 100).abs().max() < 45  # five standard deviations


def test_a_seed_that_is_too_large():
    with pytest.raises(InputError, match="63rd"):
        drawn(torch.arange(3), 1, 2**63)
