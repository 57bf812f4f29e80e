"""A check of the attack rather than of the model: without a bound it must succeed."""

from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor

from hauberk.attacks.apgd import APGD
from hauberk.engine.method import Job, Kind, Method
from hauberk.engine.outcome import Outcome
from hauberk.threats.base import Box, Threat
from hauberk.threats.region import InputRegion, Region
from hauberk.victims.victim import Victim


@dataclass(frozen=True, kw_only=True)
class Unbounded(Method):
    """An attack on the threat enlarged to the whole box; whether it fooled goes into ``loss``.

    Its points are the clean inputs, so it never breaks one; the evidence of an evaluation reads
    how often it succeeds. A model that withstands it everywhere has its gradients masked.
    Source: Athalye, Carlini & Wagner 2018, section 3.1; Carlini et al. 2019, section 4.

    Args:
        inner: the attack; by default on the logit margin, 20 steps along softened gradients.

    Example:
        >>> import torch
        >>> from hauberk.threats import Linf
        >>> model = torch.nn.Linear(2, 2)
        >>> x, y = torch.full((3, 2), 0.5), torch.zeros(3, dtype=torch.long)
        >>> outcome = Unbounded()(model, x, y, Linf(0.01))
        >>> bool((outcome.points == x).all()), outcome.loss.shape
        (True, torch.Size([3]))
    """

    kind = Kind.SANITY

    inner: Method = field(default_factory=lambda: APGD(steps=20, soften=0.1))

    @property
    def passes(self) -> int:
        return self.inner.attempts(10) * self.inner.passes

    def check(self, job: Job) -> None:
        self.inner.check(job)

    def run(self, victim: Victim, job: Job) -> Outcome:
        x, threat = job.x, job.threat
        size, own = torch.zeros(()), torch.ones(())
        if len(x):
            region = threat.at(x, job.box)
            size, own = _farthest(threat, region, x, job.box).max(), region.radius.max()
        if own > 0 and bool(size.isfinite()):
            threat = threat.scaled(float(size / own))
        found = self.inner.run(victim, replace(job, threat=threat))
        points = x.detach().to(found.points)
        return replace(
            found, points=points, loss=found.fooled.to(points.dtype), witness=None, worst=None,
            violation=None, fooled=torch.zeros_like(found.fooled),
            distance=torch.zeros_like(found.distance),
        )  # fmt: skip

    def describe(self) -> dict[str, Any]:
        return super().describe() | {"inner": self.inner.describe()}


def _farthest(threat: Threat, region: Region, x: Tensor, box: Box) -> Tensor:
    """How far the farthest corner of the box lies from each input, ``(B,)``."""
    if isinstance(region, InputRegion):
        lo, hi = region.ends()
        u = region.start()
        return region.distance(region.decode(torch.where(hi - u > u - lo, hi, lo)))
    lo, hi = box.bounds(x)
    return threat.distance(x, torch.where(hi - x > x - lo, hi, lo).expand_as(x))
