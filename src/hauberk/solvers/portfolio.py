"""The composition that is meant for use: several solvers, each from what the others found."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from math import inf
from typing import Self

import torch
from torch import Tensor

from hauberk.engine.method import Job, WarmStart
from hauberk.engine.outcome import Outcome
from hauberk.maths.rng import Draws
from hauberk.maths.steps import per_example
from hauberk.solvers.base import MinNormSolver, Solver
from hauberk.solvers.plans import LEAST, SOFTEN, Phase, plan
from hauberk.threats.base import Threat, Trait
from hauberk.threats.distances import DistanceRegion
from hauberk.threats.metric import Metric
from hauberk.threats.region import InputRegion, Region
from hauberk.victims.victim import Victim

NUDGE = 3e-6
OTHERS = "warm start"
"""What found a point that was given as a warm start and that no phase came nearer than."""


@dataclass
class Nearest:
    """The nearest points so far; rows are examples."""

    distance: Tensor
    points: Tensor
    by: list[str | None]
    each: Tensor
    """The least distance for each target class, ``(B, C)``; inf for none."""
    order: Tensor
    """The same in another metric that was searched first, ``(B, C)``."""
    plain: Tensor
    """The least distance by the model's own gradients, ``(B,)``, and by softened ones."""
    soft: Tensor
    last: Tensor
    """The points of the latest search, ``(B, ...)``, and their ``last_distance``, ``(B,)``."""
    last_distance: Tensor


@dataclass(frozen=True, kw_only=True)
class Portfolio(Solver):
    """Several solvers within one budget of passes per example, each begun from the others' points.

    FMN with widely softened gradients sees through masked ones, and goes on from there with less
    and less softened ones, in several chains if the budget allows; SuperDeepFool (l2), PDPGD or FAB
    looks for the boundary of every class; FMN and FAB refine the nearest; a line search ends it. In
    l0, sigma-zero and a search by exchanges of features take their places.

    Args:
        budget: passes per example, forwards and backwards together; a warm start takes one.
        soften: width of the softened gradients; 0 for the usual one.
        plan: phases instead of the budget's own.

    Example:
        >>> import torch
        >>> model = torch.nn.Linear(4, 3)
        >>> images, labels = torch.full((2, 4), 0.5), torch.tensor([0, 1])
        >>> outcome = Portfolio(budget=100)(model, images, labels, "l2")
        >>> bool((model(outcome.points).argmax(1) != labels)[outcome.fooled].all())
        True
    """

    general = True
    measured = True
    from_others = True

    budget: int = 2000
    plan: tuple[Phase, ...] = field(default=(), repr=False)

    def within(self, budget: int, classes: int) -> Self:
        return replace(self, budget=budget)

    @property
    def passes(self) -> int:
        return self.budget

    def check(self, job: Job) -> None:
        self.serve(job.threat)

    def run(self, victim: Victim, job: Job) -> Outcome:
        run = _Run(self, victim, job.on(victim.device))
        # A warm start costs a pass, which the least budget does not have.
        warm = job.warm if self.plan or self.budget > LEAST else None
        if warm is not None:
            run.begin(warm)
        budget = self.budget - (warm is not None)
        phases: Sequence[Phase] = self.plan or plan(
            budget, run.classes, job.threat, self.soften or SOFTEN
        )
        return run(phases)


class _Run:
    def __init__(self, best: Portfolio, victim: Victim, job: Job) -> None:
        self.best, self.victim, self.threat, self.box = best, victim, job.threat, job.box
        self.x, self.y, self.progress = job.x, job.y, job.progress
        self.ids, self.seed, x = job.example_ids, job.seed, job.x
        # What every phase is run on; each has a stream and a beginning of its own.
        self.job = replace(job, stop=True, enough=None, warm=None, clean_logits=None, progress=None)
        with victim.held():
            self.logits, self.own = victim.seen(victim.predict(x).to(x.device), self.y)
        self.classes = self.logits.shape[1] or 2
        n = len(x)
        self.spent = torch.zeros(n, 2, dtype=torch.int64)
        self.spent[:, 0] += victim.draws
        none = torch.full((n,), inf, dtype=torch.float64, device=x.device)
        points = x.clone() if x.dtype == torch.float64 else x.float().clone()
        self.found = Nearest(
            distance=none, points=points, last=points.clone(), last_distance=none.clone(),
            by=[None] * n, each=none.unsqueeze(1).repeat(1, self.classes),
            order=none.unsqueeze(1).repeat(1, self.classes), plain=none.clone(),
            soft=none.clone(),
        )  # fmt: skip

    def __call__(self, phases: Sequence[Phase]) -> Outcome:
        for number, phase in enumerate(phases):
            if not len(self.x):
                break
            everyone = torch.arange(len(self.x), device=self.x.device)
            if phase.either and not phase.solver.soften:
                soft = self.found.soft < self.found.plain
                self.phase(number, phase, everyone[~soft])
                soft_one = replace(phase, solver=replace(phase.solver, soften=phase.either))
                self.phase(number, soft_one, everyone[soft])
            else:
                self.phase(number, phase, everyone)
            if self.progress is not None:
                self.progress((number + 1) * len(self.x), len(phases) * len(self.x))
        self.clear_of_rounding()
        return self.outcome()

    def begin(self, warm: WarmStart) -> None:
        """Take the nearest warm start of each example, if it fools: one forward."""
        given, found = warm.mask.to(self.x.device), self.found
        near = torch.full_like(found.distance, inf)
        for number in range(given.shape[1]):
            points = warm.points[:, number].to(found.points)
            distance = self.threat.at(self.x, self.box).distance(points)
            nearer = given[:, number] & (distance < near)
            near = torch.where(nearer, distance, near)
            found.points = torch.where(per_example(nearer, points), points, found.points)
        rows = (near < inf).nonzero().squeeze(1)
        if not len(rows):
            return
        with self.victim.held():
            logits = self.victim.predict(found.points[rows]).to(near.device)
        self.spent[rows.cpu(), 0] += self.victim.draws
        fooled = self.victim.wrong(logits, self.y[rows])
        found.distance[rows] = torch.where(fooled, near[rows], inf)
        # The class that it was found in comes first where nothing else tells.
        shown, own = self.victim.seen(logits, self.y[rows])
        aim = shown.argmax(1)
        found.order[rows, aim] = torch.where(fooled & (aim != own), near[rows], inf)
        clean = self.x[rows].to(found.points)
        found.points[rows] = torch.where(per_example(fooled, clean), found.points[rows], clean)
        for row in rows[fooled].tolist():
            found.by[row] = OTHERS

    def clear_of_rounding(self) -> None:
        """Move points outwards by ``NUDGE``, if they still fool: one forward each.

        A point that rounding in float32 has put on the boundary may lie before it in truth, nearer
        than any that fools.
        """
        found = self.found
        rows = (found.distance < inf).nonzero().squeeze(1)
        if not len(rows) or Trait.DISCRETE in self.threat.traits or self.x.dtype == torch.float64:
            return
        clean = self.x[rows].to(found.points)
        region = InputRegion.require(self.around(rows), self.best)
        moved = region.keep_in_box(clean + (found.points[rows] - clean) * (1 + NUDGE))
        with self.victim.held():
            still = self.victim.wrong(self.victim.predict(moved).to(clean.device), self.y[rows])
        self.spent[rows.cpu(), 0] += self.victim.draws
        distance = region.distance(moved)
        found.distance[rows] = torch.where(still, distance, found.distance[rows])
        found.points[rows] = torch.where(per_example(still, moved), moved, found.points[rows])

    def phase(self, number: int, phase: Phase, rows: Tensor) -> None:
        """Run one solver on some of the examples and keep what is nearer."""
        solver, found = phase.solver, self.found
        if phase.start in ("best", "last"):
            reached = found.distance if phase.start == "best" else found.last_distance
            rows = rows[reached[rows] < inf]
        if phase.lost:
            rows = rows[found.distance[rows] == inf]
        if not len(rows):
            return
        job = replace(self.job.take(rows), stream=number + 1)
        aims = None
        if solver.targets:
            ranked = self.ranked(rows)
            aims = ranked[:, : min(phase.aims or solver.targets, ranked.shape[1])]
            solver = replace(solver, targets=aims.shape[1])
            job = replace(job, targets=aims)
        if phase.start in ("best", "any"):
            given = (found.distance[rows] < inf).unsqueeze(1)
            job = replace(job, warm=WarmStart(found.points[rows].unsqueeze(1), given))
        elif phase.start == "last":
            job = replace(job, warm=WarmStart(found.last[rows].unsqueeze(1)))
        elif phase.start == "near":
            job = replace(job, warm=WarmStart(self.near(number, phase, rows).unsqueeze(1)))
        if phase.metric is not None:
            metric: Threat = phase.metric
            if isinstance(self.threat, Metric) and isinstance(metric, Metric):
                metric = self.threat.but(metric.p)  # of the same features
            job = replace(job, threat=metric.take(rows))
        outcome = solver.run(self.victim, job)
        if phase.metric is not None:
            distance = self.around(rows).distance(outcome.points)
            outcome = replace(outcome, distance=distance)
        by_class = found.each if phase.metric is None else found.order
        self.keep(outcome, rows, solver, aims, by_class)

    def near(self, number: int, phase: Phase, rows: Tensor) -> Tensor:
        """Random points about the clean inputs, within a share of the nearest distance."""
        region = DistanceRegion.require(self.around(rows), self.best)
        radius = self.found.distance[rows] * phase.radius
        radius = torch.where(radius < inf, radius, 1.0)
        draws = Draws.of(self.seed, self.ids.to(rows.device)[rows], 7, number)
        return region.decode(region.random_within(draws, 0, radius.to(region.x0.dtype)))

    def around(self, rows: Tensor) -> Region:
        """The region around some of the examples."""
        return self.threat.take(rows).at(self.x[rows], self.box)

    def ranked(self, rows: Tensor) -> Tensor:
        """Wrong classes, those of the nearest points first, then by the clean logits.

        Points of another metric's search tell between classes where nothing else tells them apart.
        """
        logits = self.logits[rows].double().nan_to_num(nan=-1e300).clamp(-1e300, 1e300)
        own = self.own[rows].unsqueeze(1)
        by_logit = logits.scatter(1, own, -inf).argsort(dim=1, descending=True, stable=True)[:, :-1]
        for nearest in (self.found.order, self.found.each):
            distance = nearest[rows].gather(1, by_logit)
            by_logit = by_logit.gather(1, distance.argsort(dim=1, stable=True))
        return by_logit

    def keep(
        self, outcome: Outcome, rows: Tensor, solver: MinNormSolver,
        aims: Tensor | None, by_class: Tensor,
    ) -> None:  # fmt: skip
        found = self.found
        self.spent[rows.cpu(), 0] += outcome.forwards
        self.spent[rows.cpu(), 1] += outcome.backwards
        distance = torch.where(outcome.fooled, outcome.distance, inf).to(found.distance)
        if aims is not None and outcome.each is not None:
            each = -outcome.each.double().view(len(rows), -1, aims.shape[1]).amax(1)
            before = by_class[rows]
            by_class[rows] = before.scatter(1, aims, torch.minimum(before.gather(1, aims), each))
        if solver.kind == "gradient":
            reached = found.soft if solver.soften else found.plain
            reached[rows] = torch.minimum(reached[rows], distance)
        found.last[rows], found.last_distance[rows] = outcome.points.to(found.last), distance
        better = distance < found.distance[rows]
        found.distance[rows] = torch.where(better, distance, found.distance[rows])
        keep = per_example(better, outcome.points)
        found.points[rows] = torch.where(keep, outcome.points, found.points[rows])
        name = type(solver).__name__
        for row in rows[better].tolist():
            found.by[row] = name

    def outcome(self) -> Outcome:
        found = self.found
        fooled = found.distance < inf
        distance = self.threat.at(self.x, self.box).distance(found.points)
        return Outcome(
            points=found.points, loss=-found.distance.to(found.points.dtype), fooled=fooled,
            distance=distance, attempt=torch.where(fooled, 0, -1), forwards=self.spent[:, 0],
            backwards=self.spent[:, 1], by=tuple(found.by),
        )  # fmt: skip
