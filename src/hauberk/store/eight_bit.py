"""Images of 8 bits as the bytes that they were, a quarter of their size, where nothing is lost."""

import torch
from torch import Tensor

UNITS = (255.0, 1.0)
"""What bytes were divided by: images in [0, 1], and images in [0, 255]."""


def packed(x: Tensor) -> tuple[Tensor, float]:
    """Bytes ``k`` of float32 images ``k / unit``, and the unit, 255 or 1.

    Images of which any number differs from that are given back as they are, with unit 0.

    Args:
        x: ``(N, ...)``.

    Example:
        >>> packed(torch.tensor([[0.0, 1.0, 51 / 255]]))
        (tensor([[  0, 255,  51]], dtype=torch.uint8), 255.0)
        >>> packed(torch.tensor([[0.3]]))
        (tensor([[0.3000]]), 0.0)
    """
    if x.dtype == torch.float32:
        for unit in UNITS:
            for some in (x[:1], x):  # most images that are not of bytes show it at once
                levels = (some * unit).round()
                if not bool(((levels >= 0) & (levels <= 255)).all()):
                    break
                levels = levels.to(torch.uint8)
                # By their bits, since minus zero equals zero.
                same = unpacked(levels, unit).view(torch.int32) == some.view(torch.int32)
                if not bool(same.all()):
                    break
            else:
                return levels, unit
    return x, 0.0


def unpacked(x: Tensor, unit: float) -> Tensor:
    """Images again from :func:`packed` ones, bit for bit; others as they are."""
    return x.to(torch.float32) / unit if unit else x
