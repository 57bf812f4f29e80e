"""What all projections share: shapes, dtypes, blocks, strictness, and hosts that must not look."""

from math import inf

import pytest
import torch
from helpers.projections import PS, bounds, check, check_feasible, noise, norms

from hauberk.maths import project_ball, project_l0, project_l1, project_l2, project_linf, project_lp
from hauberk.maths.rowwise import ReadyRadii, toward_zero

CUDA = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")


def test_many_blocks_with_radii_of_their_own() -> None:
    a, (lo, hi) = noise("dense", (130, 3, 32, 32)), bounds("edges", (130, 3, 32, 32))
    eps = torch.linspace(0, 40, 130)
    for p in (1.0, 2.0):
        check(a, p, eps, lo, hi, 1e-6)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("p", PS)
def test_strictly_inside_in_every_dtype(p: float, dtype: torch.dtype) -> None:
    for seed, eps in enumerate((0.1, 1 / 3, 8 / 255, 3.0)):
        shape = (16, 1, 9, 11)
        lo, hi = (b.to(dtype) for b in bounds("edges", shape, seed))
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
    lo, hi = bounds("inner", (8, 50))
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
        a, (lo, hi) = noise("dense", shape), bounds("inner", shape)
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
    a, (lo, hi) = noise("dense", (6, 30)), bounds("inner", (6, 30))
    first = project_ball(a, p, 1.0, lo, hi)
    kept = first.clone()
    project_ball(-a, p, 1.0, lo, hi)
    assert torch.equal(first, kept)
    with torch.inference_mode():
        project_ball(noise("dense", (64, 300)), p, 1.0, -1.0, 1.0)
    assert torch.equal(project_ball(a.requires_grad_(), p, 1.0, lo, hi), kept)


@pytest.mark.parametrize("p", [0.0, *PS])
def test_nan_is_zero(p: float) -> None:
    a, (lo, hi) = noise("dense", (4, 20)), bounds("inner", (4, 20))
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


@pytest.mark.parametrize("p", PS)
def test_tiny_radii(p: float) -> None:
    a, (lo, hi) = noise("dense", (4, 30)), bounds("inner", (4, 30))
    for eps in (1e-10, 1e-20, 1e-35, 1e-42, 1e-200):
        for radius in (eps, torch.full((4,), eps, dtype=torch.float64)):
            check_feasible(project_lp(a, p, radius, lo, hi), p, eps, lo, hi)
    if p in (1.0, 2.0):
        check(a, p, 1e-20, lo, hi, 1e-6, exact=True)


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


@pytest.mark.usefixtures("blind")
@pytest.mark.parametrize("kind", ["dense", "sparse", "heavy", "sign", "grid", "saturating"])
@pytest.mark.parametrize("p", [1.0, 2.0, inf])
def test_without_looking(p: float, kind: str) -> None:
    shape = (12, 150)
    for box in ("inner", "edges", "free"):
        lo, hi = bounds(box, shape)
        eps = torch.tensor([0.0, 0.05, 0.5, 1.0, 2.0, 3.0, 5.0, 8.0, 15.0, 30.0, 1e3, inf])
        check(noise(kind, shape), p, eps, lo, hi, 1e-6)


@pytest.mark.usefixtures("blind")
def test_without_looking_in_general() -> None:
    a, (lo, hi) = noise("dense", (5, 12)), bounds("edges", (5, 12))
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


@CUDA
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
@pytest.mark.parametrize("p", [0.0, *PS])
def test_cuda_agrees(p: float, dtype: torch.dtype) -> None:
    a, (lo, hi) = noise("dense", (9, 3, 20, 20)), bounds("edges", (9, 3, 20, 20))
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


def test_radii_made_ready_stand_for_the_radii():
    a, (lo, hi) = noise("dense", (5, 40)), bounds("inner", (5, 40))
    eps = torch.tensor([0.0, 0.1, 1.0, 5.0, inf])
    ready = ReadyRadii(eps, 5, a.device)
    for p in PS:
        for dtype in (torch.float32, torch.float64):
            given = [v.to(dtype) for v in (a, lo, hi)]
            usual = project_lp(given[0], p, eps, *given[1:])
            assert torch.equal(project_lp(given[0], p, ready, *given[1:]), usual)


def test_rounding_toward_zero_crosses_no_bound():
    x = torch.tensor([0.1, -0.1, 1 / 3, 0.0, 1e-50], dtype=torch.float64)
    for dtype in (torch.float32, torch.float16, torch.bfloat16):
        y = toward_zero(x, dtype)
        assert y.dtype == dtype
        assert (y.double().abs() <= x.abs()).all()
        assert ((y.double() - x).abs() <= 0.01 * x.abs() + 1e-45).all()
