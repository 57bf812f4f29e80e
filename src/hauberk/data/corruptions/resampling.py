"""Images moved, shrunk and smoothed by matrices of one axis, ``(out, in)`` float64."""

from math import ceil, floor

import torch
from torch import Tensor


def along_both(x: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    """``(..., H, W)`` with one matrix applied to its columns and another to its rows.

    Example:
        >>> along_both(torch.ones(1, 2, 2), torch.eye(2), 3 * torch.eye(2))
        tensor([[[3., 3.],
                 [3., 3.]]])
    """
    return rows @ x @ columns.T


def symmetric(index: Tensor, n: int) -> Tensor:
    """Places beyond the ends, mirrored so that the end itself is repeated: ``1 0 | 0 1``.

    Example:
        >>> symmetric(torch.tensor([-2, -1, 0, 3, 4]), 4).tolist()
        [1, 0, 0, 3, 3]
    """
    around = index % (2 * n)
    return torch.minimum(around, 2 * n - 1 - around)


def mirrored(index: Tensor, n: int) -> Tensor:
    """Places beyond the ends, mirrored at the end without repeating it: ``2 1 | 0 1 2``.

    Example:
        >>> mirrored(torch.tensor([-2, -1, 0, 3, 4]), 4).tolist()
        [2, 1, 0, 3, 2]
    """
    around = index % (2 * n - 2)
    return torch.minimum(around, 2 * n - 2 - around)


def smoothing(n: int, sigma: float, truncate: float, mirror: bool) -> Tensor:
    """A Gaussian of standard deviation ``sigma`` pixels, cut off beyond ``truncate * sigma``.

    Args:
        n: pixels of the axis.
        sigma: 0 for none.
        truncate: in units of sigma.
        mirror: whether the image is mirrored beyond its edge; else the edge is repeated.

    Example:
        >>> smoothing(3, 0.25, 4, mirror=False).sum(1)
        tensor([1., 1., 1.], dtype=torch.float64)
    """
    radius = int(truncate * sigma + 0.5)
    offsets = torch.arange(-radius, radius + 1)
    weights = torch.exp(-0.5 * (offsets / (sigma or 1)) ** 2).double()
    places = torch.arange(n).unsqueeze(1) + offsets
    places = symmetric(places, n) if mirror else places.clamp(0, n - 1)
    matrix = torch.zeros(n, n, dtype=torch.float64)
    return matrix.scatter_add_(1, places, (weights / weights.sum()).expand(n, -1))


def zoom(n: int, factor: float) -> Tensor:
    """The middle of an axis, enlarged by ``factor >= 1``, linearly interpolated.

    The ``ceil(n / factor)`` pixels in the middle become ``round(factor * that)``, end on end, of
    which the middle ``n`` are kept.

    Example:
        >>> torch.equal(zoom(4, 1), torch.eye(4, dtype=torch.float64))
        True
    """
    kept = ceil(n / factor)
    made = round(kept * factor)
    at = torch.arange(n, dtype=torch.float64) + (made - n) // 2
    at = at * ((kept - 1) / (made - 1)) + (n - kept) // 2
    low = at.floor().clamp(max=n - 2)
    share = (at - low).unsqueeze(1)
    matrix = torch.zeros(n, n, dtype=torch.float64)
    matrix.scatter_(1, low.long().unsqueeze(1), 1 - share)
    return matrix.scatter_(1, low.long().unsqueeze(1) + 1, share)


def box_average(n: int, out: int) -> Tensor:
    """An axis of ``n`` pixels resized to ``out``: the mean of those whose centres a pixel covers.

    Example:
        >>> box_average(4, 2)
        tensor([[0.5000, 0.5000, 0.0000, 0.0000],
                [0.0000, 0.0000, 0.5000, 0.5000]], dtype=torch.float64)
    """
    scale = n / out
    half = max(scale, 1.0) / 2
    matrix = torch.zeros(out, n, dtype=torch.float64)
    for place in range(out):
        centre = (place + 0.5) * scale
        # A centre on the edge of two pixels belongs to the left one: > low, <= high.
        first = max(0, floor(centre - half - 0.5 + 1e-9) + 1)
        last = min(n - 1, floor(centre + half - 0.5 + 1e-9))
        matrix[place, first : last + 1] = 1 / (last - first + 1)
    return matrix


def sampled(x: Tensor, rows: Tensor, columns: Tensor, repeat_edge: bool) -> Tensor:
    """Images at real places, linearly interpolated and mirrored beyond the edge.

    Args:
        x: ``(B, C, H, W)``.
        rows, columns: places ``(B, H, W)`` in pixels.
        repeat_edge: whether the mirror image repeats the edge.

    Example:
        >>> x = torch.arange(3.0).view(1, 1, 1, 3).expand(1, 1, 2, 3)
        >>> at = torch.full((1, 2, 3), 0.5)
        >>> sampled(x, at, at, repeat_edge=True)[0, 0, 0]
        tensor([0.5000, 0.5000, 0.5000])
    """
    inside = symmetric if repeat_edge else mirrored
    height, width = x.shape[2:]
    top, left = rows.floor(), columns.floor()
    down, right = rows - top, columns - left
    found = torch.zeros_like(x)
    for i in (0, 1):
        for j in (0, 1):
            weight = (down if i else 1 - down) * (right if j else 1 - right)
            r, c = inside(top.long() + i, height), inside(left.long() + j, width)
            found += weight.unsqueeze(1) * gathered(x, r, c)
    return found


def gathered(x: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    """``x[b, :, rows[b], columns[b]]``, for ``x`` (B, C, H, W) and places ``(B, H, W)`` int64.

    Example:
        >>> x = torch.arange(4).view(1, 1, 2, 2)
        >>> gathered(x, torch.zeros(1, 2, 2).long(), torch.ones(1, 2, 2).long())[0, 0, 0]
        tensor([1, 1])
    """
    flat = (rows * x.shape[3] + columns).flatten(1).unsqueeze(1)
    return x.flatten(2).gather(2, flat.expand(-1, x.shape[1], -1)).view(x.shape)
