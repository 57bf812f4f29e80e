"""How far each feature may go alone in a measured threat: the units that attacks move in.

Attacks on a distance that can only be evaluated step along l2 directions. Where features of unlike
scale count alike in the distance, as the columns of a table do, such a step moves only those whose
numbers are small. In units of what each feature may change alone, all count alike.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from hauberk.threats.distances import MeasuredDistanceRegion

MOST = 2048
"""Features of one input beyond which none is looked at alone."""
ALIKE = 16.0
"""Ratio of the largest extent to the least up to which features count as alike."""
WIDE = 64.0
"""Where a side of the box is infinite: the largest extent that needs no units of its own."""
LEAST, LARGEST = -40, 40
"""Powers of two that are tried."""


def units(region: MeasuredDistanceRegion, eps: float) -> Tensor | None:
    """A power of two for each feature, about as far as it may go alone, ``(...)`` of one input.

    The distance is measured from the middle of the box (0 where it has no ends). Scaling by powers
    of two rounds nothing.

    Args:
        region: any of the threat's, of rows ``(S, D)`` or ``(S, 1, D)``.
        eps: the threat's size; inf for a distance without one.

    Returns:
        None for images, for features that are alike, and for a distance that is not finite there.
    """
    shape, edges = region.x0.shape[1:], region.edges
    count = shape.numel()
    if not 1 <= len(shape) <= 2 or not 1 < count <= MOST:
        return None
    lo, hi = (edge.double().expand(shape).flatten() for edge in edges)
    middle = torch.where(lo.isfinite() & hi.isfinite(), (lo + hi) / 2, 0.0).clamp(lo, hi)
    room = torch.where(hi.isfinite(), hi - middle, torch.inf)
    rows = middle.expand(count, -1).clone()
    alone = region.around(rows.view(count, *shape))

    def far(step: Tensor) -> Tensor:
        """The distance of moving feature i by ``step`` i, each alone, ``(D,)``."""
        moved = (rows + torch.diag(step.to(rows))).view_as(alone.x0)
        return alone.measure_off(moved)

    size = _size(far, room, eps)
    if not 0 < size < torch.inf:
        return None
    low = torch.full((count,), LEAST, device=rows.device)
    high = torch.full((count,), LARGEST + 1, device=rows.device)
    while int((high - low).max()) > 1:
        at = torch.div(low + high, 2, rounding_mode="floor")
        # A feature ends at the end of the box, whatever the distance.
        inside = (far(torch.minimum(2.0**at, room)) <= size) & (2.0**at <= room)
        low, high = torch.where(inside, at, low), torch.where(inside, high, at)
    if bool((low <= LEAST).any()):  # no step is short enough
        return None
    found = 2.0 ** low.to(rows.dtype)
    dead = low >= LARGEST  # it may go anywhere: as far as the farthest that may not
    if bool(dead.all()):
        return None
    found = torch.where(dead, found[~dead].max(), found)
    least, largest = float(found.min()), float(found.max())
    endless = bool((~room.isfinite()).any()) and not 1 / WIDE <= largest <= WIDE
    return found.to(edges[0].dtype).view(shape) if largest / least >= ALIKE or endless else None


def _size(far: Callable[[Tensor], Tensor], room: Tensor, eps: float) -> float:
    """The distance that all features are moved to: the threat's size, or one inside the box."""
    if eps < torch.inf:
        return eps
    tried = far(torch.where(room.isfinite(), room / 16, 1.0))
    tried = tried[tried.isfinite() & (tried > 0)]
    # So small that the box stops none, unless the distance hardly knows a feature.
    return max(float(tried.min()), 1e-4 * float(tried.median())) if len(tried) else 0.0
