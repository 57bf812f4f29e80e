"""``hauberk train``."""

import logging
import sys
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any, Self, get_type_hints

import torch
from torch import nn

from hauberk.cli.dry_run import Cost, print_costs
from hauberk.cli.load import NO_DATA, NamedModel, named_model, reading, recorded
from hauberk.cli.options import DataOptions, Declared, DryRunOption, ModelOptions, option
from hauberk.cli.processes import launched
from hauberk.cli.strategy import NAMES, strategy_of
from hauberk.cli.train_report import epoch_lines, passes_of, print_trained
from hauberk.data import Dataset, load_data
from hauberk.errors import InputError
from hauberk.machines import launch
from hauberk.machines.devices import AUTO, require_device
from hauberk.models.saved import saved_normalisation
from hauberk.report.plots.minmax import weighed, weight_boxes
from hauberk.report.progress import shown
from hauberk.spec.imports import import_object
from hauberk.spec.numbers import as_number
from hauberk.store.files import put, to_json
from hauberk.train import Strategy, fit
from hauberk.train.loop.loader import minibatches
from hauberk.train.loop.validation import most_passes
from hauberk.train.settings import Options, command_line_fields, described


@dataclass(frozen=True, kw_only=True)
class TrainCommand(DryRunOption, DataOptions, ModelOptions):
    """Train a model; the options beside those below are the fields of ``train.settings.Options``.

    Attributes:
        given: those of them that were given, by name; the others keep the defaults of ``fit``.
    """

    strategy: str | dict[str, Any] | None = option(
        None, f"{', '.join(NAMES)}, or file.py:name; in YAML also {{name: max, steps: 10}}"
    )
    threat: list[str] = option([], "linf:0.3, l2:2, l1:10, ...; repeat")
    set: list[str] = option([], "a field of the strategy: steps=10; repeat")
    d_max: str | None = option(
        None, "threshold of mma and omma, such as l2:6: the same as --threat"
    )
    validation_data: str | None = option(None, "examples to validate on, such as mnist:test")
    given: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def declared(cls) -> Iterable[Declared]:
        yield from super().declared()
        hints = get_type_hints(Options)
        for name, entry in command_line_fields().items():
            hint = entry.metadata["typed"] or hints[name]
            yield Declared(name, hint, None, described(entry))

    @classmethod
    def of(cls, values: Mapping[str, Any], argv: tuple[str, ...]) -> Self:
        names = cls.__dataclass_fields__
        own = {name: value for name, value in values.items() if name in names}
        others = {name: value for name, value in values.items() if name not in names}
        given = {name: value for name, value in others.items() if value not in (None, [])}
        return cls(argv=argv, given=given, **own)

    def run(self) -> int:
        # What costs nothing to find out comes before model and data are loaded.
        named, strategy, options = self.checked()
        processes = (1, 1) if self.dry_run else (options.devices, options.nodes)
        if (code := launched(self.argv, *processes)) is not None:
            return code
        if launch.is_begun():
            _hush()
        box, how = options.bounds, vars(reading(self))
        data = load_data(self.data or "", self.data_dir, self.limit, self.offset, box, **how)
        if self.validation_data:
            many = self.given.get("validation") or None
            how |= {"sample": None, "balanced": False}
            held = load_data(self.validation_data, self.data_dir, limit=many, box=box, **how)
            options = replace(options, validation=held)
        # The weights that training begins from depend on the seed too.
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(options.seed)
            model = named.load()
        if self.dry_run:
            return print_costs(*costs(model, data, strategy, options))
        facts = recorded(named, self, loaded=[model])
        # Lines for people must not disturb the progress; a pipe gets them.
        stream = None if sys.stdout.isatty() else sys.stdout
        lines = epoch_lines(options.epochs, lambda line: print(line, file=stream, flush=True))
        with shown() as progress:
            options = replace(options, progress=progress, on_epoch=lines, model_spec=named.spec)
            found = fit(model, data, strategy, **vars(options))
        if launch.rank() == 0:
            out = str(options.out)
            put(Path(out, "command.json"), to_json(facts))
            if weighed(found.history):
                weight_boxes(found.history, Path(out, "weights.png"), "weights of the examples")
            print_trained(found, self.next_command(found.paths["model"], strategy, options), out)
        return 0

    def checked(self) -> tuple[NamedModel, Strategy, Options]:
        """Model, strategy and settings; refuses what can be refused without model and data."""
        mean, std, out = self.mean, self.std, self.given.get("out")
        if self.given.get("resume") and out and mean is None and std is None:
            mean, std = saved_normalisation(out) or (None, None)
        how = replace(self, mean=mean, std=std)
        named = named_model(self.model, self.weights, how, box=self.given.get("box"))
        if self.dtype:
            raise InputError("--dtype is for models that are trained already: leave it out")
        if not self.data:
            raise InputError(NO_DATA.replace(":test", ":train"))
        if "epochs" not in self.given:
            raise InputError("no epochs: say how many, e.g. --epochs 10")
        select, patience = self.given.get("select"), self.given.get("patience")
        held = self.given.get("validation") or self.validation_data
        if not held and self.given.get("gap"):
            raise InputError("--gap needs examples to compare with: give --validation 500")
        if not held and (patience or select in ("union", "clean", "margin")):
            word = "--patience" if patience else f"--select {select}"
            raise InputError(
                f"{word} needs examples to validate on: give --validation 500 or the like"
            )
        strategy = strategy_of(self.strategy, self.threat, self.set, self.d_max)
        options = self.options()
        require_device(str(options.device))
        if not self.dry_run:
            require_new(self.given.get("out"), options.resume)
        return named, strategy, options

    def options(self) -> Options:
        """The keywords of ``fit`` that were given, checked; the others keep its defaults."""
        given = {"device": AUTO, **self.given}
        name: str = given.get("optimiser", "adam")
        own = ":" in name
        if (own or name == "adam") and ("momentum" in given or given.get("nesterov")):
            raise InputError("--momentum and --nesterov are for --optimiser sgd: leave them out")
        if own and "weight_decay" in given:
            raise InputError(
                f"optimiser {name} has a weight decay of its own: leave out --weight-decay"
            )
        if own and "learning_rate" in given:
            raise InputError(
                f"optimiser {name} has a rate of its own: leave out --learning-rate, or give "
                "--schedule"
            )
        if own:
            given["optimiser"] = import_object(name, "optimiser")
            if not callable(given["optimiser"]):
                raise InputError(
                    f"optimiser {name} is no function: name one that takes a list of parameters"
                )
        return Options(**given | {"schedule": schedule_of(given.get("schedule"))})

    def next_command(self, model: Path, strategy: Strategy, options: Options) -> list[str]:
        """The command that evaluates the weights."""
        data = str(self.validation_data or "DATA")
        if self.data and self.data.endswith(":train"):
            data = self.data.removesuffix("train") + "test"
        argv = ["hauberk", "evaluate", "--model", str(model), "--data", data]
        argv += ["--data-dir", self.data_dir] if self.data_dir is not None else []
        argv += ["--device", self.given["device"]] if "device" in self.given else []
        box = self.given.get("box", (0.0, 1.0))
        argv += ["--box", *map(str, box)] if tuple(box) != (0.0, 1.0) else []
        threats = [str(part) for threat in strategy.threats for part in threat.parts]
        for threat in dict.fromkeys(threats or ["linf:8/255"]):
            argv += ["--threat", threat]
        return [*argv, "--out", str(Path(str(options.out), "evaluation"))]


def require_new(out: str | None, resume: bool) -> None:
    """Refuse a folder that cannot take the weights.

    Raises:
        InputError: for none, a file, and one that holds a run that is not to be resumed.
    """
    if not out:
        raise InputError("no folder for the weights: give --out, e.g. --out runs/net")
    if Path(out).is_file():
        raise InputError(f"{out} is a file: give another --out, a folder for the run")
    if Path(out, "config.json").exists() and not resume:
        raise InputError(
            f"{out} already holds a run: give another --out, or --resume to continue it"
        )


def costs(
    model: nn.Module, data: Dataset, strategy: Strategy, options: Options
) -> tuple[str, list[Cost]]:
    """What a training is of, in words, and what its epochs cost.

    The time is that of the second of two minibatches, the passes those of many small ones: a
    strategy may draw a threat for each.
    """
    held, n = options.validation, len(data)
    watched = held
    if isinstance(held, int):
        if held >= n:
            raise InputError(f"--validation {held} leaves no example of {n}: give fewer")
        watched, data = _part(data, 0, held), _part(data, held, n)
    assert isinstance(watched, Dataset)
    few = _part(watched, 0, options.minibatch)
    full: Any = strategy
    if "grow" in {f.name for f in fields(full)}:
        full = replace(full, grow=0.0)  # the threats at their full size, as they will be
    alone = replace(options, devices=1, nodes=1, out=None, resume=False, patience=None)
    ends: list[float] = []
    two = replace(
        alone, epochs=2, validation=few if len(few) else 0,
        on_epoch=lambda record: ends.append(time.monotonic()),
    )  # fmt: skip
    record = fit(model, _part(data, 0, options.minibatch), full, **vars(two)).history[1]
    spent = (ends[1] - ends[0] - record["seconds_validation"]) / max(1, passes_of(record))
    processes = options.devices * options.nodes
    many = _part(data, 0, 64)
    small = replace(
        alone, epochs=1, minibatch=max(2, processes), validation=0, select="last"
    )  # fmt: skip
    passes = passes_of(fit(model, many, full, **vars(small)).history[0]) / len(many)
    # From the passes: the model at hand is wrong on most, and what is wrong is not attacked.
    parts = [part for threat in strategy.threats for part in threat.parts]
    judged = most_passes(parts, options.validate_steps, options.select)
    training, validating = spent * passes * len(data), spent * judged * len(watched)
    return (
        f"{len(data)} examples in {minibatches(len(data), options.minibatch)} minibatches, "
        f"{len(watched)} to validate on",
        [
            Cost(training, f"{passes:.4g}", "an epoch"),
            Cost(validating, name="validation after it", note=" at most"),
            Cost((training + validating) * options.epochs, name=f"{options.epochs} epochs",
                 note=" in one process" if processes > 1 else ""),
        ],
    )  # fmt: skip


def schedule_of(given: str | list[Any] | None) -> Any:
    """Pairs, or the kind of the steps and pairs; from text, or as YAML has it.

    Example:
        >>> schedule_of("0:0,6:1e-3,15:0")
        [[0, 0], [6, 0.001], [15, 0]]
    """
    if given is None:
        return None
    if isinstance(given, str):
        kind, _, pairs = given.strip().rpartition(" ")
        points = [[as_number(n) for n in pair.split(":")] for pair in pairs.split(",")]
        return (kind.strip(), points) if kind.strip() else points
    if len(given) == 2 and isinstance(given[0], str):
        return given[0], given[1]
    return [[as_number(n) for n in pair] if isinstance(pair, list) else pair for pair in given]


def _part(data: Dataset, start: int, many: int) -> Dataset:
    some = slice(start, start + many)
    return replace(data, images=data.images[some], labels=data.labels[some], ids=data.ids[some])


def _hush() -> None:
    """Keep fabric from writing to stderr how it starts."""
    import lightning_fabric  # noqa: F401  # it sets the level when it is imported

    logging.getLogger("lightning_fabric").setLevel(logging.WARNING)
