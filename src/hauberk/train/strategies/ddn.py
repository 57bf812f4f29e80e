"""Training on the points of DDN (Rony et al. 2019), which Ding et al. 2020 compare MMA with."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from math import inf
from typing import Any, ClassVar

import torch
from torch import Tensor

from hauberk.errors import InputError
from hauberk.maths.steps import per_example
from hauberk.solvers.base import Solver
from hauberk.solvers.ddn import DDN
from hauberk.threats.ball import Ball
from hauberk.threats.base import Box, Threat
from hauberk.threats.metric import Metric
from hauberk.train.strategies.base import Batch, Loss, Strategy, Tables, cross_entropy, empty_loss


@dataclass(frozen=True, kw_only=True)
class DDNTraining(Strategy):
    """Cross-entropy at the nearest adversarial points that DDN finds, in l2.

    Where DDN finds no adversarial point the clean image is trained on, and longer perturbations are
    scaled down to the radius of the threat. (MMA leaves both out of its loss.) An example costs the
    solver's passes, and one forward and one backward pass.

    Source: Rony et al. 2019; Ding et al. 2020, appendix B.1.

    Args:
        threat: An l2 ball; its radius caps the norm of perturbations.
        solver: The search for the nearest points: 100 steps of DDN as published.

    Raises:
        InputError: for a threat that is no l2 ball of finite size, and a solver of other norms.

    Example:
        >>> import hauberk as hb
        >>> hb.train.DDNTraining(hb.L2(2.4)).describe()["solver"]["steps"]
        100
    """

    called: ClassVar[str] = "ddn"

    threat: Threat = field(kw_only=False)
    solver: Solver = field(default_factory=lambda: DDN(steps=100))

    def __post_init__(self) -> None:
        object.__setattr__(self, "threat", Threat.of(self.threat))
        if not isinstance(self.threat, Ball) or self.threat.p != 2 or not 0 < self.threat.eps < inf:
            raise InputError(
                f"DDN training is in l2, not on {self.threat}: give an l2 ball whose radius caps "
                "the norm of perturbations, e.g. l2:2.4"
            )
        self.solver.serve(Metric.of(self.threat))

    @property
    def threats(self) -> Sequence[Threat]:
        return (self.threat,)

    def check(self, x: Tensor, y: Tensor, box: Box) -> None:
        super().check(x, y, box)
        Metric.of(self.threat).at(x[:1], box)

    def loss(self, batch: Batch, tables: Tables) -> Loss:
        x = batch.x
        if not len(x):
            return empty_loss(batch)
        found = batch.attack(self.solver, Metric.of(self.threat))
        assert isinstance(self.threat, Ball)
        length = found.distance.to(x)
        share = torch.where(found.fooled, self.threat.eps / length.clamp_min(1e-30), 0.0)
        delta = (found.points.to(x) - x) * per_example(share.clamp(max=1), x)
        norms = torch.where(found.fooled, found.distance, 0.0)
        logs: dict[str, Any] = {
            "norm": norms.clamp(max=self.threat.eps).mean(),
            "found": found.fooled.double().mean(),
        }
        return cross_entropy(batch, x + delta, **logs)
