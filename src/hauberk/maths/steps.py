"""Steps of ascent: where to move, given a gradient. Directions have length one in their norm.

All functions take a gradient ``(B, ...)`` and return a direction of the same shape; a zero gradient
gives a zero direction. Multiply with a step size ``(B, 1, ...)`` and add.
"""

import numpy as np
import torch
from torch import Tensor

from hauberk.maths.norms import norm

TINY = 1e-30


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


def step_along(u: Tensor, way: Tensor, step: Tensor | float) -> Tensor:
    """``u + step * way``, ``step`` a number or ``(B,)``; with the gradient as way, a plain step."""
    if isinstance(step, Tensor):
        return torch.addcmul(u, way, per_example(step, u))
    return torch.add(u, way, alpha=step)


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


def steepest_lp(grad: Tensor, p: float) -> Tensor:
    """Maximiser of ``<g, v>`` over ``||v||_p <= 1`` for 1 < p < inf.

    ``v_i = sign(g_i) (|g_i| / ||g||_q)^(q-1)`` with ``1/p + 1/q = 1``.
    """
    q = p / (p - 1)
    flat = grad.flatten(1)
    size = flat.abs()
    # Scaled by the largest entry first: powers of tiny or huge gradients leave the float range.
    top = size.amax(1, keepdim=True)
    size = size / top.masked_fill_(top == 0, 1)
    length = size.pow(q).sum(1, keepdim=True).pow(1 / q).clamp_min(TINY)
    return (flat.sign() * (size / length).pow(q - 1)).view_as(grad)


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


def sparse_l1(grad: Tensor, percentile: Tensor | float) -> Tensor:
    """Entries of ``|g|`` at or above the given percentile, as signs, divided by their number.

    ``percentile`` in [0, 1), a float or ``(B,)``; 0.99 moves one per cent of the coordinates.
    Source: Tramèr & Boneh 2019, Algorithm 1.
    """
    d = grad[0].numel() if len(grad) else 1
    q = torch.as_tensor(percentile, dtype=torch.float64, device=grad.device)
    return steepest_l1(grad, ((1 - q) * d).round().expand(len(grad)))


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
