"""Projections onto lp ball ∩ box against slow float64 references, and against their definition."""

from collections.abc import Callable
from fractions import Fraction
from itertools import combinations
from math import inf

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import brentq
from torch import Tensor

from hauberk.maths import (
    l1,
    l2,
    lp,
    project_ball,
    project_l0,
    project_l1,
    project_l2,
    project_linf,
    project_lp,
    project_simplex,
    projections,
)
from hauberk.maths import rowwise as blocks

Array = np.ndarray
PS = [1.0, 1.5, 2.0, 3.0, inf]
CUDA = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")


# --- references: one row at a time, float64 ---------------------------------------------------


def by_sorting(a: Array, p: float, eps: float, lo: Array, hi: Array) -> Array:
    """l1 and l2: find the linear piece among the sorted kinks, solve on it.

    Works on floats as well as on exact fractions, which no range of magnitudes troubles.
    """
    clipped = np.clip(a, lo, hi)
    if (np.abs(clipped) ** p).sum() <= eps**p:
        return clipped.astype(float)
    m, bound = np.abs(a), np.where(a > 0, hi, -lo)
    zero = m[0] * 0
    if p == 1:
        kinks = [m, np.maximum(m - bound, zero), [zero]]

        def value(t: float) -> float:
            return np.minimum(np.maximum(m - t, zero), bound).sum() - eps  # type: ignore
    else:
        a2, b2 = m**2, bound**2
        some = m > 0
        kinks = [np.minimum(b2[some] / a2[some], zero + 1), [zero, zero + 1]]

        def value(t: float) -> float:
            return eps**2 - np.minimum(t * a2, b2).sum()  # type: ignore

    x = sorted(set(np.concatenate(kinks).tolist()))
    left, right = 0, len(x) - 1
    while right - left > 1:
        middle = (left + right) // 2
        left, right = (middle, right) if value(x[middle]) > 0 else (left, middle)
    f0, f1 = value(x[left]), value(x[right])
    root = x[left] if f0 == f1 else x[left] + (x[right] - x[left]) * f0 / (f0 - f1)
    if p == 1:
        size = np.minimum(np.maximum(m - root, zero), bound)
    else:
        size = np.minimum(root * a2, b2).astype(float) ** 0.5
    return np.copysign(size.astype(float), a.astype(float))


def by_roots(a: Array, p: float, eps: float, lo: Array, hi: Array) -> Array:
    """1 < p < inf: Brent's method inside Brent's method."""
    clipped = np.clip(a, lo, hi)
    if np.linalg.norm(clipped, p) <= eps:
        return clipped

    def entry(m: float, mu: float) -> float:
        return 0.0 if m == 0 else brentq(lambda t: t + mu * p * t ** (p - 1) - m, 0, m, xtol=1e-300)

    def at(z: float) -> Array:
        sizes = np.array([entry(abs(v), np.exp(z)) for v in a])
        return np.minimum(sizes, np.abs(clipped))

    z = brentq(lambda z: np.linalg.norm(at(z), p) - eps, -60, 60, xtol=1e-14)
    return np.copysign(at(z), a)


def reference(
    a: Tensor, p: float, eps: float | Tensor, lo: Tensor, hi: Tensor, exact: bool = False
) -> Tensor:
    radii = torch.as_tensor(eps, dtype=torch.float64).expand(len(a)).tolist()
    rows = []
    for i, radius in enumerate(radii):
        row, low, high = (v[i].double().numpy().ravel() for v in (a, lo, hi))
        if exact:
            row, low, high = (np.array([Fraction(n) for n in v.tolist()]) for v in (row, low, high))
            radius = Fraction(radius)
        if p == inf:
            rows.append(np.clip(row, np.maximum(low, -radius), np.minimum(high, radius)))
        elif radius == 0:
            rows.append(np.zeros_like(row))
        else:
            rows.append((by_sorting if p in (1, 2) else by_roots)(row, p, radius, low, high))
    return torch.tensor(np.array(rows)).view(a.shape)


def norms(d: Tensor, p: float) -> Tensor:
    return torch.linalg.vector_norm(d.double().reshape(len(d), -1), p, dim=1)


def check_feasible(d: Tensor, p: float, eps: float | Tensor, lo: Tensor, hi: Tensor) -> None:
    """No tolerance anywhere."""
    assert (norms(d, p) <= torch.as_tensor(eps, dtype=torch.float64)).all()
    assert (d.double() >= lo.double()).all()
    assert (d.double() <= hi.double()).all()


def check(
    a: Tensor,
    p: float,
    eps: float | Tensor,
    lo: Tensor,
    hi: Tensor,
    tol: float,
    exact: bool = False,
) -> Tensor:
    d = project_lp(a, p, eps, lo, hi)
    assert d.dtype == a.dtype
    assert d.shape == a.shape
    check_feasible(d, p, eps, lo, hi)
    radii = torch.as_tensor(eps, dtype=torch.float64).expand(len(a))
    found = (d.double() - reference(a, p, eps, lo, hi, exact)).reshape(len(a), -1).norm(dim=1)
    assert (found <= tol * radii).all(), (found / radii).max()
    return d


def boxes(kind: str, shape: tuple[int, ...], seed: int = 0) -> tuple[Tensor, Tensor]:
    g = torch.Generator().manual_seed(seed)
    x = torch.rand(shape, generator=g)
    if kind == "edges":  # most pixels at an edge of the box, as in MNIST
        u = torch.rand(shape, generator=g)
        x = torch.where(u < 0.6, 0.0, torch.where(u > 0.8, 1.0, x))
    if kind == "free":
        return torch.full(shape, -inf), torch.full(shape, inf)
    return -x, 1 - x


def noise(kind: str, shape: tuple[int, ...], seed: int = 1) -> Tensor:
    g = torch.Generator().manual_seed(seed)
    a = torch.randn(shape, generator=g)
    u = torch.rand(shape, generator=g)
    return {
        "dense": a,
        "sparse": a * (u < 0.1),
        "heavy": a / u.clamp_min(1e-4) ** 2,
        "sign": a.sign(),
        "grid": (a * 255).round() / 255,
        "saturating": a * 1e4,
    }[kind]


# --- against the references -------------------------------------------------------------------


@pytest.mark.parametrize("box", ["inner", "edges", "free"])
@pytest.mark.parametrize("kind", ["dense", "sparse", "heavy", "sign", "grid", "saturating"])
@pytest.mark.parametrize("p", [1.0, 2.0, inf])
def test_matches_reference(p: float, kind: str, box: str) -> None:
    shape = (24, 150)
    lo, hi = boxes(box, shape)
    for scale in (0.02, 1.0, 30.0):
        a = noise(kind, shape) * scale
        for eps in (0.05, 1.0, 7.0):
            check(a, p, eps, lo, hi, 1e-6)
            # What the float64 reference itself is good for.
            fine = 1e-9 if p == 2 else 1e-12 + 1e-15 * float(a.abs().max()) / eps
            check(a.double(), p, eps, lo.double(), hi.double(), fine)


@pytest.mark.parametrize("box", ["inner", "edges", "free"])
@pytest.mark.parametrize("kind", ["dense", "sparse", "heavy", "grid"])
@pytest.mark.parametrize("p", [1.1, 1.5, 3.0, 8.0])
def test_general_p_matches_reference(p: float, kind: str, box: str) -> None:
    shape = (3, 10)
    lo, hi = boxes(box, shape)
    a = noise(kind, shape)
    for eps in (0.3, 2.0):
        check(a, p, eps, lo, hi, 1e-6)
        check(a.double(), p, eps, lo.double(), hi.double(), 1e-7)


@pytest.mark.parametrize("p", [1.0, 2.0])
@pytest.mark.parametrize("kind", ["dense", "heavy", "saturating"])
def test_general_p_near_special_p(p: float, kind: str) -> None:
    a, (lo, hi) = noise(kind, (4, 60)), boxes("edges", (4, 60))
    near = project_lp(a, p + 1e-7, 1.0, lo, hi)
    torch.testing.assert_close(near, project_lp(a, p, 1.0, lo, hi), atol=1e-5, rtol=0)


@pytest.mark.parametrize("p", [1.0, 2.0])
def test_wide_rows(p: float) -> None:
    """Large images: blocks of rows, a first guess from a sample, long sums."""
    for kind in ("dense", "sparse", "sign"):
        shape = (3, 3, 150, 151)
        lo, hi = boxes("edges", shape)
        check(noise(kind, shape) * 0.1, p, 40.0 if p == 1 else 2.0, lo, hi, 1e-6)


def test_many_blocks_with_radii_of_their_own() -> None:
    a, (lo, hi) = noise("dense", (130, 3, 32, 32)), boxes("edges", (130, 3, 32, 32))
    eps = torch.linspace(0, 40, 130)
    for p in (1.0, 2.0):
        check(a, p, eps, lo, hi, 1e-6)


@pytest.mark.parametrize("p", PS)
def test_radius_per_example_is_that_examples_radius(p: float) -> None:
    a, (lo, hi) = noise("dense", (5, 40)), boxes("inner", (5, 40))
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
    a, (lo, hi) = noise("dense", (6, 30)), boxes("edges", (6, 30))
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


# --- strictness, dtypes, shapes ---------------------------------------------------------------


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("p", PS)
def test_strictly_inside_in_every_dtype(p: float, dtype: torch.dtype) -> None:
    for seed, eps in enumerate((0.1, 1 / 3, 8 / 255, 3.0)):
        shape = (16, 1, 9, 11)
        lo, hi = (b.to(dtype) for b in boxes("edges", shape, seed))
        for kind in ("dense", "heavy", "sign"):
            a = noise(kind, shape, seed).to(dtype)
            d = project_lp(a, p, eps, lo, hi)
            assert d.dtype == dtype
            check_feasible(d, p, eps, lo, hi)
            least = {
                torch.bfloat16: 0.98,
                torch.float16: 0.99,
                torch.float32: 1 - 2e-6,
                torch.float64: 1 - 1e-12,
            }[dtype]
            clipped = norms(torch.clamp(a, lo, hi), p)
            goal = clipped.clamp(max=eps) * least
            assert (norms(d, p) >= goal).all(), (
                norms(d, p) / goal * least
            ).min() - 1  # and not much further inside than need be


@pytest.mark.parametrize("p", [1.0, 2.0])
def test_equal_entries_round_the_same_way(p: float) -> None:
    """Rounding errors of equal entries add up instead of cancelling."""
    for d in (3, 64, 784, 3072, 40_000):
        a = torch.full((2, d), 0.7)
        for eps in (0.1, 1.0, 10.0):
            out = project_lp(a, p, eps, -1.0, 1.0)
            check_feasible(out, p, eps, a - 1.7, a + 0.3)
            assert (norms(out, p) >= min(eps, 0.7 * d ** (1 / p)) * (1 - 5e-7)).all()
            assert (out == out[:, :1]).all()


def test_bounds_in_a_wider_dtype_and_as_floats() -> None:
    a = noise("dense", (8, 50))
    lo, hi = boxes("inner", (8, 50))
    lo, hi = lo.double() * 0.3, hi.double() * 0.3
    for p in PS:
        check_feasible(project_lp(a, p, 0.7, lo, hi), p, 0.7, lo, hi)
        narrow = project_lp(a, p, 0.7, -0.1, 0.3)
        wide = (
            torch.full_like(a, -0.1, dtype=torch.float64),
            torch.full_like(a, 0.3, dtype=torch.float64),
        )
        check_feasible(narrow, p, 0.7, *wide)


@pytest.mark.parametrize("p", [0.0, *PS])
def test_shapes(p: float) -> None:
    for shape in ((7,), (7, 1), (7, 3, 8, 8)):
        a, (lo, hi) = noise("dense", shape), boxes("inner", shape)
        d = project_ball(a, p, 1.0, lo, hi)
        flat = project_ball(a.reshape(7, -1), p, 1.0, lo.reshape(7, -1), hi.reshape(7, -1))
        assert d.shape == shape
        assert torch.equal(d.reshape(7, -1), flat)
    for shape in ((0,), (0, 5), (0, 3, 4, 4), (4, 0)):
        a = torch.zeros(shape)
        assert project_ball(a, p, 1.0, -1.0, 1.0).shape == shape
        assert project_ball(a, p, torch.ones(shape[0]), a - 1, a + 1).shape == shape


@pytest.mark.parametrize("p", [0.0, *PS])
def test_bounds_broadcast_and_inputs_survive(p: float) -> None:
    a = noise("dense", (6, 3, 4, 5)).transpose(1, 3)  # not contiguous either
    lo, hi = -torch.rand(4, 3, generator=torch.Generator().manual_seed(3)), torch.tensor(0.5)
    eps = torch.tensor([1.0, 2.0, 0.0, 3.0, 1.0, 9.0])
    kept = [v.clone() for v in (a, lo, hi, eps)]
    d = project_ball(a, p, eps, lo, hi)
    full = lo.expand(a.shape).contiguous(), hi.expand(a.shape).contiguous()
    assert torch.equal(d, project_ball(a.contiguous(), p, eps, *full))
    assert all(torch.equal(v, k) for v, k in zip((a, lo, hi, eps), kept, strict=True))
    inside = torch.zeros_like(a)
    assert project_ball(inside, p, eps, lo, hi).data_ptr() != inside.data_ptr()


@pytest.mark.parametrize("p", [0.0, *PS])
def test_results_are_not_overwritten_by_later_calls(p: float) -> None:
    a, (lo, hi) = noise("dense", (6, 30)), boxes("inner", (6, 30))
    first = project_ball(a, p, 1.0, lo, hi)
    kept = first.clone()
    project_ball(-a, p, 1.0, lo, hi)
    assert torch.equal(first, kept)
    with torch.inference_mode():
        project_ball(noise("dense", (64, 300)), p, 1.0, -1.0, 1.0)
    assert torch.equal(project_ball(a.requires_grad_(), p, 1.0, lo, hi), kept)


def test_one_sided_and_closed_boxes() -> None:
    a = noise("dense", (9, 40))
    zero, wide = torch.zeros_like(a), torch.full_like(a, inf)
    for p in PS:
        for lo, hi in ((zero, wide), (-wide, zero), (zero, zero), (zero, zero + 0.1)):
            if p in (1.0, 2.0, inf):
                check(a, p, 0.8, lo, hi, 1e-6)
            else:
                check_feasible(project_lp(a, p, 0.8, lo, hi), p, 0.8, lo, hi)


@pytest.mark.parametrize("p", [0.0, *PS])
def test_nan_is_zero(p: float) -> None:
    a, (lo, hi) = noise("dense", (4, 20)), boxes("inner", (4, 20))
    a[1, 3], a[2] = torch.nan, torch.nan
    d = project_ball(a, p, 1.0, lo, hi)
    assert torch.equal(d, project_ball(a.nan_to_num(0.0), p, 1.0, lo, hi))
    assert d.isfinite().all()
    assert (d[2] == 0).all()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("p", PS)
def test_infinite_entries(p: float, dtype: torch.dtype) -> None:
    a = torch.tensor(
        [[inf, 0.3, -inf, 0.2], [inf, inf, 0.1, -0.1], [0.1, inf, 0.1, 0.1]], dtype=dtype
    )
    lo, hi = torch.full_like(a, -0.5), torch.full_like(a, 0.4)
    for eps in (0.2, 0.6, 5.0):
        d = project_lp(a, p, eps, lo, hi)
        assert d.isfinite().all()
        check_feasible(d, p, eps, lo, hi)
        # Far away along these rays nothing changes.
        far = project_lp(torch.clamp(a, -1e6, 1e6), p, eps, lo, hi)
        if p < 3:
            torch.testing.assert_close(d, far, atol=1e-4, rtol=0)
    free = project_lp(a, p, 1.0, -inf, inf)
    assert free.isfinite().all()
    check_feasible(free, p, 1.0, torch.full_like(a, -inf), torch.full_like(a, inf))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("p", [1.0, 2.0])
@pytest.mark.parametrize("sight", ["looking", "blind"])
def test_huge_dynamic_range(
    p: float, dtype: torch.dtype, sight: str, request: pytest.FixtureRequest
) -> None:
    if sight == "blind":
        request.getfixturevalue("blind")
    g = torch.Generator().manual_seed(5)
    for seed in range(2):
        g.manual_seed(seed)
        exponents = torch.rand(12, 40, generator=g) * 60 - 30
        a = (10**exponents * torch.randn(12, 40, generator=g).sign()).to(dtype)
        lo = -(10 ** (torch.rand(12, 40, generator=g) * 60 - 30)).to(dtype)
        hi = (10 ** (torch.rand(12, 40, generator=g) * 60 - 30)).to(dtype)
        for eps in (1e-25, 1e-8, 1.0, 1e9, 1e25):
            check(a, p, eps, lo, hi, 1e-6, exact=True)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_l1_far_away_ties(dtype: torch.dtype) -> None:
    """The threshold is so large that its neighbours in floating point skip the whole ball."""
    a = torch.tensor([[1e30, 1e30, 1e30, 1.0], [1e30, 3.0, 2.5, 1.0]], dtype=dtype)
    hi = torch.tensor([[0.1, 0.5, 0.5, 0.5], [0.25, 2.0, 2.0, 0.5]], dtype=dtype)
    d = project_l1(a, 0.7, -hi, hi)
    best = torch.tensor([[0.1, 0.3, 0.3, 0.0], [0.25, 0.45, 0.0, 0.0]], dtype=dtype)
    torch.testing.assert_close(d, best, atol=1e-6, rtol=0)
    check_feasible(d, 1, 0.7, -hi, hi)


@pytest.mark.parametrize("p", PS)
def test_tiny_radii(p: float) -> None:
    a, (lo, hi) = noise("dense", (4, 30)), boxes("inner", (4, 30))
    for eps in (1e-10, 1e-20, 1e-35, 1e-42, 1e-200):
        for radius in (eps, torch.full((4,), eps, dtype=torch.float64)):
            check_feasible(project_lp(a, p, radius, lo, hi), p, eps, lo, hi)
    if p in (1.0, 2.0):
        check(a, p, 1e-20, lo, hi, 1e-6, exact=True)


# --- properties -------------------------------------------------------------------------------


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


# --- l0 ---------------------------------------------------------------------------------------


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
    a, (lo, hi) = torch.full((4, 3, 4), 0.5), boxes("inner", (4, 3, 4))
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


# --- simplex ----------------------------------------------------------------------------------


@settings(max_examples=100, deadline=None)
@given(st.lists(st.floats(-5, 5), min_size=1, max_size=9))
def test_simplex_against_a_root(b: list[float]) -> None:
    v = np.array(b)
    mu = brentq(
        lambda m: np.maximum(v - m, 0).sum() - 1, v.min() - 1 - 1 / len(v), v.max(), xtol=1e-15
    )
    w = project_simplex(torch.tensor(b, dtype=torch.float64))
    assert (w >= 0).all()
    np.testing.assert_allclose(w.numpy(), np.maximum(v - mu, 0), atol=1e-12)


def test_simplex_shapes_and_extremes() -> None:
    b = noise("dense", (4, 3, 6))
    w = project_simplex(b)
    assert w.shape == b.shape
    torch.testing.assert_close(w.sum(-1), torch.ones(4, 3))
    torch.testing.assert_close(project_simplex(w), w)
    torch.testing.assert_close(project_simplex(b + 7), w)
    assert project_simplex(torch.tensor([[1e30, 0.0, -1e30]])).tolist() == [[1.0, 0.0, 0.0]]
    assert project_simplex(torch.tensor([5.0])).tolist() == [1.0]
    assert project_simplex(torch.zeros(0, 3)).shape == (0, 3)
    assert project_simplex(b.bfloat16()).dtype == torch.bfloat16
    with pytest.raises(ValueError, match="K >= 1"):
        project_simplex(torch.zeros(3, 0))


# --- errors and devices -----------------------------------------------------------------------


def test_errors_say_what_to_do() -> None:
    a = torch.zeros(3, 4)
    with pytest.raises(ValueError, match="give p >= 1"):
        project_lp(a, 0.5, 1.0, -1.0, 1.0)
    with pytest.raises(ValueError, match="at least 0"):
        project_l1(a, -1.0, -1.0, 1.0)
    with pytest.raises(ValueError, match="at least 0"):
        project_l2(a, torch.tensor([1.0, torch.nan, 1.0]), -1.0, 1.0)
    with pytest.raises(ValueError, match=r"one number, or \(3,\)"):
        project_linf(a, torch.ones(2), -1.0, 1.0)
    with pytest.raises(ValueError, match="give floats"):
        project_l1(a.int(), 1.0, -1.0, 1.0)


@pytest.fixture
def blind(monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a device: the host may not look at any number."""
    for module in (blocks, l1, l2, lp, projections):
        monkeypatch.setattr(module, "looks", lambda x: False)


@pytest.mark.usefixtures("blind")
@pytest.mark.parametrize("kind", ["dense", "sparse", "heavy", "sign", "grid", "saturating"])
@pytest.mark.parametrize("p", [1.0, 2.0, inf])
def test_without_looking(p: float, kind: str) -> None:
    shape = (12, 150)
    for box in ("inner", "edges", "free"):
        lo, hi = boxes(box, shape)
        eps = torch.tensor([0.0, 0.05, 0.5, 1.0, 2.0, 3.0, 5.0, 8.0, 15.0, 30.0, 1e3, inf])
        check(noise(kind, shape), p, eps, lo, hi, 1e-6)


@pytest.mark.usefixtures("blind")
def test_without_looking_in_general() -> None:
    a, (lo, hi) = noise("dense", (5, 12)), boxes("edges", (5, 12))
    check(a, 1.5, torch.tensor([0.0, 0.3, 1.0, 5.0, inf]), lo, hi, 1e-6)
    assert torch.equal(
        project_l0(a, torch.tensor([0, 3, 12, 2, 40]), lo, hi) != 0,
        torch.stack(
            [
                project_l0(a[i : i + 1], k, lo[i : i + 1], hi[i : i + 1])[0] != 0
                for i, k in enumerate((0, 3, 12, 2, 40))
            ]
        ),
    )
    test_l1_far_away_ties(torch.float32)


@CUDA
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
@pytest.mark.parametrize("p", [0.0, *PS])
def test_cuda_agrees(p: float, dtype: torch.dtype) -> None:
    a, (lo, hi) = noise("dense", (9, 3, 20, 20)), boxes("edges", (9, 3, 20, 20))
    a, lo, hi = (v.to(dtype) for v in (a, lo, hi))
    eps = torch.tensor([0.0, 0.1, 0.5, 1.0, 2.0, 5.0, 20.0, 100.0, inf])
    here = project_ball(a, p, eps, lo, hi)
    there = project_ball(*(a.cuda(), p, eps.cuda(), lo.cuda(), hi.cuda()))
    assert there.is_cuda
    if p > 0:
        check_feasible(there.cpu(), p, eps, lo, hi)
        torch.testing.assert_close(
            there.cpu(), here, atol=1e-2 if dtype == torch.bfloat16 else 1e-5, rtol=1e-5
        )
