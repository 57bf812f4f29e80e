"""lp norms per example."""

from math import inf

import torch
from torch import Tensor


def norm(delta: Tensor, p: float) -> Tensor:
    """lp norm of each example.

    Args:
        delta: changes, ``(B, ...)``.
        p: 0 (counts the non-zero features), a number >= 1, or inf.

    Returns:
        ``(B,)``, in the dtype of ``delta``.

    Example:
        >>> delta = torch.tensor([[3.0, 0.0, -4.0]])
        >>> [norm(delta, p).item() for p in (0, 1, 2, inf)]
        [2.0, 7.0, 5.0, 4.0]
    """
    flat = delta.flatten(1) if delta.dim() > 1 else delta.unsqueeze(1)
    if flat.shape[1] == 0:
        return flat.new_zeros(len(flat))
    if p == inf:
        return flat.abs().amax(1)
    if p == 0:
        return (flat != 0).sum(1).to(flat.dtype)
    if p in (1, 2):
        length: Tensor = torch.linalg.vector_norm(flat, ord=p, dim=1)
        return length
    # Scaled by the largest entry: high powers of small numbers would vanish.
    top = flat.abs().amax(1, keepdim=True)
    scaled = flat.abs() / top.clamp_min(torch.finfo(flat.dtype).tiny)
    return scaled.pow(p).sum(1).pow(1 / p) * top.squeeze(1)
