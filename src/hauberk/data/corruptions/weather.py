"""Weather: snow, frost, fog. ``x`` is ``(B, C, H, W)`` float64 of 8-bit levels."""

import torch
from torch import Tensor

from hauberk.data.corruptions.blur import cut, moved
from hauberk.data.corruptions.resampling import along_both, zoom
from hauberk.maths.rng import Draws

LUMA = (0.299, 0.587, 0.114)
"""What red, green and blue weigh in grey."""


def grey(x: Tensor) -> Tensor:
    """``(B, 1, H, W)``, the luma of colours.

    Example:
        >>> grey(torch.ones(1, 3, 1, 1))
        tensor([[[[1.]]]])
    """
    if x.shape[1] == 1:
        return x
    return (x * torch.tensor(LUMA, dtype=x.dtype).view(1, 3, 1, 1)).sum(1, keepdim=True)


def snow(
    x: Tensor, draws: Draws, mean: float, scale: float, size: float, least: float, radius: int,
    sigma: float, kept: float,
) -> Tensor:  # fmt: skip
    """Flakes that fall, and a whiter scene.

    Args:
        x: images.
        draws: of the flakes and of their direction.
        mean: of the normal noise that flakes are made from.
        scale: its standard deviation.
        size: by how much it is enlarged.
        least: what lies below becomes 0.
        radius: of the motion blur.
        sigma: of the motion blur.
        kept: share of the image beside its whitened form.
    """
    height, width = x.shape[2:]
    flakes = mean + scale * draws.normal(0, (1, height, width), x.dtype)
    flakes = along_both(flakes, zoom(height, size), zoom(width, size))
    flakes = cut(torch.where(flakes < least, 0.0, flakes))
    flakes = moved(flakes, draws.uniform(1, (), torch.float64) * 90 - 135, radius, sigma)
    white = torch.maximum(x, grey(x) * 1.5 + 0.5)
    return kept * x + (1 - kept) * white + flakes + flakes.rot90(2, (2, 3))


def frost(x: Tensor, draws: Draws, kept: float, ice: float) -> Tensor:
    """Ice on the glass: ``kept * x + ice * texture``.

    The published images add photographs of frost. The texture here is made: it looks like them and
    weighs as they do, but it is another one, so that these numbers are not those of the files.
    """
    texture = crystals(draws, x.shape[2], x.shape[3])
    if x.shape[1] == 3:
        texture = texture * torch.tensor([0.86, 0.94, 1.0], dtype=x.dtype).view(1, 3, 1, 1)
    return kept * x + ice * texture


def crystals(draws: Draws, height: int, width: int) -> Tensor:
    """A texture of ridges, ``(B, 1, H, W)`` in [0, 1], another one for each stream."""
    ridges = [1 - (2 * plasma(draws.split(i), height, width, 1.5) - 1).abs() for i in (1, 2, 3)]
    sharpest = torch.stack(ridges).amax(0).unsqueeze(1)
    return 0.2 + 0.8 * sharpest**2


def fog(x: Tensor, draws: Draws, thick: float, decay: float) -> Tensor:
    """Clouds of a :func:`plasma`, of so much weight that the brightest value stays."""
    brightest = x.amax((1, 2, 3), keepdim=True)
    clouds = plasma(draws, x.shape[2], x.shape[3], decay).unsqueeze(1)
    return (x + thick * clouds) * brightest / (brightest + thick)


def plasma(draws: Draws, height: int, width: int, decay: float) -> Tensor:
    """Clouds by diamonds and squares on a torus, ``(B, H, W)`` float64 from 0 to 1.

    Args:
        draws: random streams.
        height: in pixels; the torus has the next power of two.
        width: in pixels.
        decay: from one halving of the mesh to the next, noise falls by the square of it.

    Example:
        >>> clouds = plasma(Draws.of(0, torch.arange(2)), 8, 8, 3)
        >>> clouds.amin((1, 2)), clouds.amax((1, 2))
        (tensor([0., 0.], dtype=torch.float64), tensor([1., 1.], dtype=torch.float64))
    """
    side = 1 << (max(height, width) - 1).bit_length()
    corners = torch.zeros(len(draws.key), 1, 1, dtype=torch.float64)
    size, draw = 1.0, 0
    while corners.shape[1] < side:
        n = corners.shape[1]
        noise = size * (2 * draws.uniform(draw, (3, n, n), torch.float64) - 1)
        right, below = corners.roll(-1, 2), corners.roll(-1, 1)
        middle = (corners + right + below + below.roll(-1, 2)) / 4 + noise[:, 0]
        across = (corners + right + middle + middle.roll(1, 1)) / 4 + noise[:, 1]
        down = (corners + below + middle + middle.roll(1, 2)) / 4 + noise[:, 2]
        finer = corners.new_empty(len(corners), 2 * n, 2 * n)
        finer[:, ::2, ::2], finer[:, 1::2, 1::2] = corners, middle
        finer[:, ::2, 1::2], finer[:, 1::2, ::2] = across, down
        corners, size, draw = finer, size / decay**2, draw + 1
    low, high = corners.amin((1, 2), keepdim=True), corners.amax((1, 2), keepdim=True)
    return ((corners - low) / (high - low))[:, :height, :width]
