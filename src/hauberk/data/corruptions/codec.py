"""What JPEG loses: colour at half the resolution, and frequencies rounded by a table.

The rest of the format (Huffman codes, headers) loses nothing, so it is left out. Baseline JPEG as
libjpeg does it by default: ITU-T T.81, chroma halved both ways, and enlarged by a triangle filter.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

LUMA_TABLE = (
    16, 11, 10, 16, 24, 40, 51, 61,
    12, 12, 14, 19, 26, 58, 60, 55,
    14, 13, 16, 24, 40, 57, 69, 56,
    14, 17, 22, 29, 51, 87, 80, 62,
    18, 22, 37, 56, 68, 109, 103, 77,
    24, 35, 55, 64, 81, 104, 113, 92,
    49, 64, 78, 87, 103, 121, 120, 101,
    72, 92, 95, 98, 112, 100, 103, 99,
)  # fmt: skip
"""Table K.1 of ITU-T T.81."""

CHROMA_TABLE = (
    17, 18, 24, 47, 99, 99, 99, 99,
    18, 21, 26, 66, 99, 99, 99, 99,
    24, 26, 56, 99, 99, 99, 99, 99,
    47, 66, 99, 99, 99, 99, 99, 99,
    *[99] * 32,
)  # fmt: skip
"""Table K.2."""


def table(base: tuple[int, ...], quality: int) -> Tensor:
    """A quantisation table ``(8, 8)`` at a quality of 1 to 100, as libjpeg scales it.

    Example:
        >>> table(LUMA_TABLE, 50)[0, 0], table(LUMA_TABLE, 80)[0, 0]
        (tensor(16., dtype=torch.float64), tensor(6., dtype=torch.float64))
    """
    scale = 5000 // quality if quality < 50 else 200 - 2 * quality
    steps = (torch.tensor(base) * scale + 50).div(100, rounding_mode="floor").clamp(1, 255)
    return steps.double().view(8, 8)


def cosines() -> Tensor:
    """The orthonormal cosine transform of 8 numbers, ``(8, 8)`` float64.

    Example:
        >>> torch.allclose(cosines() @ cosines().T, torch.eye(8, dtype=torch.float64))
        True
    """
    k, n = torch.arange(8.0, dtype=torch.float64), torch.arange(8.0, dtype=torch.float64)
    basis = torch.cos(math.pi / 8 * (n + 0.5) * k.unsqueeze(1)) / 2
    basis[0] /= math.sqrt(2)
    return basis


def jpeg(x: Tensor, quality: int) -> Tensor:
    """Images (B, 1 or 3, H, W) of [0, 1], compressed and read again; to 8 bits.

    Args:
        x: grey or RGB.
        quality: 1 to 100.

    Example:
        >>> jpeg(torch.full((1, 3, 8, 8), 0.4, dtype=torch.float64), 50)[0, :, 0, 0] * 255
        tensor([102., 102., 102.], dtype=torch.float64)
    """
    levels = (x * 255).round()
    if x.shape[1] == 1:
        return _coded(levels, table(LUMA_TABLE, quality)) / 255
    height, width = x.shape[2:]
    red, green, blue = levels.unbind(1)
    y = (0.299 * red + 0.587 * green + 0.114 * blue).round()
    cb = (128 - 0.168735892 * red - 0.331264108 * green + 0.5 * blue).round()
    cr = (128 + 0.5 * red - 0.418687589 * green - 0.081312411 * blue).round()
    luma = _coded(y.unsqueeze(1), table(LUMA_TABLE, quality)).squeeze(1)
    chroma = _coded(_halved(torch.stack((cb, cr), 1)), table(CHROMA_TABLE, quality))
    cb, cr = (_doubled(chroma)[:, :, :height, :width] - 128).unbind(1)
    colours = (
        luma + (1.402 * cr).round(),
        luma + (-0.344136286 * cb - 0.714136286 * cr).round(),
        luma + (1.772 * cb).round(),
    )
    return torch.stack(colours, 1).clamp(0, 255) / 255


def _coded(planes: Tensor, steps: Tensor) -> Tensor:
    """Planes ``(B, C, H, W)`` of 0..255 after rounding their frequencies to multiples."""
    height, width = planes.shape[2:]
    whole = F.pad(planes, (0, -width % 8, 0, -height % 8), mode="replicate") - 128
    blocks = whole.unflatten(3, (-1, 8)).unflatten(2, (-1, 8)).transpose(3, 4)
    basis = cosines()
    # libjpeg's frequencies are whole eighths, and a half is rounded away from zero.
    eighths = (8 * (basis @ blocks @ basis.T)).round()
    rounded = eighths.sign() * ((eighths.abs() / 8 + steps / 2) / steps).floor() * steps
    back: Tensor = (basis.T @ rounded @ basis).transpose(3, 4).flatten(4, 5).flatten(2, 3)
    return (back[:, :, :height, :width] + 128).round().clamp(0, 255)


def _halved(planes: Tensor) -> Tensor:
    """Means of 2 x 2; a half goes down and up in turns, so that no level drifts."""
    height, width = planes.shape[2:]
    whole = F.pad(planes, (0, width % 2, 0, height % 2), mode="replicate")
    total = 4 * F.avg_pool2d(whole, 2)
    bias = 1 + torch.arange(total.shape[3]) % 2
    return ((total + bias) / 4).floor()


def _doubled(planes: Tensor) -> Tensor:
    """Twice the size both ways: each new value is 3/4 the nearer and 1/4 the further one."""
    rows = _between(planes.transpose(2, 3), 3).transpose(2, 3)
    # In sixteenths, the halves that arise rounded up on the left and down on the right.
    wide = _between(rows, 3)
    bias = 8 - torch.arange(wide.shape[3]) % 2
    return ((wide + bias) / 16).floor()


def _between(planes: Tensor, near: int) -> Tensor:
    """Along the last axis, ``near * this + neighbour``, left and right of each value."""
    around = F.pad(planes, (1, 1, 0, 0), mode="replicate")
    left = near * planes + around[..., :-2]
    right = near * planes + around[..., 2:]
    return torch.stack((left, right), 4).flatten(3)
