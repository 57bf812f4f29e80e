"""Slow float64 references of the projections, problems for them, and what must hold of a result."""

from fractions import Fraction
from math import inf

import numpy as np
import torch
from scipy.optimize import brentq
from torch import Tensor

from hauberk.maths import project_lp

Array = np.ndarray
PS = [1.0, 1.5, 2.0, 3.0, inf]


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


def bounds(kind: str, shape: tuple[int, ...], seed: int = 0) -> tuple[Tensor, Tensor]:
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
