"""Proximal operators of lp norms, within a box."""

from math import inf

import torch
from torch import Tensor

from hauberk.maths.l1 import project_l1
from hauberk.maths.norms import norm
from hauberk.maths.steps import per_example


@torch.no_grad()
def prox(a: Tensor, p: float, weight: Tensor, lo: Tensor | float, hi: Tensor | float) -> Tensor:
    """The minimiser of ``weight |d|_p + |d - a|_2^2 / 2``, clipped to ``lo <= d <= hi``.

    For p = 0 and 1 that is the minimiser within the box, too; for p = 2 and inf the unbounded one,
    clipped. Other p are taken as 2.

    Args:
        a: perturbations, ``(B, ...)``.
        p: 0, 1, 2 or inf.
        weight: of the norm, ``(B,)``, 0 or more.
        lo, hi: bounds of the perturbations, ``lo <= 0 <= hi``.

    Source: Moreau's decomposition; Parikh & Boyd 2014, section 6.5.

    Example:
        >>> prox(torch.tensor([[3.0, -0.5]]), 1, torch.tensor([1.0]), -5.0, 5.0)
        tensor([[2., -0.]])
    """
    at = per_example(weight.to(a.dtype), a)
    if p == 0:
        clipped = clip(a, lo, hi)
        return torch.where(clipped * (a - clipped / 2) > at, clipped, 0.0)
    if p == 1:
        return clip(a.sign() * (a.abs() - at).clamp_min_(0), lo, hi)
    if p == inf:
        return clip(a - project_l1(a, weight.double(), -inf, inf), lo, hi)
    length = per_example(norm(a, 2).clamp_min_(torch.finfo(a.dtype).tiny), a)
    return clip(a * (1 - at / length).clamp_min_(0), lo, hi)


def clip(a: Tensor, lo: Tensor | float, hi: Tensor | float) -> Tensor:
    """``a`` clipped to bounds that may be numbers or tensors."""
    low, high = torch.as_tensor(lo).to(a), torch.as_tensor(hi).to(a)
    return a.clamp(low, high)
