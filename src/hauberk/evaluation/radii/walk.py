"""The walk of a radius run: blocks of examples, one search per metric, every point judged."""

import re
import time
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from hauberk.engine.method import Job
from hauberk.engine.outcome import Outcome
from hauberk.evaluation.accuracy.walk import BLOCK, Progress, Walk, _Block
from hauberk.evaluation.core.judge import Verdict, judge
from hauberk.maths.steps import per_example
from hauberk.solvers.base import Solver
from hauberk.threats.base import Threat


@dataclass(frozen=True)
class Search:
    """One metric, and who searches in it."""

    metric: Threat
    solver: Solver

    @property
    def name(self) -> str:
        return str(self.metric)


def part_of(metric: str) -> str:
    """What the keys of a metric's parts begin with; the number of the block follows."""
    return f"radius-{re.sub('[^A-Za-z0-9]+', '_', metric)}-"


def search_all(walk: Walk, searches: list[Search]) -> None:
    """Run whatever the walk's store does not hold yet; the walk's own schedule is empty."""
    victim = walk.victim
    first = victim.forwards, victim.backwards
    total, done = len(walk.x) * len(searches), 0.0

    def report(share: float, doing: str) -> None:
        if walk.progress is not None:
            spent = victim.forwards - first[0], victim.backwards - first[1]
            walk.progress(Progress(min(share, 1.0), doing, *spent))

    for number, start in enumerate(range(0, len(walk.x), BLOCK)):
        block = _Rows(walk, number, slice(start, start + BLOCK))
        for search in searches:
            share = len(block.x) / total

            def tell(
                settled: int, jobs: int, doing: str = search.name, share: float = share
            ) -> None:
                report(done + share * settled / max(1, jobs), doing)  # noqa: B023

            key = f"{part_of(search.name)}{number:05d}"
            if not walk.store.has(key):
                block.search(key, search, tell)
            done += share
            report(done, search.name)


NUDGES = (1e-12, 1e-9, 1e-7, 1e-6, 1e-5)
"""Shares of its perturbation by which a point on the boundary may be moved outwards."""


class _Rows(_Block):
    """Up to a thousand examples of a radius run."""

    def search(self, key: str, search: Search, tell: Callable[[int, int], None]) -> None:
        """Search from every example that the model gets right, judge, write down."""
        walk, begun = self.walk, time.perf_counter()
        index = self.correct.nonzero().squeeze(1)
        x, y = self.x[index], self.y[index]
        kept = x if x.dtype == torch.float64 else x.float()
        m = len(index)
        columns = {
            "id": self.ids[index].numpy(),
            "label": y.cpu().numpy(),
            "metric": np.full(m, search.name),
            "claimed": np.zeros(m, dtype=bool),
            "found": np.zeros(m, dtype=bool),
            "margin": np.zeros(m),
            "distance": np.zeros(m),
            "solver": np.full(m, ""),
            "forwards": np.zeros(m, dtype=np.int64),
            "backwards": np.zeros(m, dtype=np.int64),
            "row": np.zeros(m, dtype=np.int64),
        }
        points = kept[:0]
        if m:
            job = Job(
                threat=search.metric, x=x, y=y, ids=self.ids[index], box=walk.box, seed=walk.seed,
                progress=tell,
            )  # fmt: skip
            outcome = search.solver.run(walk.victim, job)
            outcome, verdict, found = _judged(walk, search, x, y, outcome)
            columns |= _columns(search.solver, outcome, verdict, found)
            points = outcome.points[found.to(outcome.points.device)]
        columns["seconds"] = np.full(m, (time.perf_counter() - begun) / max(1, m))
        walk.store.write(key, columns, {"points": points.cpu().contiguous()})


def _judged(
    walk: Walk, search: Search, x: Tensor, y: Tensor, outcome: Outcome
) -> tuple[Outcome, Verdict, Tensor]:
    """The outcome, the judge's verdict, and whose radius counts as found, ``(B,)`` on the CPU.

    A solver's point may lie within rounding of the boundary, where the judge, who computes in other
    batches, sees it on the other side: it is moved a little further out.
    """
    # The judge measures: a point that is no number would have no place in its tensors.
    points = outcome.points.to(walk.victim.device)
    finite = points.isfinite().flatten(1).all(1)
    clean = x.to(points)
    points = torch.where(per_example(finite, points), points, clean)
    lo, hi = walk.box.bounds(points)
    inside = ((points >= lo) & (points <= hi)).flatten(1).all(1)
    sound = outcome.fooled.to(finite.device) & finite & inside
    verdict = judge(walk.victim, search.metric, x, points, y, walk.box)
    for further in NUDGES:
        left = (sound & ~verdict.broken).nonzero().squeeze(1)
        if not len(left):
            break
        moved = clean[left] + (points[left] - clean[left]) * (1 + further)
        points[left] = moved.clamp(lo, hi)
        verdict = judge(walk.victim, search.metric, x, points, y, walk.box)
    found = verdict.broken.cpu() & finite.cpu() & verdict.distance.isfinite().cpu()
    return replace(outcome, points=points.to(outcome.points.device)), verdict, found


def _columns(
    solver: Solver, outcome: Outcome, verdict: Verdict, found: Tensor
) -> dict[str, np.ndarray]:
    by = getattr(outcome, "by", None) or (None,) * len(found)
    names = [name or type(solver).__name__ for name in by]
    hit = found.numpy()
    return {
        "claimed": (outcome.fooled.cpu() | found).numpy(),
        "found": hit,
        "margin": verdict.margin.cpu().numpy(),
        "distance": np.where(hit, verdict.distance.cpu().numpy(), np.inf),
        "solver": np.where(hit, np.array(names, dtype=str), ""),
        "forwards": outcome.forwards.cpu().numpy().astype(np.int64),
        "backwards": outcome.backwards.cpu().numpy().astype(np.int64),
        "row": np.where(hit, np.cumsum(hit) - 1, -1),
    }
