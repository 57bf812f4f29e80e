"""Steepest steps."""

from math import inf

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from hauberk.maths.norms import norm
from hauberk.maths.steps import (
    kth_largest,
    movable,
    share_from,
    steepest_l1,
    steepest_l2,
    steepest_linf,
    step_along,
    unit_lp,
)

# The steepest direction of each norm, and the exponent of the dual norm.
WAYS = [
    ("linf", steepest_linf, inf, 1),
    ("l2", steepest_l2, 2, 2),
    ("l1", steepest_l1, 1, inf),
]
ways = pytest.mark.parametrize(("way", "p", "q"), [w[1:] for w in WAYS], ids=[w[0] for w in WAYS])


def gradient(*shape, seed=0, dtype=torch.float64):
    rng = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=rng, dtype=torch.float64).to(dtype)


@ways
@pytest.mark.parametrize("shape", [(1,), (7,), (3, 4, 4), (2, 3, 2, 2)])
def test_reaches_the_dual_norm(way, p, q, shape):
    g = gradient(6, *shape)
    v = way(g)
    assert v.shape == g.shape
    torch.testing.assert_close(norm(v, p), torch.ones(6, dtype=torch.float64))
    torch.testing.assert_close((g * v).flatten(1).sum(1), norm(g, q))


@ways
def test_no_random_direction_climbs_faster(way, p, q):
    g = gradient(1, 5)
    best = (g * way(g)).sum()
    other = gradient(20000, 5, seed=1)
    other = torch.cat([other, g + 0.01 * other])
    assert (other @ g[0] / norm(other, p)).max() <= best * (1 + 1e-12)


@ways
@settings(max_examples=40, deadline=None)
@given(rows=st.lists(st.floats(-1e3, 1e3, width=32), min_size=1, max_size=12))
def test_length_one_or_zero(way, p, q, rows):
    v = way(torch.tensor([rows]))
    assert v.isfinite().all()
    length = float(norm(v.double(), p))
    assert length == pytest.approx(1 if any(rows) else 0, abs=1e-5)


@ways
def test_zero_gradient_gives_zero_direction(way, p, q):
    assert torch.equal(way(torch.zeros(3, 2, 5)), torch.zeros(3, 2, 5))
    assert way(torch.zeros(0, 2, 5)).shape == (0, 2, 5)
    # ... and leaves the rows beside it alone
    g = gradient(3, 6)
    g[1] = 0
    assert torch.equal(way(g)[[0, 2]], way(g[[0, 2]]))
    assert not way(g)[1].any()


@ways
@pytest.mark.parametrize("size", [1e-30, 1e-40, 3e-45, 1e30, 3e37])
def test_tiny_and_huge_gradients_keep_their_direction(way, p, q, size):
    g = torch.tensor([[3.0, -1.0, 0.0, 2.0], [1.0, 1.0, -3.0, 0.0]])
    scaled = (g * size).float()
    assert scaled[0, 0] > 0
    v = way(scaled)
    torch.testing.assert_close(norm(v, p), torch.ones(2), rtol=1e-4, atol=0)
    tolerance = 1e-4 if size >= 1e-30 else 0.02
    if size >= 1e-40:
        torch.testing.assert_close(v, way(g), rtol=tolerance, atol=tolerance)
    # one such row does not spoil another
    mixed = torch.stack([scaled[0], g[1]])
    torch.testing.assert_close(way(mixed)[1], way(g)[1])


@pytest.mark.parametrize("p", [1.1, 1.5, 3.0, 20.0])
@pytest.mark.parametrize("size", [1.0, 1e-40, 3e37])
def test_the_gradient_itself_of_length_one(p, size):
    g = torch.tensor([[3.0, -1.0, 0.0, 2.0], [0.0, 0.0, 0.0, 0.0]]) * size
    v = unit_lp(g, p)
    torch.testing.assert_close(norm(v, p), torch.tensor([1.0, 0.0]), rtol=1e-4, atol=0)
    cosine = torch.nn.functional.cosine_similarity(v[0].double(), torch.tensor([3.0, -1, 0, 2]), 0)
    assert float(cosine) == pytest.approx(1, abs=1e-4)
    assert unit_lp(g[:0], p).shape == (0, 4)


@pytest.mark.parametrize("k", [1, 2, 3, 5])
def test_l1_moves_the_k_largest_equally(k):
    g = torch.tensor([[0.1, -5.0, 3.0, -2.0, 0.4]])
    v = steepest_l1(g, k)
    largest = g.abs().topk(k).indices[0]
    expected = torch.zeros(1, 5)
    expected[0, largest] = g[0, largest].sign() / k
    assert torch.equal(v, expected)
    assert torch.equal(steepest_l1(g, torch.tensor([k])), expected)


def test_l1_with_a_k_of_its_own_for_each_row():
    g = gradient(4, 3, 5, dtype=torch.float32)
    k = torch.tensor([1.0, 4.0, 15.0, 99.0])
    v = steepest_l1(g, k)
    assert (v != 0).flatten(1).sum(1).tolist() == [1, 4, 15, 15]
    for i in range(4):
        assert torch.equal(v[i : i + 1], steepest_l1(g[i : i + 1], min(int(k[i]), 15)))


def test_l1_keeps_ties_and_never_moves_zeros():
    g = torch.tensor([[1.0, -1.0, 1.0, 0.0, 0.0]])
    third = torch.tensor([[1 / 3, -1 / 3, 1 / 3, 0.0, 0.0]])
    for k in (1, 2, 3, 4, 5):
        torch.testing.assert_close(steepest_l1(g, k), third)


def test_kth_largest():
    rows = gradient(6, 9, dtype=torch.float32)
    ordered = rows.sort(dim=1, descending=True).values
    for k in range(1, 10):
        assert torch.equal(kth_largest(rows, k), ordered[:, k - 1 : k])
    k = torch.tensor([0, 1, 4, 8, 9, 40])
    column = (k.clamp(1, 9) - 1).unsqueeze(1)
    assert torch.equal(kth_largest(rows, k), ordered.gather(1, column))


def test_movable_stops_at_the_box():
    u = torch.tensor([[0.0, 0.0, 1.0, 1.0, 0.5, 0.5, 0.999]])
    g = torch.tensor([[-1.0, 2.0, 3.0, -4.0, 5.0, 0.0, 1e-40]])
    assert movable(u, g, 0, 1).tolist() == [[0.0, 2.0, 0.0, -4.0, 5.0, 0.0, g[0, -1]]]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_movable_in_a_box_of_its_own_per_feature(dtype):
    lo, hi = torch.tensor([-1.0, 0.0, 3.0]), torch.tensor([255.0, 1e-6, 3.0])
    u = torch.tensor([[-1.0, 0.0, 3.0], [255.0, 1e-6, 3.0], [10.0, 5e-7, 3.0]], dtype=dtype)
    up, down = torch.ones(3, 3, dtype=dtype), -torch.ones(3, 3, dtype=dtype)
    lo, hi = lo.to(dtype), hi.to(dtype)
    u = u.clamp(lo, hi)
    assert movable(u, up, lo, hi).tolist() == [[1, 1, 0], [0, 0, 0], [1, 1, 0]]
    assert movable(u, down, lo, hi).abs().tolist() == [[0, 0, 0], [1, 1, 0], [1, 1, 0]]


def test_movable_in_no_box():
    g = gradient(2, 4)
    assert torch.equal(movable(gradient(2, 4, seed=1), g, -inf, inf), g)


def test_step_along():
    u, way = torch.zeros(2, 2, 3), torch.ones(2, 2, 3)
    assert torch.equal(step_along(u, way, 0.5), torch.full((2, 2, 3), 0.5))
    found = step_along(u, way, torch.tensor([1.0, -2.0]))
    assert found[0].eq(1).all()
    assert found[1].eq(-2).all()
    assert not u.any()


@pytest.mark.parametrize("features", [1, 2, 5, 11, 784, 3072])
def test_the_share_from_a_percentile_is_numpys(features):
    """As many as there are sizes at or above ``np.percentile``, which interpolates."""
    sizes = np.random.default_rng(0).random(features)
    low = [0.0, 0.005, 0.05, 0.1, 0.15, 0.2, 0.5, 0.99, 1.0]
    wanted = [int((sizes >= np.percentile(sizes, 100 * (1 - s))).sum()) for s in low]
    for dtype in (torch.float32, torch.float64):
        share = share_from(torch.tensor(low, dtype=dtype), features)
        assert (share * features).round().tolist() == wanted


@pytest.mark.parametrize("k", [-1, 0, 1, 5, 9])
def test_the_rank_is_held_to_those_that_there_are(k):
    rows = torch.tensor([[1.0, 4.0, 3.0, 2.0, 5.0]])
    wanted = float(6 - min(5, max(1, k)))
    assert kth_largest(rows, k).tolist() == [[wanted]]
    assert kth_largest(rows, torch.tensor([k])).tolist() == [[wanted]]
