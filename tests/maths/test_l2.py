"""The projection onto the l2 ball."""

from math import inf

import pytest
import torch
from helpers.projections import bounds, check, check_feasible, noise, norms

from hauberk.maths import project_l2


def test_the_published_form():
    """A scaled and clipped input, with one factor for all entries (Wang et al. 2021)."""
    a, (lo, hi) = noise("dense", (6, 30)).double(), bounds("edges", (6, 30))
    d = project_l2(a, 1.0, lo.double(), hi.double())
    for x, y, low, high in zip(a, d, lo.double(), hi.double(), strict=True):
        free = (x != 0) & (y > low + 1e-9) & (y < high - 1e-9)
        factor = (y / x)[free]
        assert factor.max() - factor.min() < 1e-9
        torch.testing.assert_close(y, (x * factor.mean()).clamp(low, high), atol=1e-9, rtol=0)


@pytest.mark.parametrize("size", [1e-20, 1e-3, 1e20])
def test_rows_of_any_size_reach_the_sphere(size):
    a = noise("heavy", (5, 40)) * size
    d = project_l2(a, 0.5 * size, -inf, inf)
    check_feasible(d, 2, 0.5 * size, torch.full_like(a, -inf), torch.full_like(a, inf))
    assert (norms(d, 2) >= 0.5 * size * (1 - 1e-6)).all()
    cosine = torch.nn.functional.cosine_similarity(a.double() / size, d.double() / size)
    assert (cosine > 1 - 1e-6).all()


@pytest.mark.parametrize("share", [1, 5])
@pytest.mark.parametrize("room", [1e-6, 1e-3])
def test_few_small_entries_that_move_beside_many_at_the_edge(room, share):
    """What the edge leaves of the radius is found by the small ones alone."""
    small = torch.rand(4, share, generator=torch.Generator().manual_seed(0)) * 0.1
    a = torch.cat((torch.full((4, 784), 5.0), small), 1)
    hi = torch.cat((torch.full((784,), (1 - room) / 784**0.5), torch.full((share,), 10.0)))
    hi = hi.expand(4, -1)
    check(a, 2, 1.0, -hi, hi, 1e-6)
