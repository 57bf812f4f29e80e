"""A radius solver where an attack is wanted: does the nearest point it finds lie in the ball?"""

from dataclasses import dataclass, field, replace
from math import inf
from typing import Any, Self

import torch

from hauberk.engine.method import Job, Method
from hauberk.engine.outcome import Outcome
from hauberk.errors import InputError
from hauberk.maths.steps import per_example
from hauberk.solvers.base import Solver
from hauberk.solvers.ddn import DDN
from hauberk.solvers.fab import FAB
from hauberk.threats.ball import Ball
from hauberk.threats.base import Threat
from hauberk.threats.metric import Metric
from hauberk.victims.victim import Victim


@dataclass(frozen=True, kw_only=True)
class AsAttack(Method):
    """A minimum-norm method against a ball, as the published suites use them.

    Where the nearest point lies outside of the ball, the point is projected into it and counts as
    not fooling.

    Args:
        solver: what looks for the nearest point.
        near: share of the ball's radius within which FAB starts at random, or DDN's first length; 0
            leaves their own.
        early: leave an example as soon as a point in the ball fools; as published, solvers search
            on for the nearest one.

    Raises:
        InputError: for threats that are no lp balls, a norm that the solver does not serve, and
            ``near`` below 0 or with another solver; for a solver that looks for the soft margin's
            boundary, where the model need not be fooled.

    Example:
        >>> from hauberk.threats import L2
        >>> model = torch.nn.Linear(2, 2)
        >>> x, y = torch.full((3, 2), 0.5), torch.zeros(3, dtype=torch.long)
        >>> outcome = AsAttack(solver=FAB(steps=2))(model, x, y, L2(0.1))
        >>> bool((outcome.distance <= 0.1).all())
        True
    """

    solver: Solver = field(default_factory=FAB)
    near: float = 0.0
    early: bool = False

    def __post_init__(self) -> None:
        if self.near and (not isinstance(self.solver, FAB | DDN) or not 0 < self.near < inf):
            raise InputError(
                f"near is {self.near}: give a share of the radius, 0 or more, for FAB or DDN"
            )
        if getattr(self.solver, "boundary", "decision") != "decision":
            raise InputError(
                f"{type(self.solver).__name__} looks for the soft margin's boundary, where the "
                "model need not be fooled: give it boundary='decision'"
            )

    @property
    def passes(self) -> int:
        return self.solver.passes

    def attempts(self, classes: int) -> int:
        return self.solver.attempts(classes)

    def aiming(self, classes: int) -> int:
        return self.solver.aiming(classes)

    def beginning_at(self, many: int) -> Self:
        return replace(self, solver=self.solver.beginning_at(many))

    def check(self, job: Job) -> None:
        self.solver.check(self._unbounded(job))

    def run(self, victim: Victim, job: Job) -> Outcome:
        found = self._near(job.threat).run(victim, self._unbounded(job))
        region = job.threat.at(job.x.detach().to(found.points.device), job.box)
        points = found.points.to(region.x0)
        inside = found.fooled & region.contains(points)
        raw = region.encode(points)
        assert raw is not None  # of a ball
        near = region.decode(region.finalise(region.project_(raw.clone())))
        points = torch.where(per_example(inside, points), points, near)
        # Larger is better, as of any attack: by how much the ball is larger than the distance.
        worth = (region.radius - found.distance).to(points.dtype)
        return replace(
            found, points=points, fooled=inside, loss=torch.where(found.fooled, worth, -inf),
            distance=region.distance(points), worst=None, violation=region.violation(raw),
        )  # fmt: skip

    def describe(self) -> dict[str, Any]:
        return super().describe() | {"solver": self.solver.describe()}

    def _unbounded(self, job: Job) -> Job:
        """The job of the solver: the whole box, measured in the ball's norm."""
        if not isinstance(job.threat, Ball):
            raise InputError(f"{type(self.solver).__name__} needs an lp ball, not {job.threat}")
        metric = self.solver.serve(Metric.of(job.threat))
        # A length in float32 may be off by its rounding: no point is left for one that is no hit.
        inside = job.threat.eps * (1 if job.threat.p == 0 else 1 - 1e-5)
        return replace(job, threat=metric, enough=inside if self.early else None)

    def _near(self, threat: Threat) -> Solver:
        """The solver, starting at a share of the ball's radius."""
        if not self.near or not isinstance(threat, Ball):
            return self.solver
        size = self.near * threat.eps
        if isinstance(self.solver, DDN):
            return replace(self.solver, eps=size)
        return replace(self.solver, near=size) if isinstance(self.solver, FAB) else self.solver
