"""Projections onto lp ball ∩ box against slow float64 references, and against their definition."""

from collections.abc import Callable
from itertools import combinations
from math import inf

import pytest
import torch
from helpers.projections import PS, bounds, check, check_feasible, noise, norms
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from hauberk.maths import (
    project_ball,
    project_l0,
    project_lp,
)


@pytest.mark.parametrize("box", ["inner", "edges", "free"])
@pytest.mark.parametrize("kind", ["dense", "sparse", "heavy", "sign", "grid", "saturating"])
@pytest.mark.parametrize("p", [1.0, 2.0, inf])
def test_matches_reference(p: float, kind: str, box: str) -> None:
    shape = (24, 150)
    lo, hi = bounds(box, shape)
    for scale in (0.02, 1.0, 30.0):
        a = noise(kind, shape) * scale
        for eps in (0.05, 1.0, 7.0):
            check(a, p, eps, lo, hi, 1e-6)
            # What the float64 reference itself is good for.
            fine = 1e-9 if p == 2 else 1e-12 + 1e-15 * float(a.abs().max()) / eps
            check(a.double(), p, eps, lo.double(), hi.double(), fine)


@pytest.mark.parametrize("p", [1.0, 2.0])
def test_wide_rows(p: float) -> None:
    """Large images: blocks of rows, a first guess from a sample, long sums."""
    for kind in ("dense", "sparse", "sign"):
        shape = (3, 3, 150, 151)
        lo, hi = bounds("edges", shape)
        check(noise(kind, shape) * 0.1, p, 40.0 if p == 1 else 2.0, lo, hi, 1e-6)


@pytest.mark.parametrize("p", PS)
def test_radius_per_example_is_that_examples_radius(p: float) -> None:
    a, (lo, hi) = noise("dense", (5, 40)), bounds("inner", (5, 40))
    eps = torch.tensor([0.0, 0.1, 1.0, 5.0, inf])
    d = project_lp(a, p, eps, lo, hi)
    check_feasible(d, p, eps, lo, hi)
    for i in range(5):
        one = project_lp(a[i : i + 1], p, eps[i].item(), lo[i : i + 1], hi[i : i + 1])
        torch.testing.assert_close(d[i : i + 1], one, rtol=1e-6, atol=1e-7)
    assert (d[0] == 0).all()
    assert torch.equal(d[4], torch.clamp(a, lo, hi)[4])


@pytest.mark.parametrize("p", PS)
def test_clip_is_the_answer_where_it_is_inside(p: float) -> None:
    a, (lo, hi) = noise("dense", (6, 30)), bounds("edges", (6, 30))
    clipped = torch.clamp(a, lo, hi)
    for eps in (inf, 1e3):
        assert torch.equal(project_lp(a, p, eps, lo, hi), clipped)
    # One row inside, one not: the first must not suffer from the second.
    eps = torch.tensor([1e3] + [0.1] * 5)
    assert torch.equal(project_lp(a, p, eps, lo, hi)[0], clipped[0])


def test_ball_then_clip_is_not_the_projection() -> None:
    a = torch.tensor([[2.0, 2.0]], dtype=torch.float64)
    lo = torch.zeros(1, 2, dtype=torch.float64)
    hi = torch.tensor([[0.1, 1.0]], dtype=torch.float64)
    for p, best in ((1.0, [0.1, 0.9]), (2.0, [0.1, 0.99**0.5])):
        free = torch.full_like(a, inf)
        naive = torch.clamp(project_lp(a, p, 1.0, -free, free), lo, hi)
        d = project_lp(a, p, 1.0, lo, hi)
        torch.testing.assert_close(d, torch.tensor([best], dtype=torch.float64))
        assert (d - a).norm() < (naive - a).norm() - 0.1


def test_one_sided_and_closed_boxes() -> None:
    a = noise("dense", (9, 40))
    zero, wide = torch.zeros_like(a), torch.full_like(a, inf)
    for p in PS:
        for lo, hi in ((zero, wide), (-wide, zero), (zero, zero), (zero, zero + 0.1)):
            if p in (1.0, 2.0, inf):
                check(a, p, 0.8, lo, hi, 1e-6)
            else:
                check_feasible(project_lp(a, p, 0.8, lo, hi), p, 0.8, lo, hi)


@st.composite
def problems(draw: Callable[..., object]) -> tuple[Tensor, float, Tensor, Tensor, Tensor]:
    n, d = draw(st.integers(1, 4)), draw(st.integers(1, 12))  # type: ignore[call-overload]
    p = draw(st.sampled_from([1.0, 1.5, 2.0, 3.0, inf]))
    number = st.floats(-4, 4, width=32, allow_subnormal=False)

    def tensor(numbers: object) -> Tensor:
        rows = draw(st.lists(st.lists(numbers, min_size=d, max_size=d), min_size=n, max_size=n))
        return torch.tensor(rows, dtype=torch.float32)

    bound = st.sampled_from([0.0, 0.0, 0.1, 0.5, 1.0, 3.0]) | st.floats(0, 2, width=32)
    eps = draw(st.lists(st.sampled_from([0.0, 0.3, 1.0, 2.5, inf]), min_size=n, max_size=n))
    return tensor(number), p, torch.tensor(eps), -tensor(bound), tensor(bound)  # type: ignore


@settings(max_examples=250, deadline=None)
@given(problems(), st.integers(0, 2**31))
def test_projection_properties(problem: tuple, seed: int) -> None:
    a, p, eps, lo, hi = problem
    d = project_lp(a, p, eps, lo, hi)
    check_feasible(d, p, eps, lo, hi)
    scale = a.norm(dim=1).double().clamp(min=1)
    # Idempotent within rounding.
    again = project_lp(d, p, eps, lo, hi)
    assert ((again - d).norm(dim=1) <= 2e-6 * scale).all()
    # Non-expansive.
    g = torch.Generator().manual_seed(seed)
    other = a + torch.randn(a.shape, generator=g)
    moved = (project_lp(other, p, eps, lo, hi) - d).norm(dim=1)
    assert (moved <= (other - a).norm(dim=1) + 2e-6 * scale).all()
    # Optimal: no feasible point lies on a's side of the tangent plane.
    for _ in range(5):
        z = torch.randn(a.shape, generator=g).mul(3).clamp(lo, hi).double()
        z = z * (eps / norms(z, p).clamp_min(1e-30)).clamp(max=1).view(-1, 1)
        slope = ((a.double() - d.double()) * (z - d.double())).sum(1)
        assert (slope <= 5e-6 * scale**2).all()


def brute_force_l0(a: Tensor, k: int, lo: Tensor, hi: Tensor) -> Tensor:
    """Least squared distance over all supports, (B,)."""
    c = torch.clamp(a, lo, hi)
    supports = [torch.tensor(s) for s in combinations(range(a.shape[1]), k)]
    best = torch.full((len(a),), inf, dtype=a.dtype)
    for s in supports:
        d = torch.zeros_like(a)
        d[:, s] = c[:, s]
        best = torch.minimum(best, (d - a).square().sum(1))
    return best


def test_l0_against_all_supports_and_wrong_keys() -> None:
    g = torch.Generator().manual_seed(0)
    a = torch.randn(300, 5, generator=g, dtype=torch.float64) * 1.5
    x = torch.rand(300, 5, generator=g, dtype=torch.float64)
    lo, hi = -x, 1 - x
    best = brute_force_l0(a, 2, lo, hi)
    d = project_l0(a, 2, lo, hi)
    assert ((d != 0).sum(1) <= 2).all()
    assert ((d >= lo) & (d <= hi)).all()
    torch.testing.assert_close((d - a).square().sum(1), best)
    c = torch.clamp(a, lo, hi)
    for key in (a.abs(), c.abs()):
        index = key.topk(2, 1).indices
        wrong = torch.zeros_like(a).scatter(1, index, c.gather(1, index))
        worse = (wrong - a).square().sum(1) > best + 1e-9
        assert worse.double().mean() > 0.2


def test_l0_counts() -> None:
    a, (lo, hi) = torch.full((4, 3, 4), 0.5), bounds("inner", (4, 3, 4))
    a[3] = 0
    for k in (0, 1, 5, 12, 40):
        d = project_l0(torch.full((2, 12), 0.5), k, -1.0, 1.0)
        assert ((d != 0).sum(1) == min(k, 12)).all()  # ties: exactly k
    ks = torch.tensor([0, 3, 12, 2])
    d = project_l0(a, ks, lo, hi)
    assert (d != 0).flatten(1).sum(1).tolist() == [0, 3, 12, 0]
    kept = d != 0
    assert torch.equal(d[kept], torch.clamp(a, lo, hi)[kept])
    assert project_l0(a.bfloat16(), 2, -1.0, 1.0).dtype == torch.bfloat16
    big = torch.tensor([[inf, 1.0, -inf, torch.nan]])
    assert project_l0(big, 2, -0.5, 0.5).tolist() == [[0.5, 0.0, -0.5, 0.0]]
    assert project_l0(big, 1.9, -0.5, 0.5).count_nonzero() == 1  # part of an entry is none


@pytest.mark.parametrize("eps", [torch.tensor([1.9, 2.0, 0.5]), torch.tensor([1.0, 2.0, 0.0])])
def test_a_part_of_a_feature_is_none(eps: Tensor) -> None:
    a = torch.tensor([[3.0, 1.0, -2.0]]).expand(3, -1)
    wanted = torch.tensor([[3.0, 0.0, 0.0], [3.0, 0.0, -2.0], [0.0, 0.0, 0.0]])
    assert torch.equal(project_ball(a, 0, eps, -9.0, 9.0), wanted)
