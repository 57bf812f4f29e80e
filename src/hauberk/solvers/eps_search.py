"""Binary search over eps with whole runs of any attack."""

from dataclasses import dataclass, field, replace
from math import ceil, inf, log2
from typing import Any, Self

import torch
from torch import Tensor

from hauberk.attacks.apgd import APGD
from hauberk.engine.method import Job, Method, WarmStart
from hauberk.engine.outcome import Outcome
from hauberk.errors import InputError
from hauberk.solvers.base import Solver
from hauberk.solvers.line_search import LineSearch
from hauberk.threats.metric import Metric
from hauberk.victims.victim import Victim


@dataclass(frozen=True, kw_only=True)
class EpsSearch(Solver):
    """The least of the sizes ``largest / ratio^k`` at which an attack succeeds, then a line search.

    Each example's size is found by bisection over the levels ``k < levels``, with one run of the
    attack in each; the point found at the smallest one that succeeds is drawn straight towards the
    clean input (:class:`~hauberk.solvers.line_search.LineSearch`). :class:`Bisection` spends less,
    but drives its attack step by step, which methods of several candidates, of other libraries or
    of other models do not allow; this one takes any method.

    Args:
        attack: any method on balls.
        largest: the largest eps; where the attack fails in it, nothing is found.
        levels: how many sizes.
        ratio: of one size to the next.
        refine: steps of the line search.

    Example:
        >>> model = torch.nn.Linear(2, 2)
        >>> images, labels = torch.rand(3, 2), torch.zeros(3, dtype=torch.long)
        >>> solver = EpsSearch(attack=APGD(steps=3), largest=0.1, levels=4)
        >>> bool((solver(model, images, labels, "l2").distance <= 0.1).all())
        True
    """

    general = True

    attack: Method = field(default_factory=lambda: APGD(steps=20))
    largest: float = 1.0
    levels: int = 32
    ratio: float = 1.2
    refine: int = 12

    def __post_init__(self) -> None:
        if self.levels < 1 or self.refine < 1 or not self.ratio > 1 or not 0 < self.largest < inf:
            raise InputError(
                "give levels and refine of 1 or more, a ratio above 1 and a largest eps above 0"
            )

    @property
    def passes(self) -> int:
        runs = 1 + ceil(log2(self.levels))
        return runs * self.attack.passes + self.refine + 1

    def attempts(self, classes: int) -> int:
        return self.attack.attempts(classes)

    def within(self, budget: int, classes: int) -> Self:
        each = budget // self.attempts(classes) - self.refine - 1
        if (runs := each // self.attack.passes) < 1:
            least = self.attempts(classes) * (self.attack.passes + self.refine + 1)
            raise InputError(f"a budget of {budget} passes is too small: EpsSearch needs {least}")
        return replace(self, levels=min(self.levels, 2 ** (runs - 1)))

    def run(self, victim: Victim, job: Job) -> Outcome:
        job = job.on(job.x.device)
        if not isinstance(job.threat, Metric):
            raise InputError(f"EpsSearch needs an lp distance, not {job.threat}")
        ball = job.threat.ball(self.largest)
        best, n = job.x.clone(), len(job)
        # Level ``low`` succeeded (-1: none was tried yet); ``high`` did not, or is off the scale.
        low, high = torch.full((n,), -1), torch.full((n,), self.levels)
        spent = torch.zeros(2, n, dtype=torch.int64)
        while bool((open_ := high - low > 1).any()):
            level = torch.where(low < 0, 0, (low + high) // 2)
            for k in level[open_].unique().tolist():
                rows = ((level == k) & open_).nonzero().squeeze(1)
                sized = replace(job.take(rows), threat=ball.scaled(self.ratio**-k), stop=True)
                sized = replace(sized, threat=sized.threat.take(rows))
                found = self.attack.run(victim, sized)
                hit = found.fooled.cpu()
                best[rows[hit]] = found.points.to(best)[hit]
                low[rows[hit]] = k
                high[rows[~hit]] = k
                spent[:, rows] += torch.stack((found.forwards, found.backwards)).cpu()
        return self._refined(victim, job, best, low >= 0, spent)

    def _refined(
        self, victim: Victim, job: Job, points: Tensor, given: Tensor, spent: Tensor
    ) -> Outcome:
        """The points drawn to the boundary, and what all of it cost."""
        warm = WarmStart(points.unsqueeze(1), given.unsqueeze(1))
        found = LineSearch(steps=self.refine).run(victim, replace(job, warm=warm))
        forwards, backwards = (row.to(found.forwards) for row in spent)
        return replace(
            found, forwards=found.forwards + forwards, backwards=found.backwards + backwards
        )

    def describe(self) -> dict[str, Any]:
        return {**super().describe(), "attack": type(self).__name__, "on": self.attack.describe()}
