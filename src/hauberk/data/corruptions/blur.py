"""Blur: defocus, frosted glass, motion, zoom. ``x`` is ``(B, C, H, W)`` float64 of 8-bit levels."""

from collections.abc import Sequence
from math import floor

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from hauberk.data.corruptions.resampling import along_both, gathered, smoothing, zoom
from hauberk.maths.rng import Draws


def disk(radius: float, smooth: float) -> Tensor:
    """The kernel of a lens out of focus: an even disk, its rim smoothed by a 3x3 Gaussian.

    Args:
        radius: of the disk, in pixels.
        smooth: standard deviation of the Gaussian, in pixels.

    Example:
        >>> disk(1, 0.2).shape, round(float(disk(1, 0.2).sum()), 6)
        (torch.Size([5, 5]), 1.0)
    """
    reach = floor(radius) + 1
    line = torch.arange(-reach, reach + 1, dtype=torch.float64)
    flat = (line.square() + line.square().unsqueeze(1) <= radius**2).double()
    bell = torch.exp(-0.5 * (torch.arange(-1, 2, dtype=torch.float64) / smooth) ** 2)
    bell /= bell.sum()
    kernel = (bell * bell.unsqueeze(1)).view(1, 1, 3, 3)
    return F.conv2d((flat / flat.sum()).view(1, 1, *flat.shape), kernel, padding=1)[0, 0]


def defocus_blur(x: Tensor, draws: Draws, radius: float, smooth: float) -> Tensor:
    """Out of focus: the mean over a :func:`disk`."""
    kernel = disk(radius, smooth)
    reach, channels = len(kernel) // 2, x.shape[1]
    around = F.pad(x, (reach,) * 4, mode="reflect")
    return F.conv2d(around, kernel.expand(channels, 1, -1, -1), groups=channels)


def glass_blur(x: Tensor, draws: Draws, sigma: float, times: int) -> Tensor:
    """Seen through frosted glass: smoothed, pixels taken from next to them, smoothed again.

    The published script sets out to swap a pixel with its neighbour to the left, above, or both;
    what its images show is that the neighbour's value is copied.
    """
    height, width = x.shape[2:]
    smooth = [smoothing(n, sigma, 4, mirror=False) for n in (height, width)]
    x = cut(along_both(x, *smooth))
    rows, columns = torch.arange(height).unsqueeze(1), torch.arange(width)
    inner = (rows >= 2) & (columns >= 2)
    for time in range(times):
        move = torch.where(inner, draws.integers(time, (2, height, width), 2) - 1, 0)
        x = gathered(x, rows + move[:, 1], columns + move[:, 0])
    return along_both(x, *smooth)


def motion_blur(x: Tensor, draws: Draws, radius: int, sigma: float) -> Tensor:
    """The camera moves, in a direction within 45 degrees of the horizontal; to 8 bits."""
    return moved(x, draws.uniform(0, (), torch.float64) * 90 - 45, radius, sigma)


def moved(x: Tensor, degrees: Tensor, radius: int, sigma: float) -> Tensor:
    """Blur along a line that starts at the pixel, with half a Gaussian as weights; to 8 bits.

    Args:
        x: ``(B, C, H, W)``.
        degrees: direction of each image, ``(B,)``.
        radius: the line has ``2 * radius + 1`` places.
        sigma: standard deviation of the Gaussian.

    As ImageMagick does; edges are repeated.
    """
    height, width = x.shape[2:]
    steps = torch.arange(2 * radius + 1, dtype=torch.float64)
    weights = torch.exp(-0.5 * (steps / sigma) ** 2)
    weights /= weights.sum()
    angle = torch.deg2rad(degrees).view(-1, 1, 1)
    rows, columns = torch.arange(height).view(1, -1, 1), torch.arange(width).view(1, 1, -1)
    blurred = torch.zeros_like(x)
    for step, weight in zip(steps.tolist(), weights.tolist(), strict=True):
        right = torch.ceil(step * angle.cos() - 0.5).long()
        down = torch.ceil(step * angle.sin() - 0.5).long()
        r = (rows + down).clamp(0, height - 1).expand(len(x), height, width)
        c = (columns + right).clamp(0, width - 1).expand(len(x), height, width)
        blurred += weight * gathered(x, r, c)
    return (blurred * 255).round() / 255


def zoom_blur(x: Tensor, draws: Draws, last: float) -> Tensor:
    """The camera comes nearer: the mean of the image and of its enlargements by 1, 1.01, ...

    Args:
        x: images.
        draws: not used.
        last: end of the range of factors, as `numpy.arange` takes it.
    """
    factors: Sequence[float] = np.arange(1, last, 0.01).tolist()
    total = x.clone()
    for factor in factors:
        total += along_both(x, zoom(x.shape[2], factor), zoom(x.shape[3], factor))
    return total / (len(factors) + 1)


def cut(x: Tensor) -> Tensor:
    """Values in [0, 1] cut, not rounded, to 8 bits, as a cast of numbers to bytes does.

    Example:
        >>> cut(torch.tensor([0.0, 1.9 / 255, 1.0])) * 255
        tensor([  0.,   1., 255.])
    """
    # A little more, so that a level that went through float64 stays the same level.
    return (x.clamp(0, 1) * 255 + 1e-6).floor() / 255
