"""What the rows of a radius run add up to: radii by metric, and the numbers of ``summary.json``."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from math import inf
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from hauberk.errors import InputError
from hauberk.evaluation.accuracy.summary import fingerprint, wilson
from hauberk.evaluation.radii.result import Radii
from hauberk.evaluation.radii.walk import part_of
from hauberk.maths.steps import per_example
from hauberk.store.ledger import Ledger, MemoryLedger
from hauberk.threats.ball import Ball
from hauberk.threats.metric import Metric

Rows = Mapping[str, npt.NDArray[Any]]
Sizes = Mapping[str, Sequence[float]]

POINTS = 101
"""Sizes at which ``summary.json`` tells the accuracy; the ledger holds every radius."""


def read(
    store: Ledger | MemoryLedger, metrics: Sequence[str], balls: Sequence[Ball]
) -> dict[str, Radii]:
    """Radii by metric from a run's parts, and the union's if there are balls."""
    clean = store.rows("clean-")
    found = {name: _radii(store, clean, name) for name in metrics}
    return found | ({"union": united(found, balls)} if balls else {})


def _radii(store: Ledger | MemoryLedger, clean: Rows, metric: str) -> Radii:
    ids, correct = clean["id"].astype(np.int64), clean["correct"].astype(bool)
    rows = store.rows(part_of(metric))
    if len(rows.get("id", ())) != int(correct.sum()):
        raise InputError(f"the run has not searched all examples in {metric}: resume it")
    order = np.argsort(ids, kind="stable")
    at = order[np.searchsorted(ids[order], rows["id"].astype(np.int64))]
    n = len(ids)

    def spread(values: npt.NDArray[Any], kind: type) -> npt.NDArray[Any]:
        column: npt.NDArray[Any] = np.zeros(n, dtype=kind)
        column[at] = values
        return column

    names = np.full(n, "", dtype=object)
    names[at] = rows["solver"]
    found = rows["found"].astype(bool)
    return Radii(
        metric=metric,
        ids=torch.from_numpy(ids),
        correct=torch.from_numpy(correct),
        found=torch.from_numpy(spread(found, bool)),
        distance=torch.from_numpy(spread(rows["distance"], float)),
        solver=[str(name) for name in names],
        forwards=torch.from_numpy(spread(rows["forwards"], np.int64)),
        backwards=torch.from_numpy(spread(rows["backwards"], np.int64)),
        rejected=int((rows["claimed"].astype(bool) & ~found).sum()),
        load=lambda: _points(store, metric),
    )


def _points(store: Ledger | MemoryLedger, metric: str) -> Tensor:
    """The points of all examples; the clean inputs where there is none."""
    blocks = []
    for key in store.keys("clean-"):
        ids = store.part(key)["id"]
        kept = store.tensors(key)["originals"]
        block = part_of(metric) + key.removeprefix("clean-")
        part, points = store.part(block), store.tensors(block)["points"]
        kept = kept.to(points.dtype, copy=True)
        place = {int(i): k for k, i in enumerate(ids)}
        hit = part["found"].astype(bool)
        at = torch.tensor([place[int(i)] for i in part["id"][hit]], dtype=torch.int64)
        kept[at] = points[torch.from_numpy(part["row"][hit].astype(np.int64))]
        blocks.append(kept)
    return torch.cat(blocks)


def united(found: Mapping[str, Radii], balls: Sequence[Ball]) -> Radii:
    """The least scale at which one of the balls holds a point: min over balls of radius by eps."""
    parts = [found[str(Metric(ball.p))] for ball in balls]
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
    )


def summarise(
    radii: Mapping[str, Radii],
    clean: Rows,
    manifest: Mapping[str, Any],
    eps: Sizes,
    seconds: float | None,
) -> dict[str, Any]:
    """The summary of a run; ``eps`` are the sizes to report accuracies at, by metric."""
    correct = clean["correct"].astype(bool)
    n, draws = len(correct), int(manifest.get("draws", 1))
    single = [r for name, r in radii.items() if name != "union"]
    forwards = n * draws + sum(int(r.forwards.sum()) for r in single)
    backwards = sum(int(r.backwards.sum()) for r in single)
    return {
        "hauberk_version": manifest.get("hauberk_version"),
        "n": n,
        "clean_accuracy": float(correct.mean()),
        "clean_interval": list(wilson(int(correct.sum()), n)),
        "metrics": {name: _one(r, eps.get(name, ())) for name, r in radii.items()},
        "cost": {
            "forwards": forwards,
            "backwards": backwards,
            "seconds": seconds,
            "judge_forwards": draws * int(correct.sum()) * len(single),
        },
        "per_example": {"forwards": forwards / n, "backwards": backwards / n},
        "solver": manifest.get("solver"),
        "budget": manifest.get("budget"),
        "seed": manifest.get("seed"),
        "union": manifest.get("union") or None,
        "rejected": sum(r.rejected for r in single),
        "finished": True,
        "eps": {name: list(sizes) for name, sizes in eps.items()},
        "manifest_sha256": fingerprint(manifest),
        "warnings": list(manifest.get("warnings") or ()),
    }


def _one(radii: Radii, eps: Sequence[float]) -> dict[str, Any]:
    quantiles = radii.quantiles()
    sizes, accuracy = radii.curve(torch.linspace(0, radii.largest, POINTS, dtype=torch.float64))
    told: dict[str, Any] = {
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
        told["nearest"] = dict(Counter(name for name in radii.nearest if name).most_common())
    if eps:
        told["accuracies"] = {str(size): radii.accuracy(size) for size in eps}
        told["average_accuracy"] = radii.average_accuracy(eps)
        told["average_robust_accuracy"] = radii.average_robust_accuracy(eps)
    return told


def with_summary(radii: Mapping[str, Radii], summary: dict[str, Any]) -> dict[str, Radii]:
    """The same radii, each knowing the run's summary."""
    told = {name: replace(r, summary=summary) for name, r in radii.items()}
    if "union" in told:
        parts = {name: told[name] for name in told["union"].parts}
        told["union"] = replace(told["union"], parts=parts)
    return told
