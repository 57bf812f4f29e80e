"""A radius solver where an attack is wanted: does the nearest point it finds lie in the ball?"""

from dataclasses import dataclass, field, replace
from math import inf
from typing import Any

import torch
from torch import Tensor

from hauberk.attacks.base import Attack
from hauberk.engine.outcome import Outcome
from hauberk.engine.state import Response, State
from hauberk.errors import InputError
from hauberk.maths.steps import per_example
from hauberk.objectives.problem import Problem
from hauberk.solvers.base import Solver
from hauberk.solvers.fab import FAB
from hauberk.threats.ball import Ball
from hauberk.threats.base import Box, Threat
from hauberk.threats.metric import Metric
from hauberk.victims.victim import Victim


@dataclass(frozen=True, kw_only=True)
class AsAttack(Attack):
    """A minimum-norm method against a ball, as the published suites use them.

    Where the nearest point lies outside of the ball, the point is projected into it and counts as
    not fooling.

    Args:
        solver: its loss, steps, targets and softening hold; those here have no effect.

    Raises:
        InputError: for threats that are no lp balls, or a norm that the solver does not serve.
    """

    solver: Solver = field(default_factory=FAB)

    @property
    def passes(self) -> int:
        return self.solver.passes

    def attempts(self, classes: int) -> int:
        return self.solver.attempts(classes)

    def run(self, victim: Victim, threat: Threat, x: Tensor, y: Tensor, **options: Any) -> Outcome:
        if not isinstance(threat, Ball):
            raise InputError(f"{type(self.solver).__name__} needs an lp ball, not {threat}")
        found = self.solver.run(victim, self.solver.serve(Metric(threat.p)), x, y, **options)
        region = threat.at(x.detach().to(found.points.device), Box.of(options["box"]))
        points = found.points.to(region.x0)
        inside = found.fooled & region.contains(points)
        near = region.finalise(region.project_(points.clone()))
        points = torch.where(per_example(inside, points), points, near)
        # Larger is better, as of any attack: by how much the ball is larger than the distance.
        worth = (region.radius - found.distance).to(points.dtype)
        return replace(
            found, points=points, fooled=inside, loss=torch.where(found.fooled, worth, -inf),
            distance=region.distance(points), worst=None,
        )  # fmt: skip

    def describe(self) -> dict[str, Any]:
        return super().describe() | {"solver": self.solver.describe()}

    def start(self, problem: Problem) -> State:
        raise NotImplementedError("AsAttack brings its own run")

    def step(self, problem: Problem, state: State, response: Response) -> State:
        raise NotImplementedError("AsAttack brings its own run")
