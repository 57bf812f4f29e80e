"""``hauberk corruptions``."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, cast

from hauberk.cli.dry_run import print_costs, tried
from hauberk.cli.files import leave, write_csv
from hauberk.cli.load import load_by_name, named_models, open_data, recorded
from hauberk.cli.options import (
    BatchDependentOption,
    DataOptions,
    DeviceOptions,
    DryRunOption,
    FormatOption,
    ModelsOptions,
    OutOptions,
    option,
)
from hauberk.errors import InputError

if TYPE_CHECKING:
    from hauberk.analysis.corruptions import CorruptionTable
    from hauberk.victims.alone import BatchDependent


@dataclass(frozen=True, kw_only=True)
class CorruptionsCommand(
    FormatOption,
    BatchDependentOption,
    DryRunOption,
    OutOptions,
    DeviceOptions,
    DataOptions,
    ModelsOptions,
):
    """Measure models on common corruptions."""

    kind: list[str] = option([], "a kind, such as fog; repeat; else all fifteen")
    severity: list[str] = option([], "1 to 5; repeat; else all five")
    baseline: str | None = option(None, "name of the model whose error counts as 100 in the mCE")
    files: str | None = option(None, "folder of CIFAR-10-C's files, to read instead of making them")
    resume: bool = option(False, "continue the run in --out")

    def run(self) -> int:
        from hauberk.analysis.corruptions import corruption_table
        from hauberk.data.corruptions import KINDS
        from hauberk.evaluation.core.options import RunOptions
        from hauberk.report.progress import shown

        self.require_format()
        severities = self.severities()
        options = RunOptions(
            seed=self.seed, batch_size=self.batch_size, threads=self.threads,
            out=self.out or None, resume=self.resume,
            batch_dependent=cast("BatchDependent", self.batch_dependent),
        )  # fmt: skip
        named, data = named_models(self), open_data(self)
        models = load_by_name(named, self, self)
        manifest = recorded(named, self, data, models.values())
        options = replace(options, ids=data.ids, manifest=manifest)
        kinds = tuple(self.kind) or tuple(KINDS)
        if self.dry_run:
            trial = tried(None, dict(models), data, options)
            cells = len(kinds) * len(severities)
            return print_costs(
                f"{trial.n} examples, {', '.join(models)}, {cells} corruptions",
                [trial.cost(1 + cells, note=", and the time to corrupt the images")],
            )
        with shown() as progress:
            found = corruption_table(
                models, data.images, data.labels, kinds=kinds, severities=severities,
                baseline=self.baseline, files=self.files, progress=progress, seed=self.seed,
                batch_size=self.batch_size, threads=self.threads, out=self.out or None,
                resume=self.resume, batch_dependent=cast("BatchDependent", self.batch_dependent),
                ids=data.ids, manifest=options.manifest,
            )  # fmt: skip
        print(found.table())
        leave(self.out, lambda folder: self.written(folder, found))
        return 0

    def severities(self) -> list[int]:
        """The severities of ``--severity``.

        Raises:
            InputError: for what is no whole number from 1 to 5.
        """
        from hauberk.data.corruptions import SEVERITIES

        if wrong := [text for text in self.severity if text not in map(str, SEVERITIES)]:
            raise InputError(f"--severity is {wrong[0]}: give 1, 2, 3, 4 or 5")
        return [int(text) for text in self.severity] or list(SEVERITIES)

    def written(self, folder: Path, found: "CorruptionTable") -> Iterator[Path]:
        """``corruptions.csv`` and the picture."""
        from hauberk.report.plots.corruptions import corruptions

        yield write_csv(
            folder / "corruptions.csv",
            ("model", "kind", "severity", "accuracy"),
            [
                (name, kind, severity, repr(accuracy))
                for name, model in found.summary["models"].items()
                for kind, one in model["kinds"].items()
                for severity, accuracy in one["severities"].items()
            ],
        )
        yield corruptions(found.summary, folder / f"corruptions.{self.format}")
