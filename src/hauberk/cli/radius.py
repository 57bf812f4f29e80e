"""``hauberk radius``."""

from collections.abc import Iterator
from dataclasses import dataclass
from math import inf
from pathlib import Path
from typing import TYPE_CHECKING

from hauberk.cli.dry_run import Cost, print_costs, tried
from hauberk.cli.files import leave, write_csv
from hauberk.cli.load import load_data, load_named, named_model, recorded, require_out
from hauberk.cli.options import DataOptions, DeviceOptions, LedgerOptions, ModelOptions, option
from hauberk.errors import InputError
from hauberk.spec.numbers import number

if TYPE_CHECKING:
    from torch import nn

    from hauberk.data import Dataset
    from hauberk.evaluation.radii.question import LeastDistances
    from hauberk.evaluation.radii.result import RadiiSet
    from hauberk.threats import Threat


@dataclass(frozen=True, kw_only=True)
class RadiusCommand(LedgerOptions, DeviceOptions, DataOptions, ModelOptions):
    """Find the least perturbation of every example that fools the model."""

    metric: list[str] = option([], "linf, l2, l1, l0 or lP; repeat")
    threat: list[str] = option([], "balls such as linf:0.3: the radius of their union; repeat")
    budget: int = option(2000, "passes per example and metric")
    solver: str = option("best", "a name; best by default")
    soften: float | None = option(None, "width of softened gradients; the solver's own")
    eps: list[str] = option([], "size to tell the accuracy at: 0.1, 8/255 or l2:0.5; repeat")

    def run(self) -> int:
        from hauberk.evaluation.radii.question import LeastDistances
        from hauberk.evaluation.radii.radius import radius
        from hauberk.report.progress import shown
        from hauberk.report.tables.radii import print_table

        require_out(self.resume, self.out)
        metrics = self.metrics()
        # What costs nothing to find out comes before the model is loaded.
        asked = LeastDistances.asked(
            metrics, solver=self.solver, budget=self.budget, soften=self.soften
        )
        eps = sizes(self.eps, [*asked.metrics, *(["union"] if asked.balls else [])])
        named = named_model(self.model, self.weights)
        model, data = load_named(named, self), load_data(self)
        if self.dry_run:
            return self.print_cost(model, data, asked)
        with shown() as progress:
            found = radius(
                model, data.images, data.labels, metrics, budget=self.budget, solver=self.solver,
                box=self.box, seed=self.seed, ids=data.ids, out=self.out, resume=self.resume,
                batch_size=self.batch_size, progress=progress, manifest=recorded(named, self),
                soften=self.soften, eps=eps,
            )  # fmt: skip
        print_table(found.summary)
        leave(self.out, lambda folder: _write(folder, found))
        return 0

    def metrics(self) -> "list[str | Threat]":
        """What the radii are measured in: metrics, and the union of the balls."""
        from hauberk.threats import Union, threat

        metrics: list[str | Threat] = list(dict.fromkeys(self.metric))
        if self.threat:
            metrics.append(Union(*(threat(text) for text in self.threat)))
        if not metrics:
            raise InputError(
                "no metric: give at least one, e.g. --metric linf --metric l2, or balls for the "
                "radius of their union, e.g. --threat linf:0.3 --threat l2:2"
            )
        return metrics

    def print_cost(self, model: "nn.Module", data: "Dataset", asked: "LeastDistances") -> int:
        """The dry run: the budgets of the solvers."""
        trial = tried(model, data, self.box, self.seed, self.batch_size)
        passes = trial.victim.draws * asked.passes(trial.classes)
        n, names = len(trial.x), ", ".join(asked.metrics)
        note = "; points that the model gets wrong cost nothing"
        cost = Cost(passes * trial.seconds * n, f"at most {passes}", note=note)
        return print_costs(f"{n} examples, {names}, solver {self.solver}", [cost])


def sizes(texts: list[str], names: list[str]) -> dict[str, list[float]]:
    """Sizes by metric; those without a name are for all of them.

    Raises:
        InputError: for what is no size, or names another metric.
    """
    found: dict[str, list[float]] = {name: [] for name in names}
    for text in texts:
        name, colon, written = text.strip().lower().rpartition(":")
        size = number(written)
        if size is None or not 0 <= size < inf or (colon and name not in names):
            raise InputError(
                f"unknown size '{text}': write --eps 0.1, 8/255, or METRIC:SIZE with one of "
                f"{', '.join(names)}"
            )
        for each in [name] if name else names:
            found[each].append(size)
    return found


def _write(folder: Path, found: "RadiiSet") -> Iterator[Path]:
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
        to = folder / ("curve.png" if len(found) == 1 else f"curve-{name}.png")
        yield plots.accuracy_curves({"eps": eps, "accuracy": {name: accuracy}}, to, unit=name)
    distances = {name: r.distance[r.found] for name, r in found.items()}
    yield plots.radii(distances, folder / "histogram.png")
