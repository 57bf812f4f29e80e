"""``hauberk evaluate``."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from hauberk.cli.dry_run import Cost, print_costs, tried
from hauberk.cli.files import leave
from hauberk.cli.load import load_data, load_named, named_model, recorded, require_out
from hauberk.cli.options import DataOptions, DeviceOptions, LedgerOptions, ModelOptions, option
from hauberk.errors import InputError

if TYPE_CHECKING:
    from torch import nn

    from hauberk.data import Dataset
    from hauberk.evaluation import Suite
    from hauberk.threats import Union


@dataclass(frozen=True, kw_only=True)
class EvaluateCommand(LedgerOptions, DeviceOptions, DataOptions, ModelOptions):
    """Attack a model under every threat."""

    threat: list[str] = option(
        [], "linf:8/255, l2:0.5, l1:12, l0:10, l1.5:3, rt:30,3, affine(linf:0.3,l1:10); repeat"
    )
    suite: str = option("standard", "a name or a .yaml file")
    list_suites: bool = option(False, "print the suites and stop")
    union_only: bool = option(
        False,
        "attack a broken point no further: cheaper; accuracies per threat are upper bounds",
    )
    all_attacks: bool = option(False, "run every attack on all points")

    def run(self) -> int:
        from hauberk.evaluation import evaluate
        from hauberk.evaluation.accuracy.reading import suite_of
        from hauberk.report.progress import shown
        from hauberk.report.tables.accuracy import print_table

        if self.list_suites:
            return print_suites(self.threat)
        require_out(self.resume, self.out)
        if self.union_only and self.all_attacks:
            raise InputError("--union-only and --all-attacks exclude each other: choose one")
        union, suite = union_of(self.threat), suite_of(self.suite)
        named = named_model(self.model, self.weights)
        model, data = load_named(named, self), load_data(self)
        if self.dry_run:
            return self.print_cost(model, data, union, suite)
        with shown() as progress:
            result = evaluate(
                model, data.images, data.labels, union, suite=suite, box=self.box, seed=self.seed,
                ids=data.ids, out=self.out, resume=self.resume, union_only=self.union_only,
                all_attacks=self.all_attacks, batch_size=self.batch_size, progress=progress,
                manifest=recorded(named, self),
            )  # fmt: skip
        print_table(result.summary)
        leave(self.out)
        return 0

    def print_cost(
        self, model: "nn.Module", data: "Dataset", union: "Union", suite: "Suite"
    ) -> int:
        """The dry run: passes of the suite on points that nothing breaks."""
        from hauberk.evaluation.accuracy.question import Accuracy

        trial = tried(model, data, self.box, self.seed, self.batch_size)
        for task in Accuracy(union.parts, suite).tasks(trial.setting):
            task.check(trial.setting)
        n, draws = len(trial.x), trial.victim.draws
        always, masked = suite.passes(union.parts, trial.classes)
        note = ", if no point breaks; broken points leave early"
        costs = [Cost(always * trial.seconds * n, f"at most {always * draws}", note=note)]
        if masked > always:
            name = "if the gradients seem masked"
            costs.append(Cost(masked * trial.seconds * n, f"at most {masked * draws}", name))
        return print_costs(f"{n} examples, {len(union.parts)} threats, suite {suite.name}", costs)


def union_of(texts: list[str]) -> "Union":
    """The union of threats written as text.

    Raises:
        InputError: if there are none, or one is not a threat.
    """
    from hauberk.threats import Union, threat

    if not texts:
        raise InputError("no threat: give at least one, e.g. --threat linf:8/255 --threat l2:0.5")
    return Union(*(threat(text) for text in texts))


def print_suites(texts: list[str]) -> int:
    """Every suite, and the passes that a point costs which nothing breaks."""
    from hauberk.evaluation import SUITES

    parts = union_of(texts or ["linf:0.3", "l2:2", "l1:10"]).parts
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
        print(f"{suite.name} (version {suite.version}): {always} passes{more}; {suite.about}")
        for name, stage in suite.stages.items():
            print(f"  {name:14} {stage.about()}")
    return 0
