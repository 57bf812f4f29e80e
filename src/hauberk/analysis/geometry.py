"""Where a model is wrong on a plane through an example, and how a ball meets that region."""

from dataclasses import dataclass, field
from math import inf
from typing import Any

import torch
from torch import Tensor, nn

from hauberk.errors import InputError
from hauberk.maths.norms import norm
from hauberk.store.files import plain
from hauberk.victims.victim import Victim


@dataclass(frozen=True, eq=False, kw_only=True)
class Geometry:
    """The decisions at ``x + a u + b v``, u and v being two perturbations of lp length one.

    Attributes:
        p, eps: the ball's.
        steps: values of a and of b, ``(K,)`` float64.
        wrong: whether the model is wrong, ``(K, K)`` bool: row i is at ``a[i]``, column j at
            ``b[j]``.
        distance: lp distance from the example, ``(K, K)`` float64.
        reach: lp lengths of the two perturbations as they were given.

    Example:
        >>> x, model = torch.zeros(1, 2), nn.Linear(2, 2)
        >>> found = geometry(model, x, 0, torch.eye(2)[:1], torch.eye(2)[1:], p=1, eps=2.0)
        >>> 0 <= found.share <= 1
        True
    """

    p: float
    eps: float
    steps: Tensor = field(repr=False)
    wrong: Tensor = field(repr=False)
    distance: Tensor = field(repr=False)
    reach: tuple[float, float]

    @property
    def share(self) -> float:
        """Share of the ball, in this plane, in which the model is wrong: all of it maximises 0/1
        loss.
        """
        inside = self.distance <= self.eps
        return float((self.wrong & inside).sum() / inside.sum())

    @property
    def radius(self) -> float:
        """Least distance of a wrong point of the grid; inf without one."""
        return float(self.distance[self.wrong].min()) if bool(self.wrong.any()) else inf

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {**plain(vars(self)), **plain({"share": self.share, "radius": self.radius})}


def geometry(
    model: nn.Module, x: Tensor, label: int, first: Tensor, second: Tensor, *, p: float, eps: float,
    points: int = 81, batch_size: int | None = None,
) -> Geometry:  # fmt: skip
    """Where a model is wrong on the plane of two perturbations of an example; the box is ignored.

    Args:
        model: a classifier.
        x: one input, ``(...)`` or ``(1, ...)``.
        label: its class.
        first, second: perturbations of the shape of ``x``, such as a sparse and a dense one.
        p, eps: of the ball looked at; the plane reaches a little further.
        points: along each side of the plane.
        batch_size: most points in one pass.

    Raises:
        InputError: for perturbations of another shape, or of no length.

    Source: Liang et al. 2023, Figure 7a.

    Example:
        >>> x, sides = torch.zeros(1, 2), torch.eye(2)
        >>> found = geometry(nn.Linear(2, 2), x, 0, sides[:1], sides[1:], p=1, eps=2.0, points=5)
        >>> found.wrong.shape
        torch.Size([5, 5])
    """
    sides = [first.double().flatten(), second.double().flatten()]
    if any(len(side) != x.numel() for side in sides) or points < 2:
        raise InputError("give two perturbations of the input's shape, and points of 2 or more")
    lengths = [float(norm(side[None], p)) for side in sides]
    if not all(0 < length < inf for length in lengths):
        raise InputError("a perturbation has no length: give two that are not zero")
    u, v = (side / length for side, length in zip(sides, lengths, strict=True))
    steps = torch.linspace(-1.2 * eps, 1.2 * eps, points, dtype=torch.float64)
    a, b = (grid.reshape(-1, 1) for grid in torch.meshgrid(steps, steps, indexing="ij"))
    victim = Victim.of(model, batch_size)
    flat, wrong, distance = x.detach().double().flatten().cpu(), [], []
    shape = x.shape[1:] if x.dim() in (2, 4) and len(x) == 1 else x.shape
    size = max(1, victim.batch_size(x.reshape(1, *shape)))
    with victim.held():
        for rows in torch.arange(len(a)).split(size):
            delta = a[rows] * u + b[rows] * v
            shown = (flat + delta).to(x.dtype).view(-1, *shape).to(victim.device)
            y = torch.full((len(rows),), label, device=victim.device)
            wrong.append(victim.wrong(victim.predict(shown), y).cpu())
            distance.append(norm(delta, p))
    square = (points, points)
    return Geometry(
        p=p, eps=eps, steps=steps, wrong=torch.cat(wrong).view(square),
        distance=torch.cat(distance).view(square), reach=(lengths[0], lengths[1]),
    )  # fmt: skip
