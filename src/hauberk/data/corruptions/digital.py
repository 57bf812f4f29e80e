"""Light and files: brightness, contrast, elastic, pixelate, JPEG.

``x`` is ``(B, C, H, W)`` float64 of 8-bit levels.
"""

import torch
from torch import Tensor

from hauberk.data.corruptions.codec import jpeg
from hauberk.data.corruptions.resampling import along_both, box_average, sampled, smoothing
from hauberk.maths.rng import Draws


def brightness(x: Tensor, draws: Draws, shift: float) -> Tensor:
    """The value of HSV raised by ``shift``, hue and saturation as they were."""
    value = x.amax(1, keepdim=True)
    raised = (value + shift).clamp(0, 1)
    # With hue and saturation fixed, colours are proportional to the value; black becomes grey.
    return torch.where(value > 0, x * (raised / value.clamp_min(1e-12)), raised)


def contrast(x: Tensor, draws: Draws, factor: float) -> Tensor:
    """The distance to each channel's mean, times ``factor``."""
    mean = x.mean((2, 3), keepdim=True)
    return mean + factor * (x - mean)


def elastic_transform(x: Tensor, draws: Draws, size: float, smooth: float, corner: float) -> Tensor:
    """Three points moved, the rest affinely with them; then every pixel, smoothly.

    Args:
        x: images.
        draws: of the displacements.
        size: weight of the pixels' displacements, in units of the image's side.
        smooth: standard deviation of the Gaussian that smooths them, in the same units.
        corner: most by which one of three points moves along each axis, in the same units.
    """
    height, width = x.shape[2:]
    side = min(height, width)
    away = side // 3
    middle = torch.tensor([width // 2, height // 2], dtype=torch.float64)
    there = middle + torch.tensor([[away, away], [away, -away], [-away, -away]])
    shift = corner * side * (2 * draws.uniform(0, (3, 2), torch.float64) - 1)
    one = torch.ones(len(x), 3, 1, dtype=torch.float64)
    # The affine map from places of the result to places of the image: moved points to the first.
    back = torch.linalg.solve(torch.cat((there + shift, one), 2), there.expand(len(x), 3, 2))
    rows = torch.arange(height, dtype=torch.float64).view(1, -1, 1).expand(1, height, width)
    columns = torch.arange(width, dtype=torch.float64).view(1, 1, -1).expand(1, height, width)
    places = torch.stack((columns, rows, torch.ones_like(rows)), 3) @ back.unsqueeze(1)
    x = sampled(x, places[..., 1], places[..., 0], repeat_edge=False)
    noise = 2 * draws.uniform(1, (2, height, width), torch.float64) - 1
    even = [smoothing(n, smooth * side, 3, mirror=True) for n in (height, width)]
    move = size * side * along_both(noise, *even)
    return sampled(x, rows + move[:, 1], columns + move[:, 0], repeat_edge=True)


def pixelate(x: Tensor, draws: Draws, share: float) -> Tensor:
    """Shrunk to that share of its sides by means over boxes, and enlarged again; to 8 bits."""
    height, width = x.shape[2:]
    for sides in ((int(height * share), int(width * share)), (height, width)):
        # Columns before rows, and 8 bits between: as Pillow resizes.
        x = eight_bits(x @ box_average(x.shape[3], sides[1]).T)
        x = eight_bits(box_average(x.shape[2], sides[0]) @ x)
    return x


def jpeg_compression(x: Tensor, draws: Draws, quality: int) -> Tensor:
    """Compressed and read again, with chroma at half the resolution."""
    return jpeg(x, quality)


def eight_bits(x: Tensor) -> Tensor:
    """The nearest 8-bit levels.

    Example:
        >>> eight_bits(torch.tensor([0.0, 1.6 / 255])) * 255
        tensor([0., 2.])
    """
    return (x * 255 + 0.5 + 1e-9).floor() / 255
