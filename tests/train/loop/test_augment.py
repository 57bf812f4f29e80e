"""Augmentation depends on seed, epoch and example alone."""

import torch
from torch.nn import functional as F

from hauberk.threats.base import Box
from hauberk.train.loop.augment import Augmentation


def test_augmentation_depends_on_the_example_alone():
    x = torch.rand(40, 2, 5, 6, generator=torch.Generator().manual_seed(1)) + 0.5
    ids = torch.arange(40)
    vary = Augmentation.of(("pad-crop:1", "flip"))
    box = Box(0.5, 1.5)
    found = vary(x, ids, 0, 3, box)
    padded = F.pad(x, (1, 1, 1, 1)).clamp(0.5, 1.5)
    kinds = set()
    for image, wide in zip(found, padded, strict=True):
        windows = {
            (i, j, m): wide[:, i : i + 5, j : j + 6].flip(2) if m else wide[:, i : i + 5, j : j + 6]
            for i in range(3) for j in range(3) for m in (False, True)
        }  # fmt: skip
        match = [kind for kind, window in windows.items() if torch.equal(image, window)]
        assert match
        kinds.update(match)
    assert len(kinds) > 9
    some = torch.tensor([31, 4])
    assert torch.equal(vary(x[some], some, 0, 3, box), found[some])
    assert not torch.equal(vary(x, ids, 0, 4, box), found)
