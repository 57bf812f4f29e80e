"""Square: the published schedule of its windows, and what a query repaints."""

import numpy as np
import pytest
import torch
from helpers.models import Recorder, network

from hauberk import L2, Linf
from hauberk.attacks import Square

PUBLISHED = [
    (10, 1), (50, 2), (200, 4), (500, 8), (1000, 16), (2000, 32), (4000, 64), (6000, 128),
    (8000, 256), (10_000, 512),
]  # fmt: skip
"""Of 10,000 queries: up to which the share is the first one over so many (section 5)."""


@pytest.mark.parametrize("steps", [10_000, 1_000])
@pytest.mark.parametrize(("height", "width"), [(28, 28), (8, 20), (1, 64)])
def test_windows_shrink_as_published(steps, height, width):
    attack = Square(steps=steps)
    last = 0
    for end, divisor in PUBLISHED:
        for query in {last + 1, end}:
            count = query * steps // 10_000
            if query * steps % 10_000 or not count:
                continue
            share = 0.8 / divisor
            side = share * width if height == 1 else (share * height * width) ** 0.5
            wanted = min(max(round(side), 1), max(height, width))
            found = attack.sides(np.array([count]), height, width)
            assert found.tolist() == [wanted], (query, divisor)
        last = end


def test_the_first_share_is_a_setting():
    assert Square(share=0.2).sides(np.array([1]), 10, 10).tolist() == [round(20**0.5)]
    assert Square().share == 0.8


def test_a_query_repaints_one_square_of_the_best_point_so_far():
    model = network(144, 20, 3)
    x = torch.rand(1, 1, 12, 12, generator=torch.Generator().manual_seed(1))
    y = model(x).argmax(1)
    seen = Recorder(model)
    attack = Square(steps=60, share=0.3)
    outcome = attack(seen, x, y, Linf(0.1), box=(-1, 2), stop=False)
    assert len(seen.asked) == 61
    best, most, kept = seen.asked[0], -float("inf"), 0
    assert torch.allclose((best - x).abs(), torch.tensor(0.1))
    assert bool((best.std(2) < 1).all())
    sides = attack.sides(np.arange(1, 61), 12, 12).tolist()
    for query, point in enumerate(seen.asked):
        if query:
            rows, columns = (point != best)[0, 0].nonzero().unbind(1)
            side = sides[query - 1]
            if len(rows):
                assert int(rows.max() - rows.min()) < side
                assert int(columns.max() - columns.min()) < side
                changed = (point - x)[0, 0, rows, columns]
                assert torch.allclose(changed.abs(), torch.tensor(0.1))
        z = model(point)[0].detach()
        loss = float(z[[j for j in range(3) if j != int(y)]].max() - z[y])
        if loss > most:
            best, most, kept = point, loss, kept + 1
    assert torch.equal(outcome.points, best)
    assert 5 < kept < 60
    # A window wider than one pixel is repainted in one colour, and in each of several places.
    assert len({tuple(p.flatten().tolist()) for p in seen.asked}) > 30


def test_the_budget_comes_from_a_window_of_its_own(monkeypatch):
    """The two windows of a query are drawn apart, and are of one size."""
    x = torch.rand(2, 1, 12, 12, generator=torch.Generator().manual_seed(1))
    kind, seen = type(L2(1.0).at(x)), []
    repaint = kind.repaint_window

    def spy(region, u, windows, *others):
        seen.append(windows)
        return repaint(region, u, windows, *others)

    monkeypatch.setattr(kind, "repaint_window", spy)
    model = network(144, 20, 3)
    Square(steps=20, share=0.1)(model, x, model(x).argmax(1), L2(1.0), stop=False)
    assert len(seen) == 20
    for windows in seen:
        assert torch.equal(windows.painted.sum((1, 2, 3)), windows.side.square())
        assert torch.equal(windows.paying.sum((1, 2, 3)), windows.side.square())
    same = [bool((w.painted == w.paying).all()) for w in seen]
    assert sum(same) < 5
