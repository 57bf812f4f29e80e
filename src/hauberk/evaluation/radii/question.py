"""The question of :func:`hauberk.radius`: how far is the nearest input that fools the model?"""

from collections.abc import Mapping, Sequence
from copy import copy
from dataclasses import dataclass, field, replace
from math import inf
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from hauberk.engine.method import Method, WarmStart
from hauberk.errors import InputError
from hauberk.evaluation.core import goals
from hauberk.evaluation.core.bound import of_models
from hauberk.evaluation.core.findings import Finding, tell
from hauberk.evaluation.core.judge import Judge, RadiusJudge
from hauberk.evaluation.core.prepare import Setting
from hauberk.evaluation.core.question import Question
from hauberk.evaluation.core.recorded import RecordedThreat, threat_from
from hauberk.evaluation.core.task import Block, Portion, Report, Search, Task, first
from hauberk.evaluation.radii.result import Radii, RadiiSet
from hauberk.evaluation.radii.summary import part_of, read, summarise
from hauberk.solvers.base import MinNormSolver, Solver
from hauberk.solvers.registry import solver_for
from hauberk.store.files import Columns
from hauberk.store.ledger import Store, hits, places
from hauberk.threats.ball import Ball
from hauberk.threats.base import Threat, Trait, Union
from hauberk.threats.measured import Measured
from hauberk.threats.metric import Metric
from hauberk.threats.notation import distance as read_metric
from hauberk.threats.notation import threat as read_threat
from hauberk.victims.goals import Goal
from hauberk.victims.victim import Boundary, require_boundary

One = str | Threat
Sizes = Sequence[float] | Mapping[str, Sequence[float]]


@dataclass(frozen=True)
class LeastDistances(Question[Radii | RadiiSet]):
    """The least distance at which the model decides wrongly, example by example.

    Args:
        metrics: the metrics to search in, by name.
        balls: those of the union whose radii are asked for; none otherwise.
        single: the one result asked for; None for a set.
        solver: a name of :data:`hauberk.solvers.SOLVERS`, or a solver.
        budget: passes per example and metric, for solvers by name.
        soften: width of softened gradients; None leaves it to the solver.
        eps: sizes at which the summary has the accuracy, by metric.
        boundary: where the model counts as wrong, for solvers and judge.
        goal: what counts as broken, if not every wrong class.
        left_out: examples that are of the goal's class already.
        solvers: one for each metric, once the number of classes is known; as descriptions where
            the question was rebuilt from a manifest.

    Example:
        >>> question = LeastDistances.asked("l2", budget=100)
        >>> LeastDistances.of(question.facts()).facts() == question.facts()
        True
    """

    kind = "radius"

    metrics: Mapping[str, Threat]
    balls: tuple[Ball, ...] = ()
    single: str | None = None
    solver: str | Solver = "best"
    budget: int | None = 2000
    soften: float | None = None
    eps: Mapping[str, Sequence[float]] = field(default_factory=dict)
    boundary: Boundary = "decision"
    goal: Goal | None = field(default=None, kw_only=True)
    left_out: int = field(default=0, kw_only=True)
    solvers: Mapping[str, Solver | Mapping[str, Any]] = field(default_factory=dict)

    @classmethod
    def asked(
        cls, metric: One | Sequence[One], *, solver: str | Solver = "best", budget: int = 2000,
        soften: float | None = None, eps: Sizes = (), boundary: Boundary = "decision",
        goal: Goal | str | None = None,
    ) -> Self:  # fmt: skip
        """The question in the words of :func:`hauberk.radius`.

        Raises:
            InputError: for what is no metric, nothing at all, or the same twice; for a solver that
                does not serve a metric, or a budget that is too small; for an unknown boundary.
        """
        require_boundary(boundary)
        if boundary == "decision" and getattr(solver, "boundary", boundary) != boundary:
            raise InputError(
                "the solver looks for the soft margin's boundary, where the model need not be "
                "wrong: give radius boundary='soft_margin' too, or the solver boundary='decision'"
            )
        metrics, balls, single = _read(metric)
        names = [*metrics, *(["union"] if balls else [])]
        if not isinstance(budget, int) or budget < 1:
            raise InputError(
                f"budget is {budget}: give passes per example, an integer of 1 or more"
            )
        if goal is not None and boundary != "decision":
            raise InputError("the soft margin is that of any wrong class: give it, or a goal")
        question = cls(
            metrics, balls, single, solver, budget, soften, _sizes(eps, names), boundary,
            goal=None if goal is None else Goal.of(goal),
        )  # fmt: skip
        question.bound(2)  # what does not depend on the model is refused now
        return question

    def sizes(self) -> Sequence[Threat]:
        # Of a curve's sizes only those that were asked for are a reader's.
        asked = [
            Ball(metric.p, size)
            for name, metric in self.metrics.items() if isinstance(metric, Metric)
            for size in self.eps.get(name, ())
        ]  # fmt: skip
        return (*self.balls, *asked)

    def bound(self, classes: int) -> Self:
        """The question with its solvers, for a model of so many classes."""
        solvers = {
            name: self.suited(
                solver_for(self.solver, metric, self.budget or 2000, classes, self.soften)
            )
            for name, metric in self.metrics.items()
        }
        return replace(self, solvers=solvers)

    def suited(self, solver: Solver) -> Solver:
        """A solver by name that climbs the margin climbs the soft one where that is asked for."""
        soft = self.boundary == "soft_margin" and isinstance(self.solver, str)
        if soft and isinstance(solver, MinNormSolver) and solver.loss == "margin":
            return solver if solver.targets else replace(solver, loss="soft_margin")
        return solver

    def bind(self, setting: Setting) -> tuple[Self, Setting]:
        setting = self._warned(setting)
        bound = self.recall(setting).bound(setting.classes)
        if self.goal is None:
            return bound, setting
        goal, setting, out = goals.settled(self.goal, setting, list(bound.metrics.values()))
        return replace(bound, goal=goal, left_out=out), setting

    def _warned(self, setting: Setting) -> Setting:
        """The setting, with a warning where nothing says how far solvers are to look."""
        named = [name for name, metric in self.metrics.items() if Trait.EVALUATED in metric.traits]
        if not named or setting.box.has_ends:
            return setting
        found = Finding.of(
            "box without ends",
            "the box has no ends, so that nothing says how far solvers are to look: radii in "
            f"{', '.join(named)} may be far too large",
            "Give box=, the least and the largest value of each feature",
        )
        tell([found])
        return replace(setting, findings=(*setting.findings, found))

    def recall(self, setting: Setting) -> Self:
        found = {name: of_models(m, setting.victims) for name, m in self.metrics.items()}
        return replace(self, metrics=found)

    def facts(self) -> dict[str, Any]:
        named = isinstance(self.solver, str)
        described = {
            name: solver.describe() if isinstance(solver, Solver) else dict(solver)
            for name, solver in self.solvers.items()
        }
        return {
            "metrics": list(self.metrics),
            "union": [str(ball) for ball in self.balls],
            "single": self.single,
            "solver": self.solver if named else type(self.solver).__name__,
            "solvers": described,
            "budget": self.budget if named else None,
            "soften": self.soften,
            **({} if self.boundary == "decision" else {"boundary": self.boundary}),
            **goals.facts(self.goal, self.left_out),
        }

    @classmethod
    def of(cls, manifest: Mapping[str, Any], objects: Mapping[str, Any] = {}) -> Self:
        metrics = {name: threat_from(name, objects, read_metric) for name in manifest["metrics"]}
        balls = tuple(b for b in map(read_threat, manifest["union"]) if isinstance(b, Ball))
        return cls(
            metrics, balls, manifest["single"], objects.get("solver") or manifest["solver"],
            manifest["budget"], manifest["soften"], solvers=manifest["solvers"],
            boundary=manifest.get("boundary", "decision"), **goals.recorded(manifest),
        )  # fmt: skip

    def again(self, summary: Mapping[str, Any]) -> Self:
        return replace(self, eps=summary.get("eps") or {})

    def parts(self) -> Any:
        return {"metrics": self.metrics, "solver": self.solvers}

    def tasks(self, setting: Setting) -> Sequence["LeastDistance"]:
        # Points of a larger p help the search in a smaller one more than the other way about.
        order = sorted(self.metrics.items(), key=lambda item: -getattr(item[1], "p", -1.0))
        return [
            LeastDistance(part_of(name) + "{}", name, metric, self.solvers.get(name), self.boundary)
            for name, metric in order
        ]

    def judge(self, setting: Setting) -> Judge:
        return RadiusJudge(setting.victim.aiming(self.goal), setting.box, self.boundary)

    def passes(self, classes: int) -> int:
        """Most passes per example that the search costs, for a model of so many classes."""
        solvers = self.bound(classes).solvers.values()
        return sum(s.passes * s.attempts(classes) for s in solvers if isinstance(s, Solver))

    def summarise(self, store: Store) -> dict[str, Any]:
        clean = store.rows("clean-")
        parts = [store.rows(part_of(name)) for name in self.metrics]
        return summarise(
            read(store, list(self.metrics), self.balls), clean, parts, store.manifest, self.eps
        )

    def result(self, store: Store, summary: dict[str, Any]) -> Radii | RadiiSet:
        found = read(store, list(self.metrics), self.balls, summary)
        return found[self.single] if self.single is not None else RadiiSet(found, summary, store)


@dataclass(frozen=True)
class LeastDistance(Task):
    """The search in one metric, from every example that the model gets right.

    What a block's earlier metrics found is a warm start, for solvers that it helps (``best``).

    Args:
        solver: what searches.
        boundary: up to where.
    """

    solver: Any = None
    boundary: Boundary = "decision"

    def method(self) -> Method | None:
        return self.solver if isinstance(self.solver, Method) else None

    @property
    def label(self) -> str:
        return self.name

    def search(self, block: Block, index: Tensor, report: Report) -> Search:
        if len(index):
            job = block.job(self.threat, index, report)
            if self.solver.from_others:
                job = replace(job, warm=found_before(block, index))
            victim = block.setting.victim
            with victim.bounded(self.boundary):
                found = self.solver.run(victim, job)
            yield index, found

    def columns(self, found: Sequence[Portion]) -> Columns:
        names: list[str] = []
        for f in found:
            by = f.outcome.by or (None,) * len(f.index)
            names += [name or type(self.solver).__name__ for name in by]
        hit = np.concatenate([f.verdict.broken.cpu().numpy() for f in found] or [np.zeros(0, bool)])
        return {"solver": np.where(hit, np.array(names, dtype=str), "")}

    def author(self, part: Columns, row: int) -> str:
        return str(part["solver"][row])

    def flaws(self, part: Columns) -> list[tuple[npt.NDArray[Any], str]]:
        found = part["broken"].astype(bool)
        return [(~found & np.isfinite(part["distance"]), "has a distance but no point")]


def found_before(block: Block, index: Tensor) -> WarmStart | None:
    """Points that were found for the examples ``index`` (M,) in the metrics before.

    They are read from the ledger, so that a resumed run begins where the first one did; and from
    the block's own parts alone.
    """
    ids = first(block.ids[index]).numpy()
    x = block.x[index].detach().cpu()
    points, given = [], []
    for _, key, _ in block.taken:
        known, found = hits(block.store, key)
        at = torch.from_numpy(places(known, ids))
        here = at >= 0
        kept = x.to(found.dtype, copy=True)
        kept[here] = found[at[here]]
        points.append(kept)
        given.append(here)
    if not points:
        return None
    return WarmStart(torch.stack(points, 1), torch.stack(given, 1))


def _read(
    metric: One | Sequence[One],
) -> tuple[dict[str, Threat], tuple[Ball, ...], str | None]:
    """Metrics by name, the balls of a union, and the one result asked for."""
    one = isinstance(metric, str) or not isinstance(metric, Sequence)
    given = [metric] if isinstance(metric, str) or not isinstance(metric, Sequence) else metric
    if not given:
        raise InputError("no metric: give linf, l2, l1, l0, lP, or a union of balls")
    metrics: dict[str, Threat] = {}
    balls: tuple[Ball, ...] = ()
    for item in given:
        item = Threat.of(item) if isinstance(item, str) and "|" in item else item
        if isinstance(item, Union):
            if balls:
                raise InputError("two unions at once: measure them in two runs")
            balls = tuple(_ball(part) for part in item.parts)
            continue
        found = _metric(item)
        if part_of(str(found)) in map(part_of, metrics) or str(found) == "union":
            raise InputError(f"two metrics have the name {found}: name each once")
        metrics[str(found)] = found
    single = (str(next(iter(metrics))) if metrics else "union") if one else None
    for ball in balls:
        metrics.setdefault(str(Metric.of(ball)), Metric.of(ball))
    return metrics, balls, single


def _metric(item: object) -> Threat:
    if isinstance(item, str):
        return read_metric(item)
    if isinstance(item, Metric | RecordedThreat):
        return item
    if isinstance(item, Measured):
        whole = copy(item)
        whole.eps = inf
        return whole
    if isinstance(item, Ball):
        raise InputError(
            f"{item} has a size: give the metric {Metric.of(item)}, or hauberk.Union({item!r}) for "
            "radii in units of it"
        )
    raise InputError(f"{item} is no metric: give linf, l2, l1, l0, lP, or a union of balls")


def _ball(part: Threat) -> Ball:
    if not isinstance(part, Ball) or not part.eps > 0:
        raise InputError(
            f"{part} has no radius in a union: give lp balls of sizes above 0, e.g. linf:0.3, l2:2"
        )
    return part


def _sizes(eps: Sizes, names: Sequence[str]) -> dict[str, list[float]]:
    named = eps if isinstance(eps, Mapping) else dict.fromkeys(names, eps) if len(eps) else {}
    if unknown := [name for name in named if name not in names]:
        raise InputError(f"eps names the metric {unknown[0]}: the run has {', '.join(names)}")
    sizes = {name: [float(size) for size in named[name]] for name in names if named.get(name)}
    if any(not 0 <= size < inf for row in sizes.values() for size in row):
        raise InputError("an eps is negative or not finite: give sizes of 0 or more")
    return sizes
