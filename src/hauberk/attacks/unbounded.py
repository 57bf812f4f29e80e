"""A check of the attack rather than of the model: without a bound it must succeed."""

from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

import torch
from torch import Tensor

from hauberk.attacks.apgd import APGD
from hauberk.attacks.base import Attack
from hauberk.engine.outcome import Outcome
from hauberk.engine.state import Response, State
from hauberk.objectives.problem import Problem
from hauberk.threats.base import Box, Threat
from hauberk.victims.victim import Victim


@dataclass(frozen=True, kw_only=True)
class Unbounded(Attack):
    """An attack on the threat enlarged to the whole box; whether it fooled goes into ``loss``.

    Its points are the clean inputs, so it never breaks one;
    :mod:`hauberk.evaluation.accuracy.evidence`
    reads how often it succeeds. A model that stands it everywhere has its gradients masked.
    Source: Athalye, Carlini & Wagner 2018, section 3.1; Carlini et al. 2019, section 4.

    Args:
        inner: on the logit margin, 20 steps; ``loss``, ``steps`` and the rest here have no effect.
    """

    kind: ClassVar[str] = "sanity"

    inner: Attack = field(default_factory=lambda: APGD(steps=20, soften=0.1))

    @property
    def passes(self) -> int:
        return self.inner.attempts(10) * self.inner.passes

    def run(self, victim: Victim, threat: Threat, x: Tensor, y: Tensor, **options: Any) -> Outcome:
        box: Box = options["box"]
        lo, hi = box.bounds(x)
        far = torch.where(hi - x > x - lo, hi, lo).expand_as(x)
        size = threat.distance(x, far).max() if len(x) else torch.zeros(())
        own = threat.at(x, box).radius.max() if len(x) else torch.ones(())
        wide = threat.scaled(float(size / own)) if own > 0 and bool(size.isfinite()) else threat
        found = self.inner.run(victim, wide, x, y, **options)
        points = x.detach().to(found.points)
        return replace(
            found, points=points, loss=found.fooled.to(points.dtype), witness=None, worst=None,
            fooled=torch.zeros_like(found.fooled), distance=torch.zeros_like(found.distance),
        )  # fmt: skip

    def describe(self) -> dict[str, Any]:
        return super().describe() | {"inner": self.inner.describe()}

    def start(self, problem: Problem) -> State:
        raise NotImplementedError("Unbounded brings its own run")

    def step(self, problem: Problem, state: State, response: Response) -> State:
        raise NotImplementedError("Unbounded brings its own run")
