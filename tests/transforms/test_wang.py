"""The published sets of transforms."""

import pytest
import torch

from hauberk.transforms import (
    Gamma,
    Sometimes,
    check,
    transform,
    wang2021,
)

FIXED = wang2021("deterministic")


def test_the_published_set():
    assert [str(t) for t in FIXED] == [
        "ori", "flh", "flv", "bri:0.1", "gam:1.3", "crop:0.8", "rot:30",
    ]  # fmt: skip
    assert not any(t.random for t in FIXED)


STOCHASTIC = wang2021("stochastic")


def test_the_published_stochastic_set():
    assert STOCHASTIC[4] == Sometimes(Gamma(1.3), 0.8)
    assert [str(t) for t in STOCHASTIC] == [
        "ori", "sometimes(flh,0.8)", "sometimes(flv,0.8)", "sometimes(bri:0.1,0.8)",
        "sometimes(gam:1.3,0.8)", "crop:0.6..1", "rot:-10..10",
    ]  # fmt: skip


X = torch.rand(3, 3, 6, 8, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("kind", ["deterministic", "stochastic"])
def test_the_published_sets_are_read_back(kind):
    made = wang2021(kind)
    assert [transform(str(t)) for t in made] == made
    for each in made:
        check(each, X)
