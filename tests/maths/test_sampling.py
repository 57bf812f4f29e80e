"""Random points of lp balls."""

import pytest
import torch

from hauberk.maths.norms import norm
from hauberk.maths.rng import Draws
from hauberk.maths.sampling import ball_point

N = 40_000


def points(p, d, dtype=torch.float64, n=N):
    return ball_point(Draws.of(0, torch.arange(n)), 0, (d,), p, dtype)


@pytest.mark.parametrize("d", [2, 3])
@pytest.mark.parametrize("p", [1, 1.5, 2, 3, 20])
def test_uniform_in_the_ball(p, d):
    x = points(p, d)
    radius = norm(x, p)
    assert (radius < 1).all()
    for t in (0.25, 0.5, 0.75, 0.9):
        share = float((radius <= t).double().mean())
        assert share == pytest.approx(t**d, abs=0.011)  # four standard errors
    # Every sign equally often.
    orthant = ((x > 0) * 2 ** torch.arange(d)).sum(1)
    shares = torch.bincount(orthant, minlength=2**d) / N
    torch.testing.assert_close(shares, torch.full((2**d,), 2.0**-d), atol=0.011, rtol=0)
    # The direction tells nothing of the radius: |x_0| is the largest in 1/d of each shell.
    cone = x.abs().argmax(1) == 0
    for inner in (True, False):
        shell = (radius < 0.7) == inner
        assert float(cone[shell].double().mean()) == pytest.approx(1 / d, abs=0.015)


@pytest.mark.parametrize("p", [1, 1.5, 2, 3])
def test_uniform_by_rejection(p):
    x = points(p, 2)
    square = torch.rand(N, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    kept = (square * 2 - 1)[norm(square * 2 - 1, p) <= 1]
    for t in (0.2, 0.4, 0.6, 0.8):
        mine, theirs = ((v.abs() < t).double().mean() for v in (x, kept))
        assert float(mine) == pytest.approx(float(theirs), abs=0.01)
        mine, theirs = ((v.abs() < t).all(1).double().mean() for v in (x, kept))
        assert float(mine) == pytest.approx(float(theirs), abs=0.015)


@pytest.mark.parametrize("p", [1, 1.1, 2, 3, 50, 1000])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_large_dimensions(p, dtype):
    x = ball_point(Draws.of(0, torch.arange(50)), 3, (3, 16, 16), p, dtype)
    assert x.shape == (50, 3, 16, 16)
    assert x.dtype == dtype
    radius = norm(x.double(), p)
    # P(r <= 0.98) = 0.98^768
    assert (radius > 0.98).all()
    assert (radius <= 1 + 1e-5).all()


def test_depends_on_the_example_alone():
    ids = torch.arange(6)
    for p in (1, 1.5, 2):
        whole = ball_point(Draws.of(0, ids), 0, (4,), p, torch.float32)
        part = ball_point(Draws.of(0, ids[[3, 1]]), 0, (4,), p, torch.float32)
        assert torch.equal(part, whole[[3, 1]])
