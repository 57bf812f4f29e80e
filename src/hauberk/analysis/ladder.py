"""Radii from any attack: a search over the size of a ball, the same for every example."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from hauberk.attacks.base import Attack
from hauberk.errors import InputError
from hauberk.maths.steps import per_example
from hauberk.threats.base import Box, Threat
from hauberk.victims.victim import Victim


def ladder(
    attack: Attack,
    threat: Threat,
    *,
    levels: int = 32,
    ratio: float = 1.2,
    pulls: int = 12,
    box: Box | tuple[float, float] = (0.0, 1.0),
    seed: int = 0,
) -> Callable[[nn.Module, Tensor, Tensor], Tensor]:
    """A radius solver (problem 2) made of an attack on sizes ``threat / ratio^k``, k < levels.

    Each example's size is found by bisection over the levels; the point found at the smallest one
    that succeeds is pulled straight towards the clean input by ``pulls`` bisections. Its distance
    bounds the radius from above. Rows without a wrong decision at the full size are NaN.
    """
    if levels < 1 or not ratio > 1 or pulls < 0:
        raise InputError(
            "a ladder wants levels of 1 or more, a ratio above 1 and pulls of 0 or more"
        )

    def solve(model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
        victim = Victim.of(model)
        best = torch.full_like(x, torch.nan)
        # Level ``low`` succeeded (-1: none was tried yet); ``high`` did not, or is off the ladder.
        low = torch.full((len(x),), -1, device=x.device)
        high = torch.full((len(x),), levels, device=x.device)
        while len(x) and bool((high - low > 1).any()):
            level = torch.where(low < 0, 0, (low + high) // 2)
            for number in level[high - low > 1].unique().tolist():
                rows = ((level == number) & (high - low > 1)).nonzero().squeeze(1)
                sized = threat.scaled(ratio**-number)
                found = attack(
                    victim, x[rows], y[rows], sized, box=box, seed=seed, ids=rows, stop=True
                )  # fmt: skip
                hit = found.fooled.to(x.device)
                best[rows[hit]] = found.points.to(best)[hit]
                low[rows[hit]] = number
                high[rows[~hit]] = number
        return _pull(victim, x, y, best, pulls)

    return solve


def _pull(victim: Victim, x: Tensor, y: Tensor, points: Tensor, pulls: int) -> Tensor:
    """Points moved along the line to ``x`` for as long as bisection finds them decided wrongly."""
    rows = points.isfinite().flatten(1).all(1).nonzero().squeeze(1)
    if not len(rows) or not pulls:
        return points
    points = points.clone()
    clean, far = x[rows], points[rows]
    right, wrong = far.new_zeros(len(rows)), far.new_ones(len(rows))
    with victim.held():
        for _ in range(pulls):
            middle = (right + wrong) / 2
            there = clean + per_example(middle, far) * (far - clean)
            fooled = victim.wrong(victim.predict(there), y[rows].to(victim.device)).to(x.device)
            wrong = torch.where(fooled, middle, wrong)
            right = torch.where(fooled, right, middle)
            far_ = per_example(fooled, far)
            points[rows] = torch.where(far_, there, points[rows])
    return points
