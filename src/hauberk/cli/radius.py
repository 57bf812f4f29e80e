"""``hauberk radius``."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from math import inf
from pathlib import Path
from typing import TYPE_CHECKING, cast

from hauberk.cli.dry_run import Cost, Trial
from hauberk.cli.files import write_csv
from hauberk.cli.load import network, threat_of
from hauberk.cli.options import GoalOption, option
from hauberk.cli.run import OneModelCommand
from hauberk.errors import InputError
from hauberk.spec.numbers import number

if TYPE_CHECKING:
    from hauberk.evaluation.radii.question import LeastDistances
    from hauberk.evaluation.radii.result import RadiiSet
    from hauberk.threats import Threat
    from hauberk.victims.victim import Boundary


@dataclass(frozen=True, kw_only=True)
class RadiusCommand(GoalOption, OneModelCommand):
    """Find the least perturbation of every example that fools the model."""

    shown_by = "radii"

    metric: list[str] = option(
        [], "linf, l2, l1, l0, lP or perceptual(LAYER+LAYER); l2,mask=FILE; repeat"
    )
    threat: list[str] = option([], "balls such as linf:0.3: the radius of their union; repeat")
    budget: int = option(2000, "passes per example and metric")
    solver: str = option("best", "a name; best by default")
    soften: float | None = option(None, "width of softened gradients; the solver's own")
    boundary: str = option(
        "decision", "decision, or soft_margin for SLM-margins, which are lower bounds"
    )
    eps: list[str] = option([], "size to tell the accuracy at: 0.1, 8/255 or l2:0.5; repeat")

    def question(self) -> "LeastDistances":
        from hauberk.evaluation.radii.question import LeastDistances
        from hauberk.threats import Union
        from hauberk.threats.notation import distance

        metrics: list[str | Threat] = [
            distance(text).of_network(network) if "@" in text else text
            for text in dict.fromkeys(self.metric)
        ]
        if self.threat:
            metrics.append(Union(threat_of(self.threat)))
        if not metrics:
            raise InputError(
                "no metric: give at least one, e.g. --metric linf --metric l2, or balls for the "
                "radius of their union, e.g. --threat linf:0.3 --threat l2:2"
            )
        asked = LeastDistances.asked(
            metrics, solver=self.solver, budget=self.budget, soften=self.soften,
            boundary=cast("Boundary", self.boundary), goal=self.goal,
        )  # fmt: skip
        return replace(asked, eps=sizes(self.eps, [*asked.metrics, *["union"] * bool(self.threat)]))

    def costs(self, trial: Trial) -> tuple[str, list[Cost]]:
        from hauberk.evaluation.radii.timing import seconds_per_pass

        question, classes = trial.question, trial.setting.classes
        passes = {name: s.passes * s.attempts(classes) for name, s in question.solvers.items()}
        seconds = sum(
            passes[name] * seconds_per_pass(question.solvers[name], metric, trial.setting)
            for name, metric in question.metrics.items()
        )
        note = "; points that the model gets wrong cost nothing"
        what = f"{trial.n} examples, {', '.join(question.metrics)}, solver {self.solver}"
        each, most = seconds / sum(passes.values()), question.passes(classes)
        return what, [replace(trial, seconds=each).cost(most, note=note)]

    def files(self, folder: Path, found: "RadiiSet") -> Iterator[Path]:
        """``radii.csv`` and the pictures."""
        from hauberk.report.plots import radii as plots

        yield write_csv(
            folder / "radii.csv",
            ("id", "correct", "metric", "distance", "solver"),
            (
                (id_, int(correct), name, repr(distance), solver)
                for name, r in found.items()
                for id_, correct, distance, solver in zip(
                    r.ids.tolist(), r.correct.tolist(), r.distance.tolist(), r.solver, strict=True
                )
            ),
        )
        for name, r in found.items():
            eps, accuracy = r.curve()
            # Metrics have units of their own, so each has its own picture.
            short = re.sub("[^A-Za-z0-9.]+", "_", name).strip("_")
            to = folder / ("curve.png" if len(found) == 1 else f"curve-{short}.png")
            yield plots.accuracy_curves({"eps": eps, "accuracy": {name: accuracy}}, to, unit=name)
        distances = {name: r.distance[r.found] for name, r in found.items()}
        asked = found.summary.get("eps") or {}
        lines = {name: sizes[0] for name, sizes in asked.items() if len(sizes) == 1}
        yield plots.radii(distances, folder / "histogram.png", lines)


def sizes(texts: list[str], names: list[str]) -> dict[str, list[float]]:
    """Sizes by metric; those without a name are for all of them.

    Raises:
        InputError: for what is no size, or names another metric.
    """
    found: dict[str, list[float]] = {name: [] for name in names}
    for text in texts:
        name, colon, written = text.strip().replace(" ", "").rpartition(":")
        name = name if name in names else name.lower()
        size = number(written)
        if size is None or not 0 <= size < inf or (colon and name not in names):
            raise InputError(
                f"unknown size '{text}': write --eps 0.1, 8/255, or METRIC:SIZE with one of "
                f"{', '.join(names)}"
            )
        for each in [name] if name else names:
            found[each].append(size)
    return {name: row for name, row in found.items() if row}
