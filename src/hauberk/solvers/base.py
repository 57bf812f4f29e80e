"""What every radius solver is: a search of the whole box that keeps the nearest point."""

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import inf
from typing import Any, ClassVar, Self

import torch
from torch import Tensor, nn

from hauberk.engine.loop import drive
from hauberk.engine.method import Job, Method
from hauberk.engine.outcome import Outcome
from hauberk.engine.state import Response
from hauberk.engine.state import cosine as cosine
from hauberk.engine.stepper import S, Stepper
from hauberk.errors import InputError
from hauberk.objectives.problem import Problem
from hauberk.threats.base import Box, Threat
from hauberk.threats.distances import LpDistanceRegion
from hauberk.threats.measured import Measured
from hauberk.threats.metric import Metric
from hauberk.threats.notation import metric as read
from hauberk.victims.victim import Victim


@dataclass(frozen=True, kw_only=True)
class Solver(Method):
    """Search for the nearest input that fools the model (problem 2).

    Called as ``solver(model, images, labels, "l2")``. In the outcome ``distance`` is the radius
    found; where ``fooled`` is False nothing was found, and ``loss`` is -inf. ``warm`` points are
    adversarial ones to start from.

    Args:
        soften: width of the sigmoids that stand in for kinks and steps in the backward pass; 0 for
            the model's own gradients.

    Raises:
        InputError: for a metric that the solver cannot measure in.
    """

    norms: ClassVar[tuple[float, ...]] = (0, 1, 2, inf)
    """The lp distances that it serves; ``general`` ones serve all p >= 1."""
    general: ClassVar[bool] = False
    measured: ClassVar[bool] = False
    """Whether it serves distances given as differentiable functions."""
    from_others: ClassVar[bool] = False
    """Whether points that were found in other metrics help it as warm starts."""

    soften: float = 0.0

    def __call__(
        self,
        model: nn.Module | Victim,
        images: Tensor,
        labels: Tensor,
        metric: str | Threat,
        *,
        box: Box | Sequence[Any] = (0.0, 1.0),
        seed: int = 0,
        ids: Tensor | None = None,
        stop: bool = False,
        batch_size: int | None = None,
        warm: Tensor | None = None,
        has_warm: Tensor | None = None,
    ) -> Outcome:
        """Look for the nearest points to images ``(B, ...)`` that are not labelled ``(B,)``.

        Args:
            model: a classifier that returns logits, or a victim.
            images: floats in the box; labels: integer class ids.
            metric: what to measure in: ``l0``, ``l1``, ``l2``, ``linf`` or another distance.
            box: the valid input range, ``(lo, hi)``.
            seed: of all random numbers.
            ids: example ids ``(B,)`` that the random numbers are made from; 0 to B - 1 if left out.
            stop: no effect: solvers search to their end.
            batch_size: most rows in one forward pass; found by trying if left out.
            warm: adversarial inputs ``(B, W, ...)`` to start from.
            has_warm: which of them count, ``(B, W)`` bool; all if left out.

        Raises:
            InputError: for bad input, and a metric that the solver cannot measure in.
        """
        return super().__call__(
            model, images, labels, self.serve(metric), box=box, seed=seed, ids=ids, stop=False,
            batch_size=batch_size, warm=warm, has_warm=has_warm,
        )  # fmt: skip

    def serve(self, metric: str | Threat) -> Threat:
        """The metric, if this solver serves it."""
        metric = read(metric) if isinstance(metric, str) else metric
        if isinstance(metric, Metric) and (metric.p in self.norms or (self.general and metric.p)):
            return metric
        if self.measured and isinstance(metric, Measured):
            return metric
        served = ", ".join(str(Metric(p)) for p in self.norms)
        more = " and any lp with p >= 1" if self.general else ""
        more += ", and differentiable distances" if self.measured else ""
        raise InputError(
            f"{type(self).__name__} does not measure in {metric}: it serves {served}{more}"
        )

    @abstractmethod
    def within(self, budget: int, classes: int) -> Self:
        """The same solver with as many steps as ``budget`` passes per example allow.

        Raises:
            InputError: if even the fewest cost more.
        """


@dataclass(frozen=True, kw_only=True)
class MinNormSolver(Stepper[S], Solver):
    """A solver that the engine drives step by step, and that keeps the nearest point that fools.

    Subclasses say where to begin (``init``) and where to look next (``step``); responses hold the
    distance of the point evaluated.
    """

    measures = True

    loss: Any = "margin"

    def value(self, problem: Problem, state: S, response: Response) -> Tensor | None:
        if not response.any_fooled:
            return None
        return torch.where(response.fooled, -response.distance, -inf)

    def region(self, problem: Problem) -> LpDistanceRegion:
        """The problem's region, for solvers that use the geometry of an lp distance.

        Raises:
            InputError: for any other.
        """
        return LpDistanceRegion.require(problem.region, self)

    def within(self, budget: int, classes: int) -> Self:
        low, high = 1, max(2, budget)
        if (least := _cost(replace(self, steps=1), classes)) > budget:
            raise InputError(
                f"a budget of {budget} passes is too small: {type(self).__name__} needs {least}"
            )
        while high - low > 1:
            middle = (low + high) // 2
            fits = _cost(replace(self, steps=middle), classes) <= budget
            low, high = (middle, high) if fits else (low, middle)
        return replace(self, steps=low)

    def run(self, victim: Victim, job: Job) -> Outcome:
        return drive(self, victim, replace(job, stop=job.stop and job.enough is not None))

    def check(self, job: Job) -> None:
        self.try_init(self.serve(job.threat), job.x.detach(), job.y, job.box)


def _cost(solver: "MinNormSolver[Any]", classes: int) -> int:
    """Most passes per example; ranking the targets takes one."""
    ranking = solver.aiming(classes) or bool(solver.targets)
    return solver.attempts(classes) * solver.passes + ranking
