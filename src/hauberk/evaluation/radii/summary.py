"""What the rows of a radius run add up to: radii by metric, and the numbers of ``summary.json``."""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from math import inf
from typing import Any

import numpy as np
import torch
from torch import Tensor

from hauberk.errors import InputError
from hauberk.evaluation.core.summary import head
from hauberk.evaluation.radii.result import Radii
from hauberk.maths.steps import per_example
from hauberk.store.files import Columns
from hauberk.store.ledger import Store, hits, places
from hauberk.threats.ball import Ball
from hauberk.threats.metric import Metric

Sizes = Mapping[str, Sequence[float]]

POINTS = 101
"""Sizes at which ``summary.json`` gives the accuracy; the ledger holds every radius."""


def part_of(metric: str) -> str:
    """What the keys of a metric's parts begin with; the number of the block follows.

    Example:
        >>> part_of("l1.5")
        'radius-l1_5-'
    """
    return f"radius-{re.sub('[^A-Za-z0-9]+', '_', metric)}-"


def read(
    store: Store,
    metrics: Sequence[str],
    balls: Sequence[Ball],
    summary: dict[str, Any] | None = None,
) -> dict[str, Radii]:
    """Radii by metric from a run's parts, and the union's if there are balls."""
    clean, summary = store.rows("clean-"), summary or {}
    found = {name: replace(_radii(store, clean, name), summary=summary) for name in metrics}
    return found | ({"union": replace(united(found, balls), summary=summary)} if balls else {})


def _radii(store: Store, clean: Columns, metric: str) -> Radii:
    ids, correct = clean["id"].astype(np.int64), clean["correct"].astype(bool)
    rows = store.rows(part_of(metric))
    if len(rows.get("id", ())) != int(correct.sum()):
        raise InputError(f"the run has not searched all examples in {metric}: resume it")
    at = places(ids, rows["id"])

    def spread(name: str, kind: Any) -> Tensor:
        column = np.zeros(len(ids), dtype=kind)
        column[at] = rows[name]
        return torch.from_numpy(column)

    names = np.full(len(ids), "", dtype=object)
    names[at] = rows["solver"]
    return Radii(
        metric=metric,
        ids=torch.from_numpy(ids),
        correct=torch.from_numpy(correct),
        found=spread("broken", bool),
        distance=spread("distance", float),
        solver=[str(name) for name in names],
        forwards=spread("forwards", np.int64),
        backwards=spread("backwards", np.int64),
        rejected=int((rows["claimed"].astype(bool) & ~rows["broken"].astype(bool)).sum()),
        load=lambda: _points(store, metric),
        store=store,
    )


def _points(store: Store, metric: str) -> Tensor:
    """The points of all examples; the clean inputs where there is none."""
    blocks = []
    for key in store.keys("clean-"):
        ids = store.part(key)["id"]
        found, points = hits(store, part_of(metric) + key.removeprefix("clean-"))
        kept = store.tensors(key)["originals"].to(points.dtype, copy=True)
        kept[torch.from_numpy(places(ids, found))] = points
        blocks.append(kept)
    return torch.cat(blocks)


def united(found: Mapping[str, Radii], balls: Sequence[Ball]) -> Radii:
    """The least scale at which one of the balls holds a point: min over balls of radius by eps."""
    parts = [found[str(Metric.of(ball))] for ball in balls]
    scales = torch.stack([p.distance / b.eps for p, b in zip(parts, balls, strict=True)])
    distance, which = scales.min(0)
    hit = torch.stack([part.found for part in parts]).any(0)
    chosen = which.tolist()
    known = hit.tolist()
    used = list({part.metric: part for part in parts}.values())

    def load() -> Tensor:
        points = parts[0].points.clone()
        for number, part in enumerate(parts[1:], start=1):
            points = torch.where(per_example(which == number, points), part.points, points)
        return points

    return Radii(
        metric="union",
        ids=parts[0].ids,
        correct=parts[0].correct,
        found=hit,
        distance=distance,
        solver=[parts[k].solver[i] if known[i] else "" for i, k in enumerate(chosen)],
        forwards=torch.stack([part.forwards for part in used]).sum(0),
        backwards=torch.stack([part.backwards for part in used]).sum(0),
        rejected=sum(part.rejected for part in used),
        nearest=[str(balls[k]) if known[i] else "" for i, k in enumerate(chosen)],
        parts={part.metric: part for part in used},
        load=load,
        store=parts[0].store,
    )


def summarise(
    radii: Mapping[str, Radii], clean: Columns, parts: Sequence[Columns],
    manifest: Mapping[str, Any], eps: Sizes,
) -> dict[str, Any]:  # fmt: skip
    """The summary of a run.

    Args:
        radii: by metric, and those of a union.
        clean: columns of the clean parts; parts: those of each metric.
        eps: the sizes to report accuracies at, by metric.
    """
    top = head(manifest, clean, parts)
    return {
        **top,
        "warnings": [*top["warnings"], *_cuts(manifest)],
        "metrics": {name: _one(r, eps.get(name, ())) for name, r in radii.items()},
        "per_example": {k: top["cost"][k] / top["n"] for k in ("forwards", "backwards")},
        "solver": manifest.get("solver"),
        "budget": manifest.get("budget"),
        **({"boundary": manifest["boundary"]} if "boundary" in manifest else {}),
        "union": manifest.get("union") or None,
        "rejected": sum(r.rejected for name, r in radii.items() if name != "union"),
        "eps": {name: list(sizes) for name, sizes in eps.items()},
    }


def _cuts(manifest: Mapping[str, Any]) -> list[str]:
    """What a budget cut off solvers by name that find little then, one line each."""
    budget, solvers = manifest.get("budget"), manifest.get("solvers") or {}
    return [
        f"{metric}: a budget of {budget} passes leaves {manifest['solver']} {solver['left']}"
        for metric, solver in solvers.items()
        if budget and "left" in solver
    ]


def _one(radii: Radii, eps: Sequence[float]) -> dict[str, Any]:
    quantiles = radii.quantiles()
    sizes, accuracy = radii.curve(torch.linspace(0, radii.largest, POINTS, dtype=torch.float64))
    summary: dict[str, Any] = {
        "median": quantiles[0.5],
        "mean": radii.mean,
        "mean_is_bound": radii.mean_is_bound,
        "quantiles": {f"{q:g}": value for q, value in quantiles.items()},
        "largest": radii.largest,
        "found": int(radii.found.sum()),
        "unfound": int((radii.distance == inf).sum()),
        "rejected": radii.rejected,
        "solvers": dict(Counter(name for name in radii.solver if name).most_common()),
        "curve": {"eps": sizes.tolist(), "accuracy": accuracy.tolist()},
        "area": radii.area(radii.largest),
        "area_up_to": radii.largest,
    }
    if radii.nearest:
        summary["nearest"] = dict(Counter(name for name in radii.nearest if name).most_common())
    if eps:
        summary["accuracies"] = {str(size): radii.accuracy(size) for size in eps}
        summary["average_accuracy"] = radii.average_accuracy(eps)
        summary["average_robust_accuracy"] = radii.average_robust_accuracy(eps)
    return summary
