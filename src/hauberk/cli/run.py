"""What all runs with a ledger have in common as commands: a question, asked of models and data."""

from abc import abstractmethod
from collections.abc import Iterable, Mapping
from contextlib import nullcontext
from dataclasses import dataclass, replace
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Self, cast

from hauberk.cli.dry_run import Cost, Trial, print_costs, tried
from hauberk.cli.files import leave
from hauberk.cli.load import load_named, named_model, open_data, recorded
from hauberk.cli.normalisation import recalled
from hauberk.cli.options import (
    DataOptions,
    DeviceOptions,
    LedgerOptions,
    LoadingOptions,
    ModelOptions,
    ProcessOptions,
)
from hauberk.cli.processes import launched, note, say, wanted
from hauberk.machines.launch import rank

if TYPE_CHECKING:
    from hauberk.cli.load import NamedModel
    from hauberk.evaluation.core.options import RunOptions
    from hauberk.evaluation.core.prepare import Model
    from hauberk.evaluation.core.question import Question
    from hauberk.victims.alone import BatchDependent


@dataclass(frozen=True, kw_only=True)
class RunCommand(ProcessOptions, LedgerOptions, DeviceOptions, DataOptions):
    """A command that asks a question, prints the answer and leaves files beside the ledger."""

    shown_by: ClassVar[str]
    """The module of :mod:`hauberk.report.tables` that makes a table of the summary."""

    @abstractmethod
    def question(self) -> "Question[Any]":
        """What is asked.

        Raises:
            InputError: for whatever can be refused without models and data.
        """

    @abstractmethod
    def named(self) -> "NamedModel | list[NamedModel]":
        """The models that the options name."""

    @abstractmethod
    def models(self) -> "Mapping[str, Model]":
        """The same models, loaded, by the names that the run gives them."""

    @abstractmethod
    def costs(self, trial: Trial) -> tuple[str, list[Cost]]:
        """What the run is of, in words, and what it costs."""

    def facts(self) -> dict[str, Any]:
        """What the manifest records beside the options that all runs have."""
        return {}

    def further(
        self, found: Any, models: "Mapping[str, Model]", options: "RunOptions"
    ) -> Iterable[Path]:
        """What a command does once the run is done and its table is printed; paths of its files."""
        return ()

    def recalled(self, manifest: Path) -> Self:
        """The command with the normalisation of the run that it resumes, if it names none."""
        if not isinstance(self, LoadingOptions) or not manifest.is_file():
            return self
        from hauberk.store.files import read_json

        return recalled(self, read_json(manifest))

    def files(self, folder: Path, found: Any) -> Iterable[Path]:
        """Write tables and pictures into the run's folder; their paths."""
        return ()

    def run(self) -> int:
        devices, nodes = wanted(self.devices, self.nodes)
        if not self.dry_run and (code := launched(self.argv, devices, nodes)) is not None:
            return code
        from hauberk.evaluation.core.options import RunOptions
        from hauberk.evaluation.core.run import run
        from hauberk.report.progress import shown
        from hauberk.store.ledger import MANIFEST

        begun = Path(self.out or "", MANIFEST)
        if self.resume and (same := self.recalled(begun)) is not self:
            return same.run()
        # What costs nothing to find out comes before data and models are loaded.
        options = RunOptions(
            box=self.box, seed=self.seed, batch_size=self.batch_size, threads=self.threads,
            out=self.out or None, resume=self.resume, block=self.block,
            devices=1 if self.dry_run else devices, nodes=1 if self.dry_run else nodes,
            shard=self.shard,
            batch_dependent=cast("BatchDependent", self.batch_dependent),
        )  # fmt: skip
        named, question = self.named(), self.question()
        data = open_data(self)
        models = self.models()
        manifest = recorded(named, self, data, models.values()) | self.facts()
        options = replace(options, ids=data.ids, manifest=manifest)
        if self.dry_run:
            what, costs = self.costs(tried(question, models, data, options))
            end = note(devices, nodes, self.shard)
            return print_costs(what, [replace(cost, note=cost.note + end) for cost in costs])
        with shown() if rank() == 0 else nullcontext() as progress:
            options = replace(options, progress=progress)
            found = run(question, models, data.images, data.labels, options)
        import_module(f"hauberk.report.tables.{self.shown_by}").table(found.summary).print()
        if shard := found.summary.get("shard"):
            say(
                f"shard {shard[0]}/{shard[1]}: these numbers are of {found.summary['n']} of "
                f"{len(data.images)} examples; 'hauberk merge' joins all shards"
            )
            leave(self.out)
            return 0
        more = list(self.further(found, models, options))
        if rank() == 0:
            leave(self.out, lambda folder: [*self.files(folder, found), *more])
        return 0


@dataclass(frozen=True, kw_only=True)
class OneModelCommand(RunCommand, ModelOptions):
    """A run on one model."""

    def named(self) -> "NamedModel":
        return named_model(self.model, self.weights, self)

    def models(self) -> "Mapping[str, Model]":
        return {"model": load_named(self.named(), self)}
