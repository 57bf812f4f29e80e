"""Steps of ascent: where to move, given a gradient. Directions have length one in their norm.

All functions take a gradient ``(B, ...)`` and return a direction of the same shape; a zero gradient
gives a zero direction. Multiply with a step size ``(B, 1, ...)`` and add.
"""

import numpy as np
import torch
from torch import Tensor

from hauberk.maths.norms import norm

TINY = 1e-30
"""Least divisor: what is shorter counts as nothing."""


def per_example(values: Tensor, like: Tensor) -> Tensor:
    """Reshape ``(B,)`` to ``(B, 1, ..., 1)`` so that it broadcasts against ``like``."""
    return values.view(-1, *[1] * (like.dim() - 1))


def movable(u: Tensor, grad: Tensor, lo: Tensor | float, hi: Tensor | float) -> Tensor:
    """The gradient with those coordinates zeroed that the box keeps from following it.

    Source: Tramèr & Boneh 2019, Algorithm 1; Maini et al. 2020, section 4.
    """
    # Comparing and masking cost ten times as much on a CPU as this detour through the signs.
    lo, hi = torch.as_tensor(lo).to(u), torch.as_tensor(hi).to(u)
    room = grad.sign().add_(u).clamp_(lo, hi).sub_(u).sign_()
    return room.mul_(grad.abs())


def step_along(u: Tensor, direction: Tensor, step: Tensor | float) -> Tensor:
    """``u + step * direction``; with the gradient as direction, a plain gradient step.

    Args:
        u, direction: ``(B, ...)``.
        step: a number, or one of each example, ``(B,)``.

    Example:
        >>> step_along(torch.zeros(2, 2), torch.ones(2, 2), torch.tensor([0.5, 2.0]))
        tensor([[0.5000, 0.5000],
                [2.0000, 2.0000]])
    """
    if isinstance(step, Tensor):
        return torch.addcmul(u, direction, per_example(step, u))
    return torch.add(u, direction, alpha=step)


def steepest_linf(grad: Tensor) -> Tensor:
    """``sign(g)``."""
    return grad.sign()


def steepest_l2(grad: Tensor) -> Tensor:
    """``g / ||g||_2``."""
    flat = grad.flatten(1)
    length = torch.linalg.vector_norm(flat, dim=1)
    if not _all_in(length, 1e-15, 1e15):
        # Squares under- or overflowed: such gradients still have a direction. The others stay as
        # they are, to the last bit, so that no example depends on its neighbours.
        usual = (length >= 1e-15) & (length <= 1e15)
        top = flat.abs().amax(1).clamp_min_(torch.finfo(flat.dtype).tiny).masked_fill_(usual, 1)
        flat = flat / top.unsqueeze(1)
        length = torch.linalg.vector_norm(flat, dim=1)
    return flat.div(length.clamp_min_(TINY).unsqueeze(1)).view_as(grad)


def unit_lp(grad: Tensor, p: float) -> Tensor:
    """The gradient, of length one in lp."""
    top = grad.abs().flatten(1).amax(1)
    scaled = grad / per_example(top.masked_fill_(top == 0, 1), grad)
    return scaled / per_example(norm(scaled, p).clamp_min_(TINY), grad)


def steepest_l1(grad: Tensor, k: int | Tensor = 1) -> Tensor:
    """The k largest entries of ``|g|`` each get ``sign(g) / k``; k an int or ``(B,)``.

    Ties beyond k keep the threshold's whole group, so that the direction does not depend on the
    order of the coordinates. Entries of zero gradient never move. k = 1 is pure steepest descent in
    l1. Source: Maini et al. 2020, section 4.2 ("enhanced" step).
    """
    flat = grad.flatten(1)
    size = flat.abs()
    least = torch.finfo(size.dtype)
    cut = kth_largest(size, k).clamp_min_(least.tiny * least.eps)  # the smallest above 0
    kept = (size >= cut).to(size.dtype)
    count = kept.sum(1, keepdim=True).clamp_min_(1)
    return kept.div_(count).mul_(flat.sign()).view_as(grad)


def share_from(low: Tensor, features: int) -> Tensor:
    """The share of features at or above a percentile, where one has a percentile's complement.

    Of ``d`` sizes, those at or above their q-th percentile (interpolated between neighbours, as by
    numpy) are ``floor((1 - q) (d - 1)) + 1``.

    Args:
        low: ``1 - q``, ``(B,)``, in [0, 1].
        features: d, at least 1.

    Example:
        >>> share_from(torch.tensor([0.1]), 784) * 784  # 78.4 features make 79
        tensor([79.])
    """
    count = (low.double() * (features - 1) + 1e-6).floor() + 1
    return (count / features).to(low.dtype)


def kth_largest(rows: Tensor, k: int | Tensor) -> Tensor:
    """The k-th largest entry of each row, ``(B, 1)``; k an int or ``(B,)``, clamped to [1, d]."""
    b, d = rows.shape
    if d == 0:
        return rows.new_zeros(b, 1)
    if isinstance(k, int):
        return rows.topk(min(max(k, 1), d), dim=1).values[:, -1:]
    rank = k.clamp(1, d).long().unsqueeze(1)
    if rows.device.type == "cpu":
        # NumPy sorts with vector instructions: five to ten times as fast as torch.sort on a CPU.
        ascending = torch.from_numpy(np.sort(rows.numpy(), axis=1))
    else:
        ascending = rows.sort(dim=1).values
    return ascending.gather(1, d - rank)


def _all_in(values: Tensor, low: float, high: float) -> bool:
    """Host check where it is free (CPU); False elsewhere, so that nothing waits."""
    if values.device.type != "cpu" or not len(values):
        return False
    least, most = values.aminmax()
    return low <= float(least) and float(most) <= high
