"""Projection onto the simplex."""

import torch
from torch import Tensor


@torch.no_grad()
def project_simplex(b: Tensor) -> Tensor:
    """Nearest point of {w >= 0, sum w = 1} to ``b`` (..., K), along its last dimension.

    It is w = max(b - mu, 0), exactly, by sorting; the weights add up to 1 within rounding of the
    dtype of ``b``. ``b`` must be finite.

    Raises:
        ValueError: if there is no last dimension, or it is empty.

    Source: Wang et al. 2021, equation 9; Duchi et al. 2008, Figure 1.

    Example:
        >>> project_simplex(torch.tensor([1.0, 0.5, -2.0]))
        tensor([0.7500, 0.2500, 0.0000])
    """
    if b.dim() == 0 or b.shape[-1] == 0:
        raise ValueError(f"b is of shape {tuple(b.shape)}: give weights (..., K), K >= 1")
    wide = b.double()
    wide = wide - wide.amax(-1, keepdim=True)  # leaves w as it is, and keeps sums small
    top = wide.sort(-1, descending=True).values
    count = torch.arange(1, b.shape[-1] + 1, dtype=wide.dtype, device=b.device)
    mu = (top.cumsum(-1) - 1) / count
    support = (top > mu).sum(-1, keepdim=True)
    return (wide - mu.gather(-1, support - 1)).clamp_min_(0).to(b.dtype)
