"""The projection onto the l1 ball, at its hardest."""

import pytest
import torch
from helpers.projections import bounds, check_feasible, noise

from hauberk.maths import project_l1


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_l1_far_away_ties(dtype: torch.dtype) -> None:
    """The threshold is so large that its neighbours in floating point skip the whole ball."""
    a = torch.tensor([[1e30, 1e30, 1e30, 1.0], [1e30, 3.0, 2.5, 1.0]], dtype=dtype)
    hi = torch.tensor([[0.1, 0.5, 0.5, 0.5], [0.25, 2.0, 2.0, 0.5]], dtype=dtype)
    d = project_l1(a, 0.7, -hi, hi)
    best = torch.tensor([[0.1, 0.3, 0.3, 0.0], [0.25, 0.45, 0.0, 0.0]], dtype=dtype)
    torch.testing.assert_close(d, best, atol=1e-6, rtol=0)
    check_feasible(d, 1, 0.7, -hi, hi)


@pytest.mark.usefixtures("blind")
def test_l1_far_away_ties_without_looking():
    test_l1_far_away_ties(torch.float32)


def test_the_published_form():
    """A shrunken and clipped input, with one threshold for all entries (Wang et al. 2021)."""
    a, (lo, hi) = noise("dense", (6, 30)).double(), bounds("edges", (6, 30))
    d = project_l1(a, 1.0, lo.double(), hi.double())
    for x, y, low, high in zip(a, d, lo.double(), hi.double(), strict=True):
        free = (y != 0) & (y > low + 1e-9) & (y < high - 1e-9)
        mu = (x - y)[free].abs()
        assert mu.max() - mu.min() < 1e-9
        expected = (x.sign() * (x.abs() - mu.mean()).clamp_min(0)).clamp(low, high)
        torch.testing.assert_close(y, expected, atol=1e-9, rtol=0)
