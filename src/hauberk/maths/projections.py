"""Exact Euclidean projections onto lp ball ∩ box, one per example.

Throughout, ``a`` (B, ...) holds perturbations; ``eps`` is one radius or a tensor (B,) of them, 0
and inf included; ``lo <= 0 <= hi`` is the box less the clean input: numbers, or tensors that
broadcast to ``a``, infinite where there is no bound. What comes back is a new tensor of the shape,
dtype and device of ``a`` that lies in both sets without any tolerance: its norm in float64 is at
most ``eps``. That costs some 3e-7 of the radius, 1e-6 at worst (1e-13 for float64 tensors; a unit
in the last place of every entry for half precision). NaN is read as 0, an infinity as the largest
number. On devices nothing waits for the host.

All raise ValueError for an ``a`` that is not floating or has no batch dimension, and for an ``eps``
of the wrong shape, or negative or NaN where the host can see it.

Source: Wang et al. 2021, Proposition 1. Projecting on the ball and clipping afterwards is not the
projection: it ends inside both sets, but not at the nearest point.
"""

from math import inf

import torch
from torch import Tensor

from hauberk.maths.l1 import project_l1
from hauberk.maths.l2 import project_l2
from hauberk.maths.lp import project_general
from hauberk.maths.rowwise import Radius, ReadyRadii, cheap_to_read, on_rows, toward_zero
from hauberk.maths.simplex import project_simplex

__all__ = [
    "project_ball",
    "project_l0",
    "project_l1",
    "project_l2",
    "project_linf",
    "project_lp",
    "project_simplex",
]

Bound = float | Tensor


def project_lp(a: Tensor, p: float, eps: Bound | ReadyRadii, lo: Bound, hi: Bound) -> Tensor:
    """Projection for any p >= 1, inf included.

    Args:
        a: perturbations, ``(B, ...)``.
        p: a number >= 1, or inf.
        eps: the radius, one number or ``(B,)``.
        lo, hi: bounds of the perturbations, ``lo <= 0 <= hi``.

    Raises:
        ValueError: for other p.

    Example:
        >>> project_lp(torch.tensor([[0.5, 0.0, 2.0]]), 1, 1.0, -inf, inf).round(decimals=3)
        tensor([[0., 0., 1.]])
    """
    if p == 1:
        return project_l1(a, eps, lo, hi)
    if p == 2:
        return project_l2(a, eps, lo, hi)
    if p == inf:
        return project_linf(a, eps, lo, hi)
    if not p > 1:
        raise ValueError(f"p is {p}: give p >= 1 (for p = 0 there is project_l0)")
    return project_general(a, p, eps, lo, hi)


def project_ball(a: Tensor, p: float, eps: Bound | ReadyRadii, lo: Bound, hi: Bound) -> Tensor:
    """Projection for p = 0, with ``eps`` features, and for any p >= 1.

    Args:
        a: perturbations, ``(B, ...)``.
        p: 0, a number >= 1, or inf.
        eps: the radius, one number or ``(B,)``.
        lo, hi: bounds of the perturbations, ``lo <= 0 <= hi``.

    Example:
        >>> project_ball(torch.tensor([[0.5, 0.0, 2.0]]), 0, 1, -1.0, 1.0)
        tensor([[0., 0., 1.]])
    """
    if p == 0:
        return project_l0(a, eps.floor() if isinstance(eps, Tensor) else eps, lo, hi)
    return project_lp(a, p, eps, lo, hi)


@torch.no_grad()
def project_linf(a: Tensor, eps: Bound | ReadyRadii, lo: Bound, hi: Bound) -> Tensor:
    """Projection for p = inf: clipping.

    Args:
        a: perturbations, ``(B, ...)``.
        eps: the radius, one number or ``(B,)``.
        lo, hi: bounds of the perturbations, ``lo <= 0 <= hi``.

    Example:
        >>> project_linf(torch.tensor([[0.5, 0.0, 2.0]]), 1.0, -inf, inf)
        tensor([[0.5000, 0.0000, 1.0000]])
    """
    return on_rows(_clip, a, eps, lo, hi)


def _clip(x: Tensor, radius: Radius, lo: Tensor, hi: Tensor, out: Tensor, _: list[Tensor]) -> None:
    reach = toward_zero(radius.exact, x.dtype)
    torch.clamp(x, lo, hi, out=out)
    torch.clamp(out, -reach, reach, out=out)


@torch.no_grad()
def project_l0(a: Tensor, k: int | float | Tensor | ReadyRadii, lo: Bound, hi: Bound) -> Tensor:
    """Projection for p = 0: at most ``k`` entries differ from 0.

    Clips, then keeps the entries that save most: keeping entry i saves a_i^2 - (a_i - c_i)^2 of
    squared distance, c the clipped a. Neither |a| nor |c| orders the entries so. Among equals no
    more are kept than k allows.

    Args:
        a: perturbations, ``(B, ...)``.
        k: how many entries, one number or ``(B,)``.
        lo, hi: bounds of the perturbations, ``lo <= 0 <= hi``.

    Example:
        >>> project_l0(torch.tensor([[0.5, 0.0, 2.0]]), 1, -1.0, 1.0)
        tensor([[0., 0., 1.]])
    """
    return on_rows(_keep, a, k, lo, hi, double=True)


def _keep(x: Tensor, radius: Radius, lo: Tensor, hi: Tensor, out: Tensor, _: list[Tensor]) -> None:
    clipped = torch.clamp(x, lo, hi)
    d = x.shape[1]
    k = radius.exact.clamp(max=d).floor_()
    most = int(k.max().item()) if cheap_to_read(x) else d
    gain = clipped * (x - clipped / 2)  # half of it, so that it does not overflow
    index = gain.topk(most, 1).indices
    allowed = torch.arange(most, device=x.device) < k
    out.zero_().scatter_(1, index, clipped.gather(1, index).mul_(allowed))
