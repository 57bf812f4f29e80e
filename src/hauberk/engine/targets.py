"""Which wrong classes to aim at first: those of large logits, or those near to first order."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from hauberk.threats.ball import Ball
from hauberk.threats.base import Threat
from hauberk.threats.box import Box
from hauberk.threats.distances import LpDistanceRegion
from hauberk.threats.metric import Metric
from hauberk.victims.memory import MEMORY_ERRORS
from hauberk.victims.victim import Victim

RANKS = ("logits", "linear")
MOST = 15
"""Classes whose linearised distance is looked at: those of the largest logits."""


def by_logits(logits: Tensor, y: Tensor) -> Tensor:
    """Wrong classes of each example, the largest logit first, ``(B, C - 1)``.

    Args:
        logits: ``(B, C)``; NaN counts as the smallest. ``y``: labels, ``(B,)``.

    Example:
        >>> by_logits(torch.tensor([[0.1, 0.9, 0.5]]), torch.tensor([0]))
        tensor([[1, 2]])
    """
    z = _numbers(logits).scatter(1, y.unsqueeze(1), -torch.inf)
    return z.argsort(dim=1, descending=True, stable=True)[:, :-1]


def metric_of(threat: Threat) -> Metric | None:
    """The lp distance that a threat is measured in; None if it has none."""
    if isinstance(threat, Metric):
        return threat
    return Metric.of(threat) if isinstance(threat, Ball) else None


def looked_at(classes: int) -> int:
    """Classes whose linearised distances are computed, of so many."""
    return min(classes - 1, MOST)


@dataclass(frozen=True)
class Linearised:
    """What one Jacobian of the logits at each clean input says.

    Attributes:
        order: wrong classes, the largest logit first, ``(B, C - 1)``.
        distances: of the first K of them, one ``(B, K)`` for each metric.
        forwards, backwards: passes that each example took.
    """

    order: Tensor
    distances: list[Tensor]
    forwards: int
    backwards: int

    def ranked(self, metric: int = 0) -> Tensor:
        """Wrong classes, the nearest by a metric first, ``(B, C - 1)``.

        Classes whose distance was not computed come last, by their logits.
        """
        near = self.distances[metric]
        k = near.shape[1]
        nearest = near.argsort(dim=1, stable=True)
        return torch.cat([self.order[:, :k].gather(1, nearest), self.order[:, k:]], 1)


def linearised(
    victim: Victim,
    x: Tensor,
    y: Tensor,
    metrics: Sequence[Metric],
    *,
    box: Box = Box(),
    soften: float = 0.0,
) -> Linearised:
    """How far the boundaries to the wrong classes lie, were the model linear around the inputs.

    That is the least length of a change that makes ``z_y - z_k`` vanish to first order and stays in
    the box; without the box's ends ``(z_y - z_k) / |grad (z_k - z_y)|_dual``. Where the box does
    not reach so far, the length of what it allows times how much of the gap that leaves.

    Args:
        victim: the model under attack.
        x: clean inputs, ``(B, ...)``. ``y``: labels, ``(B,)``.
        metrics: distances to measure in: one Jacobian serves all.
        box: the valid input range.
        soften: width of smoothed gradients; 0 for the model's own.

    Source: Melamed et al. 2024, "MALT powers up adversarial attacks", section 3, there with the
    dual of l2 alone and without the box.

    Example:
        >>> model = torch.nn.Linear(2, 3, bias=False)
        >>> _ = model.weight.data.copy_(torch.tensor([[1.0, 0.0], [0.9, 0.0], [0.0, 9.0]]))
        >>> x, y = torch.tensor([[1.0, 0.0]]), torch.tensor([0])
        >>> found = linearised(Victim(model), x, y, [Metric(2)])
        >>> found.order.tolist(), found.ranked().tolist()
        ([[1, 2]], [[2, 1]])
    """
    x, y = x.detach().to(victim.device), y.to(victim.device)
    parts: list[Linearised] = []
    start, size = 0, victim.batch_size(x[:1])
    with victim.held():
        while start < len(x):
            rows = slice(start, start + size)
            which = torch.arange(len(x))[rows]
            regions = [metric.take(which).at(x[rows], box) for metric in metrics]
            try:
                parts.append(_of_rows(victim, x[rows], y[rows], regions, soften))
            except MEMORY_ERRORS as error:
                size = victim.shrink(error, size)
                continue
            start += size
    if not parts:
        none = torch.zeros(0, 0, dtype=torch.int64, device=x.device)
        return Linearised(none, [x.new_zeros(0, 0) for _ in metrics], 0, 0)
    return Linearised(
        torch.cat([part.order for part in parts]),
        [torch.cat(each) for each in zip(*(part.distances for part in parts), strict=True)],
        parts[0].forwards, parts[0].backwards,
    )  # fmt: skip


def _of_rows(
    victim: Victim, x: Tensor, y: Tensor, regions: Sequence[LpDistanceRegion], soften: float
) -> Linearised:
    u = x.clone().requires_grad_()
    with torch.enable_grad():
        logits, y = victim.seen(victim.logits(u, soften), y)
    order = by_logits(logits.detach(), y)
    many = looked_at(logits.shape[1])
    own, z = y.unsqueeze(1), _numbers(logits.detach())
    found: list[list[Tensor]] = [[] for _ in regions]
    for k in range(many):
        aim = order[:, k : k + 1]
        slope = torch.zeros_like(logits, requires_grad=False).scatter_(1, aim, 1.0)
        slope.scatter_(1, own, -1.0)
        grad = victim.gradient(logits, slope, u, keep=k + 1 < many)
        gap = (z.gather(1, own) - z.gather(1, aim)).squeeze(1)
        for region, each in zip(regions, found, strict=True):
            each.append(_distance(region, region.pulled_back(grad.to(region.x0)), gap))
    distances = [torch.stack(each, 1) for each in found]
    return Linearised(order, distances, victim.draws, many * victim.draws)


def _distance(region: LpDistanceRegion, grad: Tensor, gap: Tensor) -> Tensor:
    """To where ``grad . (v - x0) = gap`` (S,), ``(S,)`` float64; infinite if nothing moves it."""
    near = region.project_to_hyperplane(region.start(), grad, gap.to(grad))
    moved = (near - region.x0).double()
    lacking = gap / (moved * grad).flatten(1).sum(1)
    away = region.distance(region.decode(near)) * lacking.clamp_min(1.0)
    return torch.where(gap > 0, away.nan_to_num(nan=torch.inf), 0.0)


def _numbers(logits: Tensor) -> Tensor:
    """Logits in float64, finite but for -inf where NaN."""
    z = logits.double().nan_to_num(nan=-torch.inf, posinf=1e300, neginf=-1e300)
    return z.clamp(min=-1e300, max=1e300)
