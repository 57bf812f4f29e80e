"""``hauberk curves``."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hauberk.cli.dry_run import Cost, Trial, print_costs, tried
from hauberk.cli.files import leave, write_csv, write_json
from hauberk.cli.load import load_by_name, named_models, open_data, recorded
from hauberk.cli.options import (
    DataOptions,
    DeviceOptions,
    FormatOption,
    LedgerOptions,
    ModelsOptions,
    option,
)
from hauberk.cli.radius import sizes as sizes_of
from hauberk.errors import InputError

if TYPE_CHECKING:
    from hauberk.analysis import Panel
    from hauberk.threats import Threat

SHOWN = 4
"""Sizes that the table shows where none are asked for."""


@dataclass(frozen=True, kw_only=True)
class CurvesCommand(FormatOption, LedgerOptions, DeviceOptions, DataOptions, ModelsOptions):
    """Draw accuracy against the size of threats, a curve a model."""

    threat: list[str] = option([], "linf:0.4, l2:4, ...: a panel up to that size; repeat")
    metric: list[str] = option([], "l2, ...: a panel up to the largest radius found; repeat")
    by: str | None = option(None, "radius or attack; radius of balls, attack of all else")
    points: int = option(10, "sizes of every threat that is attacked")
    eps: list[str] = option([], "sizes to attack at and to show: 0.1, 8/255 or l2:0.5; repeat")
    suite: str = option("standard", "of the attacks: a name or a .yaml file")
    budget: int = option(2000, "of the radii: passes per example and norm")
    solver: str = option("best", "of the radii: a name; best by default")
    least: float = option(0.01, "a lead counts for a crossing above this difference of accuracies")

    def run(self) -> int:
        from hauberk.analysis.by_size import by_size, named_panels
        from hauberk.evaluation.core.options import RunOptions
        from hauberk.report.progress import shown
        from hauberk.report.tables.curves import table

        named, threats = named_models(self), self.threats()
        panels = named_panels(threats, self.by)
        sizes = sizes_of(self.eps, list(panels))
        data = open_data(self)
        models = load_by_name(named, self, self)
        common: dict[str, Any] = {
            "box": self.box, "seed": self.seed, "batch_size": self.batch_size,
            "threads": self.threads, "ids": data.ids, "batch_dependent": self.batch_dependent,
        }  # fmt: skip
        if self.dry_run:
            trial = tried(None, models, data, RunOptions(**common))
            return print_costs(
                f"{trial.n} examples, {', '.join(panels)}", self.costs(trial, panels, sizes)
            )
        with shown() as progress:
            found = by_size(
                models, data.images, data.labels, threats, by=self.by, points=self.points,  # type: ignore[arg-type]
                sizes=sizes, suite=self.suite, budget=self.budget, solver=self.solver,
                out=self.out or None, resume=self.resume, progress=progress,
                manifest=recorded(named, self, loaded=models.values()), **common,
            )  # fmt: skip
        summary = self.summary(found, sizes, len(data.images))
        table(summary).print()
        ledgers = sorted(path.parent for path in Path(self.out or "").glob("*/*/manifest.json"))
        leave(self.out, lambda folder: self.files(folder, found, summary), ledgers)
        return 0

    def threats(self) -> "list[Threat]":
        """The threats and distances of the options.

        Raises:
            InputError: for what is none of them, and for options that contradict each other.
        """
        from hauberk.evaluation.accuracy.reading import suite_of
        from hauberk.threats import metric, threat

        self.require_format()
        if not 0 <= self.least < 1:
            raise InputError(f"--least is {self.least}: give a share of examples, such as 0.01")
        if not (self.threat or self.metric):
            raise InputError("no threat: give at least one, e.g. --threat linf:0.3 --threat l2:2")
        suite_of(self.suite)
        return [*map(threat, self.threat), *map(metric, self.metric)]

    def costs(
        self, trial: Trial, panels: dict[str, Any], sizes: dict[str, list[float]]
    ) -> list[Cost]:
        """The most that each panel can cost."""
        from hauberk.evaluation.accuracy.reading import suite_of
        from hauberk.evaluation.radii.question import LeastDistances
        from hauberk.threats import Metric
        from hauberk.threats.ball import Ball

        classes, costs = trial.setting.classes, []
        for name, (threat, how) in panels.items():
            if how == "radius":
                asked = Metric.of(threat) if isinstance(threat, Ball) else threat
                question = LeastDistances.asked([asked], solver=self.solver, budget=self.budget)
                passes = question.passes(classes)
            else:
                many = len(sizes.get(name) or range(self.points))
                passes = many * suite_of(self.suite).passes((threat,), classes)[0]
            costs.append(trial.cost(passes, f"{name} by {how}"))
        return costs

    def summary(
        self, found: "dict[str, Panel]", sizes: dict[str, list[float]], n: int
    ) -> dict[str, Any]:
        """What ``summary.json`` holds: accuracies at a few sizes, and the crossings."""
        from hauberk.__about__ import __version__

        panels = {}
        for name, panel in found.items():
            known = panel.grid(SHOWN + 1)[1:]
            step = -(-len(known) // SHOWN)
            shown = sizes.get(name) or known[step - 1 :: step]
            panels[name] = {
                "by": panel.by,
                "end": panel.end,
                "accuracy": [{"eps": eps, "accuracy": panel.curves.at(eps)} for eps in shown],
                "crossings": [one.to_dict() for one in panel.crossings(self.least)],
            }
        clean = next(iter(found.values())).curves.at(0.0)
        return {
            "hauberk_version": __version__, "kind": "curves", "n": n, "clean": clean,
            "panels": panels, "least": self.least, "seed": self.seed,
            "command": ["hauberk", *self.argv],
        }  # fmt: skip

    def files(
        self, folder: Path, found: "dict[str, Panel]", summary: dict[str, Any]
    ) -> Iterator[Path]:
        """``curves.csv``, ``curves.json``, ``summary.json`` and the picture."""
        from hauberk.analysis.panels import drawn
        from hauberk.report.plots import curves as plots

        rows = {name: list(panel.rows()) for name, panel in found.items()}
        columns = ("model", "eps", "accuracy", "low", "high")
        yield write_csv(
            folder / "curves.csv",
            ("panel", "by", *columns),
            (
                [name, found[name].by, row["model"], *(repr(row[key]) for key in columns[1:])]
                for name, several in rows.items()
                for row in several
            ),
        )
        yield write_json(folder / "curves.json", summary | {"curves": rows})
        yield plots.panels(
            {name: drawn(panel) for name, panel in found.items()},
            folder / f"curves.{self.format}",
            {name: [one["eps"] for one in summary["panels"][name]["crossings"]] for name in found},
        )
        yield write_json(folder / "summary.json", summary)
