"""Images of 8 bits as the bytes that they were, a quarter of their size, where nothing is lost."""

import torch
from torch import Tensor


def packed(x: Tensor) -> Tensor:
    """Bytes ``k`` of float32 images ``k / 255``; images of which any differs from that as they are.

    Args:
        x: ``(N, ...)``.

    Example:
        >>> packed(torch.tensor([[0.0, 1.0, 51 / 255]]))
        tensor([[  0, 255,  51]], dtype=torch.uint8)
        >>> packed(torch.tensor([[0.3]]))
        tensor([[0.3000]])
    """
    if x.dtype != torch.float32:
        return x
    for some in (x[:1], x):  # most images that are not of bytes show it at once
        levels = (some * 255).round()
        if not bool(((levels >= 0) & (levels <= 255)).all()):
            return x
        levels = levels.to(torch.uint8)
        # By their bits, since minus zero equals zero.
        if not torch.equal(unpacked(levels).view(torch.int32), some.view(torch.int32)):
            return x
    return levels


def unpacked(x: Tensor) -> Tensor:
    """Images again from :func:`packed` ones, bit for bit; others as they are."""
    return x.to(torch.float32) / 255 if x.dtype == torch.uint8 else x
