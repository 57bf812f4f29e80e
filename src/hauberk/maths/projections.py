"""Exact Euclidean projections onto lp-ball ∩ box, per example.

Everywhere, ``a`` (B, ...) is a perturbation, ``eps`` a number or a tensor (B,) of radii (0 and inf
allowed), and ``lo <= 0 <= hi`` are the box around the clean input: numbers or tensors that
broadcast to ``a``. The result has the dtype and device of ``a``, lies inside both sets strictly (its
norm in float64 never exceeds ``eps``), and is a fresh tensor. NaN entries are read as 0.

Source: Wang et al. 2021, Proposition 1, for p = 0, 1, 2, inf. Projecting on the ball and clipping
afterwards is not this projection: it leaves part of the radius unused.
"""

from math import inf

import torch
from torch import Tensor

from hauberk.maths.l1 import solve_l1
from hauberk.maths.l2 import solve_l2
from hauberk.maths.lp import solve_lp

Bound = float | Tensor


def project_ball(a: Tensor, p: float, eps: Bound, lo: Bound, hi: Bound) -> Tensor:
    """Projection for p = 0, any p >= 1, or inf.

    Raises:
        ValueError: for p below 0 or between 0 and 1.
    """
    if p == inf:
        return project_linf(a, eps, lo, hi)
    if p == 0:
        return project_l0(a, eps, lo, hi)
    if not p >= 1:
        raise ValueError(f"p is {p}: it must be 0, at least 1, or inf")
    return project_lp(a, p, eps, lo, hi)


@torch.no_grad()
def project_linf(a: Tensor, eps: Bound, lo: Bound, hi: Bound) -> Tensor:
    """Clipping to ``[max(lo, -eps), min(hi, eps)]``."""
    low, high = _bounds(a, lo, hi)
    reach = _radius(a, eps).view(-1, *[1] * (a.dim() - 1))
    near = reach.to(a.dtype)
    # The radius in the dtype of the result, rounded towards 0.
    near = torch.where(near.double() > reach, near.nextafter(torch.zeros_like(near)), near)
    return a.nan_to_num(0.0, inf, -inf).clamp_(torch.maximum(low, -near), torch.minimum(high, near))


def project_l2(a: Tensor, eps: Bound, lo: Bound, hi: Bound) -> Tensor:
    """``clip(a / (1 + mu))`` with the least ``mu >= 0`` that reaches the ball."""
    return project_lp(a, 2.0, eps, lo, hi)


def project_l1(a: Tensor, eps: Bound, lo: Bound, hi: Bound) -> Tensor:
    """``clip(sign(a) max(|a| - mu, 0))`` with the least ``mu >= 0`` that reaches the ball."""
    return project_lp(a, 1.0, eps, lo, hi)


@torch.no_grad()
def project_lp(a: Tensor, p: float, eps: Bound, lo: Bound, hi: Bound) -> Tensor:
    """Projection for any finite p >= 1; ``t + mu p t^(p-1) = |a|`` per entry, then clipped."""
    if a.numel() == 0:
        return a.clone()
    wide = torch.promote_types(a.dtype, torch.float32)
    low, high = (b.to(wide) for b in _bounds(a, lo, hi))
    flat = a.to(wide).reshape(len(a), -1)
    low, high = (b.reshape(-1, flat.shape[1]) if b.dim() == a.dim() else b for b in (low, high))
    reach = _radius(a, eps).unsqueeze(1)
    clean = flat.nan_to_num(0.0, 1e30, -1e30).clamp_(-1e30, 1e30)
    solve = {1.0: solve_l1, 2.0: solve_l2}.get(p)
    near = solve(clean, reach, low, high) if solve else solve_lp(clean, p, reach, low, high)
    return _towards_zero(near, a.dtype).view_as(a)


@torch.no_grad()
def project_l0(a: Tensor, k: Bound, lo: Bound, hi: Bound) -> Tensor:
    """Clipping, then keeping the k entries whose keeping saves most.

    Keeping entry i saves ``a_i^2 - (a_i - c_i)^2`` of squared distance, ``c`` the clipped ``a``;
    neither ``|a|`` nor ``|c|`` orders the entries so. Of equal entries exactly as many are kept as
    k allows. Ks are rounded down.
    """
    if a.numel() == 0:
        return a.clone()
    low, high = _bounds(a, lo, hi)
    clean = a.nan_to_num(0.0)
    clipped = clean.clamp(low, high)
    c = clipped.reshape(len(a), -1).double()
    gain = c * (2 * clean.reshape(len(a), -1).double() - c)
    counts = _radius(a, k).floor()
    most = int(counts.max().clamp(0, c.shape[1]))  # decides a shape, so the host must know
    if most == 0:
        return torch.zeros_like(a)
    index = gain.topk(most, dim=1).indices
    keep = torch.arange(most, device=a.device) < counts.unsqueeze(1)
    mask = torch.zeros_like(c, dtype=torch.bool).scatter_(1, index, keep)
    return clipped.masked_fill_(~mask.view_as(a), 0.0)


@torch.no_grad()
def project_simplex(b: Tensor) -> Tensor:
    """Projection of the last dimension onto ``{w >= 0, sum w = 1}``: ``max(b - mu, 0)``.

    Source: Wang et al. 2021, equation 9; by sorting (Duchi et al. 2008).
    """
    if b.numel() == 0:
        return b.clone()
    wide = b.to(torch.promote_types(b.dtype, torch.float32))
    shifted = wide - wide.amax(-1, keepdim=True)
    top = shifted.sort(dim=-1, descending=True).values
    count = torch.arange(1, b.shape[-1] + 1, device=b.device, dtype=wide.dtype)
    mu = (top.cumsum(-1) - 1) / count
    active = (top > mu).sum(-1, keepdim=True).clamp_min(1)
    w = (shifted - mu.gather(-1, active - 1)).clamp_min_(0)
    return (w / w.sum(-1, keepdim=True)).to(b.dtype)


def _radius(a: Tensor, eps: Bound) -> Tensor:
    """``(B,)`` float64, on the device of ``a``."""
    reach = torch.as_tensor(eps, dtype=torch.float64, device=a.device)
    return reach.expand(len(a)) if reach.dim() == 0 else reach.reshape(len(a))


def _bounds(a: Tensor, lo: Bound, hi: Bound) -> tuple[Tensor, Tensor]:
    low, high = (torch.as_tensor(b, device=a.device).to(a.dtype) for b in (lo, hi))
    return (low, high) if low.dim() == high.dim() == 0 else (low.expand_as(a), high.expand_as(a))


def _towards_zero(near: Tensor, dtype: torch.dtype) -> Tensor:
    """Cast to a narrower type without growing any entry."""
    if near.dtype == dtype:
        return near
    cast = near.to(dtype)
    return torch.where(cast.to(near.dtype).abs() > near.abs(), cast.nextafter(cast * 0), cast)
