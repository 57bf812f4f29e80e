"""Measure the radius of every example: the least perturbation that fools the model."""

from collections.abc import Callable, Mapping, Sequence
from copy import copy
from dataclasses import dataclass
from math import inf
from pathlib import Path
from typing import Any, overload

from torch import Tensor, nn

from hauberk.errors import InputError
from hauberk.evaluation.accuracy.evaluate import _ids, facts_of
from hauberk.evaluation.accuracy.walk import BLOCK, Progress, Walk
from hauberk.evaluation.core.identity import fingerprints
from hauberk.evaluation.core.preflight import screen
from hauberk.evaluation.radii.result import Radii, RadiiSet
from hauberk.evaluation.radii.summary import read, summarise, with_summary
from hauberk.evaluation.radii.walk import Search, part_of, search_all
from hauberk.solvers import solver_for
from hauberk.solvers.base import Solver
from hauberk.store.ledger import Ledger, MemoryLedger
from hauberk.threats.ball import Ball
from hauberk.threats.base import Box, Threat, Union
from hauberk.threats.measured import Measured
from hauberk.threats.metric import Metric
from hauberk.threats.notation import metric as read_metric
from hauberk.victims.victim import Victim

One = str | Threat
Sizes = Sequence[float] | Mapping[str, Sequence[float]]


@overload
def radius(  # type: ignore[overload-overlap]
    model: nn.Module | Victim, x: Tensor, y: Tensor, metric: One, *, budget: int = ...,
    solver: str | Solver = ..., box: Box | Sequence[Any] = ..., seed: int = ...,
    ids: Tensor | None = ..., out: str | Path | None = ..., resume: bool = ...,
    batch_size: int | None = ..., progress: Callable[[Progress], None] | None = ...,
    manifest: Mapping[str, Any] | None = ..., soften: float | None = ..., eps: Sizes = ...,
) -> Radii: ...  # fmt: skip
@overload
def radius(
    model: nn.Module | Victim, x: Tensor, y: Tensor, metric: Sequence[One], *, budget: int = ...,
    solver: str | Solver = ..., box: Box | Sequence[Any] = ..., seed: int = ...,
    ids: Tensor | None = ..., out: str | Path | None = ..., resume: bool = ...,
    batch_size: int | None = ..., progress: Callable[[Progress], None] | None = ...,
    manifest: Mapping[str, Any] | None = ..., soften: float | None = ..., eps: Sizes = ...,
) -> RadiiSet: ...  # fmt: skip
def radius(
    model: nn.Module | Victim,
    x: Tensor,
    y: Tensor,
    metric: One | Sequence[One],
    *,
    budget: int = 2000,
    solver: str | Solver = "best",
    box: Box | Sequence[Any] = (0.0, 1.0),
    seed: int = 0,
    ids: Tensor | None = None,
    out: str | Path | None = None,
    resume: bool = False,
    batch_size: int | None = None,
    progress: Callable[[Progress], None] | None = None,
    manifest: Mapping[str, Any] | None = None,
    soften: float | None = None,
    eps: Sizes = (),
) -> Radii | RadiiSet:
    """The least distance at which the model decides wrongly, example by example (problem 2).

    A radius counts only if the judge, who runs the model again and measures in float64, confirms
    its point. Radii of a :class:`hauberk.Union` of balls are in units of their sizes: the least
    scale at which one of the balls holds an adversarial point.

    Args:
        x: ``(B, ...)``, floats in the box; y: ``(B,)`` integer classes.
        metric: ``linf``, ``l2``, ``l1``, ``l0`` or ``lP``, a
            :class:`~hauberk.threats.metric.Metric`, a measured or perceptual threat whatever its
            size, or a union of balls. Of several, in a list, the result is a :class:`RadiiSet`.
        budget: passes per example and metric, forwards and backwards together; the clean pass and
            the judge's come on top.
        solver: a name of :data:`hauberk.solvers.SOLVERS`, or a solver, which then has its own
        steps.
        box, ids, out, resume, batch_size, progress, manifest: as :func:`hauberk.evaluate` has them.
        soften: width of softened gradients; None leaves it to the solver.
        eps: sizes at which the summary tells the accuracy, for all metrics or by name.

    Raises:
        InputError: for bad input, before anything is written.
    """
    asked = Asked.of(metric)
    if resume and out is None:
        raise InputError("resume continues the run that out= holds: give out=, or leave it out")
    sizes = _sizes(eps, asked)
    if not isinstance(budget, int) or budget < 1:
        raise InputError(f"budget is {budget}: give passes per example, an integer of 1 or more")
    victim, bounds = Victim.of(model, batch_size), Box.of(box)
    asked.searches(solver, budget, 2, soften)  # what does not depend on the model, first
    x, y, warned, victim = screen(victim, x, y, bounds, seed)
    names = _ids(ids, len(x))
    with victim.held():
        classes = victim.predict(x[:1]).shape[1]
    searches = asked.searches(solver, budget, classes, soften)
    facts = {
        "kind": "radius",
        "metrics": list(asked.metrics),
        "union": [str(ball) for ball in asked.balls],
        "schedule": [],
        "solver": solver if isinstance(solver, str) else type(solver).__name__,
        "solvers": {s.name: s.solver.describe() for s in searches},
        "budget": budget if isinstance(solver, str) else None,
        "block": BLOCK,
        "models": fingerprints(
            {"model": victim},
            {"metrics": asked.metrics, "solver": {s.name: s.solver for s in searches}},
        ),
        **facts_of(victim, x, y, names, bounds, seed, batch_size, warned),
        **(manifest or {}),
    }
    store = MemoryLedger(facts) if out is None else Ledger.create(out, facts, resume=resume)
    search_all(Walk(victim, x, y, names, [], bounds, seed, store, progress), searches)
    found = read(store, list(asked.metrics), asked.balls)
    clean = store.rows("clean-")
    seconds = float(clean["seconds"].sum())
    seconds += sum(float(store.rows(part_of(s.name))["seconds"].sum()) for s in searches)
    summary = summarise(found, clean, store.manifest, sizes, seconds)
    store.write_summary(summary)
    found = with_summary(found, summary)
    return found[asked.single] if asked.single is not None else RadiiSet(found, summary)


@dataclass(frozen=True)
class Asked:
    """What a run measures in.

    Attributes:
        metrics: the metrics to search, by name.
        balls: those of the union whose radii are asked for; none otherwise.
        single: the one result asked for; None for a set.
    """

    metrics: dict[str, Threat]
    balls: tuple[Ball, ...]
    single: str | None

    @classmethod
    def of(cls, metric: One | Sequence[One]) -> "Asked":
        """Read what was asked for.

        Raises:
            InputError: for what is no metric, nothing at all, or the same twice.
        """
        one = isinstance(metric, str) or not isinstance(metric, Sequence)
        given = [metric] if isinstance(metric, str) or not isinstance(metric, Sequence) else metric
        if not given:
            raise InputError("no metric: give linf, l2, l1, l0, lP, or a union of balls")
        metrics: dict[str, Threat] = {}
        balls: tuple[Ball, ...] = ()
        for item in given:
            if isinstance(item, Union):
                if balls:
                    raise InputError("two unions at once: measure them in two runs")
                balls = tuple(_ball(part) for part in item.parts)
                continue
            found = _metric(item)
            if part_of(str(found)) in map(part_of, metrics) or str(found) == "union":
                raise InputError(f"two metrics go by the name {found}: name each once")
            metrics[str(found)] = found
        single = (str(next(iter(metrics))) if metrics else "union") if one else None
        for ball in balls:
            metrics.setdefault(str(Metric(ball.p)), Metric(ball.p))
        return cls(metrics, balls, single)

    def searches(
        self, solver: str | Solver, budget: int, classes: int, soften: float | None
    ) -> list[Search]:
        """One search per metric."""
        return [
            Search(metric, solver_for(solver, metric, budget, classes, soften))
            for metric in self.metrics.values()
        ]


def _metric(item: object) -> Threat:
    if isinstance(item, str):
        return read_metric(item)
    if isinstance(item, Metric):
        return item
    if isinstance(item, Measured):
        whole = copy(item)
        whole.eps = inf
        return whole
    if isinstance(item, Ball):
        raise InputError(
            f"{item} has a size: give the metric {Metric(item.p)}, or hauberk.Union({item!r}) for "
            "radii in units of it"
        )
    raise InputError(f"{item} is no metric: give linf, l2, l1, l0, lP, or a union of balls")


def _ball(part: Threat) -> Ball:
    if not isinstance(part, Ball) or not part.eps > 0:
        raise InputError(
            f"{part} has no radius in a union: give lp balls of sizes above 0, e.g. linf:0.3, l2:2"
        )
    return part


def _sizes(eps: Sizes, asked: Asked) -> dict[str, list[float]]:
    names = [*asked.metrics, *(["union"] if asked.balls else [])]
    told = eps if isinstance(eps, Mapping) else dict.fromkeys(names, eps) if len(eps) else {}
    if unknown := [name for name in told if name not in names]:
        raise InputError(f"eps names the metric {unknown[0]}: the run has {', '.join(names)}")
    sizes = {name: [float(size) for size in told[name]] for name in names if told.get(name)}
    if any(not 0 <= size < inf for row in sizes.values() for size in row):
        raise InputError("an eps is negative or not finite: give sizes of 0 or more")
    return sizes
