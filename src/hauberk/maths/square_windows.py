"""Windows and patterns on images, one per example: what random search paints with.

Inputs of any shape are seen as images ``(B, C, H, W)``: a vector of d numbers is one row of them.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from hauberk.maths.rng import Draws

TILES = 5
"""A coarse start has so many tiles to a side."""


@dataclass(frozen=True)
class Windows:
    """Two square windows of each image: the new one is painted, the old one pays.

    Args:
        new, old: their rows and columns, from :func:`window`.
        side: of both in pixels, ``(B,)`` int64.

    Example:
        >>> side = torch.tensor([2])
        >>> where = window(Draws.of(0, torch.arange(1)), 0, side, 2, 2)
        >>> Windows(where, where, side).painted.all()
        tensor(True)
    """

    new: tuple[Tensor, Tensor]
    old: tuple[Tensor, Tensor]
    side: Tensor

    @property
    def painted(self) -> Tensor:
        """Where the new window lies, ``(B, 1, H, W)`` bool."""
        return inside(*self.new, self.side)

    @property
    def paying(self) -> Tensor:
        """Where the old window lies, ``(B, 1, H, W)`` bool."""
        return inside(*self.old, self.side)


def image_shape(shape: torch.Size) -> tuple[int, int, int]:
    """``(C, H, W)`` of one example's shape."""
    if len(shape) == 1:
        return 1, 1, shape[0]
    if len(shape) == 2:
        return 1, shape[0], shape[1]
    return shape[0], shape[1], shape[2:].numel()


def window(
    draws: Draws, draw: int | Tensor, side: Tensor, height: int, width: int
) -> tuple[Tensor, Tensor]:
    """Rows and columns of a random ``side`` x ``side`` window, counted from its corner.

    Returns ``(B, 1, H, 1)`` and ``(B, 1, 1, W)``; outside the window they are negative or not below
    the window's own side, which is cut to the image.
    """
    place = draws.uniform(draw, (2,))
    corners = []
    for k, extent in enumerate((height, width)):
        free = (extent - side.clamp(max=extent) + 1).to(place.dtype)
        corners.append((place[:, k] * free).floor().long().view(-1, 1, 1, 1))
    rows = torch.arange(height, device=place.device).view(1, 1, -1, 1) - corners[0]
    columns = torch.arange(width, device=place.device).view(1, 1, 1, -1) - corners[1]
    return rows, columns


def inside(rows: Tensor, columns: Tensor, side: Tensor) -> Tensor:
    """Mask ``(B, 1, H, W)`` of a window."""
    s = side.view(-1, 1, 1, 1)
    return ((rows >= 0) & (rows < s)) & ((columns >= 0) & (columns < s))


def two_bumps(rows: Tensor, columns: Tensor, side: Tensor, turned: Tensor) -> Tensor:
    """Two adjoining bumps of opposite sign that fill a window, ``(B, 1, H, W)``; 0 elsewhere.

    Each falls off from its centre as the tail of ``sum 1 / (r + 1)^2`` does. ``turned`` (B,) bool
    puts them side by side instead of one over the other. Values are not normalised.
    Source: Andriushchenko et al. 2020, section 4.2 (the l2 update).
    """
    s = side.view(-1, 1, 1, 1)
    mask = inside(rows, columns, side)
    long = torch.where(turned.view(-1, 1, 1, 1), columns, rows).expand(mask.shape)
    wide = torch.where(turned.view(-1, 1, 1, 1), rows, columns).expand(mask.shape)
    half = (s // 2).clamp(min=1)
    first = long < half
    begin = torch.where(first, 0, half)
    length = torch.where(first, half, (s - half).clamp(min=1))
    # In an image narrower than the window only the middle of the bumps shows.
    ring = torch.maximum((long - begin - length // 2).abs(), (wide - s // 2).abs())
    reach = torch.maximum(length, s) // 2 + 1
    value = (1 / (ring + 0.5) - 1 / (reach + 0.5)).clamp(min=0) + 1e-3
    return value.where(first, -value).where(mask, 0.0)


def tiles(draws: Draws, draw: int | Tensor, shape: torch.Size, dtype: torch.dtype) -> Tensor:
    """A coarse pattern: ``TILES`` x ``TILES`` pairs of bumps of random sign and turn, (B, ...)."""
    channels, height, width = image_shape(shape)
    n, device = len(draws.key), draws.key.device
    down, across = min(TILES, height), min(TILES, width)
    side = max(-(-height // down), -(-width // across)) if height > 1 else -(-width // across)
    i = torch.arange(height, device=device).view(1, 1, -1, 1)
    j = torch.arange(width, device=device).view(1, 1, 1, -1)
    sides = torch.full((1,), side, device=device)
    upright = torch.zeros(1, dtype=torch.bool, device=device)
    bumps = [two_bumps(i % side, j % side, sides, t) for t in (upright, ~upright)]
    coins = draws.bits(draw, (channels + 1, -(-height // side), -(-width // side))) & 1
    coins = coins[:, :, (i // side).flatten()][..., (j // side).flatten()]
    pattern = torch.where(coins[:, :1] == 1, bumps[0], bumps[1])
    return (pattern * (coins[:, 1:] * 2 - 1)).to(dtype).view(n, *shape)


def stripes(draws: Draws, draw: int | Tensor, shape: torch.Size, dtype: torch.dtype) -> Tensor:
    """Columns of random sign in each channel, ``(B, ...)`` of +1 and -1."""
    channels, height, width = image_shape(shape)
    coins = (draws.bits(draw, (channels, 1, width)) & 1) * 2 - 1
    return coins.expand(-1, -1, height, -1).to(dtype).reshape(len(draws.key), *shape)


def repaint(
    delta: Tensor, pattern: Tensor, here: Tensor, both: Tensor, radius: Tensor, p: float
) -> Tensor:
    """Perturbations ``(B, C, H, W)`` with the lp budget of two windows spent anew in the first.

    What a channel's windows hold, and its part of the radius not yet spent, goes into the window
    ``here``, along the old perturbation there plus the pattern, each of length one.
    Source: Andriushchenko et al. 2020, Algorithm 3 (p = 2); Croce & Hein 2021, appendix (p = 1).
    """

    def mass(values: Tensor, dims: tuple[int, ...]) -> Tensor:
        return values.abs().pow(p).sum(dims, keepdim=True)

    held = mass(delta * both, (2, 3))
    spare = (radius.view(-1, 1, 1, 1).pow(p) - mass(delta, (1, 2, 3))).clamp(min=0)
    old = delta * here
    direction = old / mass(old, (2, 3)).pow(1 / p).clamp(min=1e-30)
    direction = direction + pattern / mass(pattern, (2, 3)).pow(1 / p).clamp(min=1e-30)
    direction = direction / mass(direction, (2, 3)).pow(1 / p).clamp(min=1e-30)
    size = (spare / delta.shape[1] + held).pow(1 / p)
    return torch.where(both, 0.0, delta) + direction * size
