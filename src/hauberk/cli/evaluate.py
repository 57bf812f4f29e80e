"""``hauberk evaluate``."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from hauberk.cli.dry_run import Cost, Trial
from hauberk.cli.files import write_json
from hauberk.cli.load import open_data, threat_of
from hauberk.cli.options import GoalOption, option
from hauberk.cli.run import OneModelCommand
from hauberk.errors import InputError

if TYPE_CHECKING:
    from hauberk.data.dataset import OpenDataset
    from hauberk.evaluation.accuracy.question import Accuracy
    from hauberk.evaluation.accuracy.result import Result
    from hauberk.evaluation.core.options import RunOptions
    from hauberk.evaluation.core.prepare import Model


@dataclass(frozen=True, kw_only=True)
class EvaluateCommand(GoalOption, OneModelCommand):
    """Attack a model under every threat."""

    shown_by = "accuracy"

    threat: list[str] = option(
        [],
        "linf:8/255, l2:0.5, l1:12, l0:10, l1.5:3, rt:30,3, affine(linf:0.3,l1:10), "
        "perceptual(LAYER+LAYER):0.5; of some features linf:0.1,mask=FILE, each by its own size "
        "linf:eps=FILE; repeat",
    )
    suite: str = option("standard", "a name or a .yaml file")
    gap: str | None = option(
        None, "training examples, e.g. mnist:train: as many of them too, for the generalisation gap"
    )
    list_suites: bool = option(False, "print the suites and stop")
    union_only: bool = option(
        False,
        "attack a broken point no further: cheaper; accuracies per threat are upper bounds",
    )
    all_attacks: bool = option(False, "run every attack on all points")
    floor: int = option(
        0,
        "that many standing points get ten times the passes, to bound how far the accuracy could "
        "still fall (60 recommended)",
    )
    search_precision: str | None = option(
        None, "bf16, fp16 or fp32: attacks search on a copy so cast, the model itself decides"
    )
    channels_last: bool = option(False, "the copy to search on has channels last in memory")
    compile: bool = option(False, "the copy to search on is compiled (torch.compile)")

    def run(self) -> int:
        if self.list_suites:
            return print_suites(self.threat)
        if self.gap and self.shard:
            raise InputError("--gap takes all examples: leave --shard out")
        if self.gap:  # refused before work is lost
            self.question()
            self.training_data()
        return super().run()

    def training_data(self, n: int | None = None) -> "OpenDataset":
        """The examples of ``--gap``, ``n`` of them."""
        if self.sample:
            return open_data(
                replace(self, data=self.gap, limit=None, sample=n or self.sample, offset=0)
            )
        return open_data(replace(self, data=self.gap, limit=n or self.limit, offset=0))

    def further(
        self, found: "Result", models: "Mapping[str, Model]", options: "RunOptions"
    ) -> "Iterable[Path]":
        """The same evaluation of training examples, and the gap between the two."""
        from hauberk.analysis.gap import generalisation_gap
        from hauberk.evaluation.core.run import run
        from hauberk.report.tables.gap import table

        if not self.gap:
            return
        data = self.training_data(found.summary["n"])
        out = None if options.out is None else Path(options.out, "train")
        mine = replace(
            options, ids=data.ids, out=out, resume=out is not None and out.is_dir(), progress=None,
            manifest=dict(options.manifest or {}) | {"data": self.gap, "offset": 0},
        )  # fmt: skip
        train = run(self.question(), models, data.images, data.labels, mine)
        gaps = {name: gap.to_dict() for name, gap in generalisation_gap(train, found).items()}
        table(gaps, len(data.images), found.summary["n"]).print()
        if out is not None:
            yield write_json(out.parent / "gap.json", gaps)

    def question(self) -> "Accuracy":
        from hauberk.evaluation.accuracy.question import Accuracy, Points
        from hauberk.evaluation.accuracy.reading import suite_of
        from hauberk.victims.fast_copy import SearchOn
        from hauberk.victims.goals import Goal

        points = Points.of(self.union_only, self.all_attacks)
        on = SearchOn(
            precision=self.search_precision, channels_last=self.channels_last, compile=self.compile
        )
        parts, suite = threat_of(self.threat).parts, suite_of(self.suite)
        goal = None if self.goal is None else Goal.of(self.goal)
        return Accuracy(parts, suite, points, floor=self.floor, on=on, goal=goal)

    def costs(self, trial: Trial) -> tuple[str, list[Cost]]:
        question = trial.question
        always, masked = question.suite.passes(question.threats, trial.setting.classes)
        costs = [trial.cost(always, note=", if no point breaks; broken points leave early")]
        if any(stage.adaptive for stage in question.suite.stages.values()):
            usual = question.suite.usual(question.threats, trial.setting.classes)
            costs.insert(0, trial.cost(usual, limit="usually about"))
        if masked > always:
            costs.append(trial.cost(masked, "if the gradients seem masked"))
        if self.floor:
            costs += floor_costs(trial, masked > always)
        if self.gap:
            costs += [
                replace(cost, name=f"training examples {cost.name}".strip()) for cost in costs
            ]
        threats = f"{len(question.threats)} threats"
        return f"{trial.n} examples, {threats}, suite {question.suite.name}", costs


def floor_costs(trial: Trial, escalates: bool) -> list[Cost]:
    """What the floor costs beside the suite, for each of its points."""
    from hauberk.evaluation.accuracy.floor import passes

    drawn = min(trial.question.floor, trial.n)
    notes = ["floor", *(["floor if the gradients seem masked"] if escalates else [])]
    found = zip(notes, passes(trial.question, trial.setting.classes), strict=False)
    return [
        replace(
            cost := trial.cost(most, name, f", on {drawn} of the points that stand", limit="about"),
            seconds=cost.seconds * drawn / trial.n,
        )
        for name, most in found
    ]  # fmt: skip


def print_suites(texts: list[str]) -> int:
    """Every suite, and the passes that a point costs which nothing breaks."""
    from hauberk.evaluation import SUITES

    parts = threat_of(texts or ["linf:0.3", "l2:2", "l1:10"]).parts
    print(f"passes per point that nothing breaks, at most, under {', '.join(map(str, parts))} "
          "with 10 classes")  # fmt: skip
    for suite in SUITES.values():
        print()
        try:
            always, masked = suite.passes(parts)
        except InputError as error:
            print(f"{suite.name} (version {suite.version}): {error}")
            continue
        more = f", {masked} if gradients seem masked" if masked > always else ""
        usual = suite.usual(parts)
        most = f"usually {usual}, at most {always}" if usual < always / 2 else f"{always}"
        print(f"{suite.name} (version {suite.version}): {most} passes{more}; {suite.about}")
        for name, stage in suite.stages.items():
            print(f"  {name:14} {stage.about()}")
    return 0
