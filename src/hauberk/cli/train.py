"""``hauberk train``."""

import os
import sys
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, get_type_hints

from hauberk.cli.dry_run import Cost, print_costs
from hauberk.cli.load import NO_DATA, NamedModel, named_model, recorded, unknown_device
from hauberk.cli.options import DataOptions, Declared, DryRunOption, ModelOptions, option
from hauberk.cli.strategy import NAMES, strategy_of
from hauberk.cli.train_report import epoch_lines, print_trained
from hauberk.errors import InputError, TrainingError
from hauberk.spec.imports import import_object
from hauberk.spec.numbers import as_number
from hauberk.train.settings import Options, command_line_fields, described

if TYPE_CHECKING:
    from torch import nn

    from hauberk.data import Dataset
    from hauberk.train import Strategy, Trained

PROCESSES = ("devices", "nodes", "out", "resume", "every_minutes")
"""Keywords of ``fit`` that a dry run leaves out: it is one process, and writes nothing."""


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
        own = {name: value for name, value in values.items() if name in cls.__dataclass_fields__}
        given = {
            name: value
            for name, value in values.items()
            if name not in own and value is not None and value != []
        }
        return cls(argv=argv, given=given, **own)

    def setting(self, name: str) -> Any:
        """An option of ``fit`` as given, or its default."""
        return self.given.get(name, command_line_fields()[name].default)

    def run(self) -> int:
        from hauberk.train.loop.launch import ERRORS, leave

        try:
            return self._run()
        except (InputError, TrainingError) as error:
            if not leave(error):
                raise
            return 1
        except KeyboardInterrupt:
            if ERRORS not in os.environ:
                raise
            return 1

    def _run(self) -> int:
        from hauberk.report.progress import shown
        from hauberk.store.files import put, to_json
        from hauberk.train.loop.launch import end_together, is_begun, launch

        # What costs nothing to find out comes before model and data are loaded.
        named = self.checked()
        strategy = strategy_of(self.strategy, self.threat, self.set, self.d_max)
        keywords = self.keywords()
        processes = self.setting("devices") * self.setting("nodes")
        if is_begun():
            end_together()
            _hush()
        elif processes > 1 and not self.dry_run:
            arguments = ["-m", "hauberk", *self.argv]
            return launch(arguments, self.setting("devices"), self.setting("nodes"))
        model, data, held = self.load(named)
        if self.dry_run:
            return self.print_cost(model, data, held, strategy, keywords)
        facts = recorded(named, self)
        # Lines for people must not disturb the progress; a pipe gets them.
        stream = None if sys.stdout.isatty() else sys.stdout
        with shown() as progress:
            found = _fit(
                model, data, strategy, **keywords | {"validation": held}, progress=progress,
                model_spec=named.spec,
                on_epoch=epoch_lines(
                    keywords["epochs"], lambda line: print(line, file=stream, flush=True)
                ),
            )  # fmt: skip
        if not is_begun() or os.environ.get("RANK", "0") == "0":
            put(Path(self.setting("out"), "command.json"), to_json(facts))
            print_trained(found, self.next_command(found, strategy), self.setting("out"))
        return 0

    def checked(self) -> NamedModel:
        """The model's name; refuses what can be refused without model and data."""
        import torch

        named = named_model(self.model, self.weights)
        if not self.data:
            raise InputError(NO_DATA.replace(":test", ":train"))
        if "epochs" not in self.given:
            raise InputError("no epochs: say how many, e.g. --epochs 10")
        for name in ("devices", "nodes"):
            if self.setting(name) < 1:
                raise InputError(f"--{name} is {self.setting(name)}: give 1 or more")
        if self.setting("validation") < 0:
            raise InputError(
                f"--validation is {self.setting('validation')}: give 0 or more examples"
            )
        every = self.setting("every_minutes")
        if not every > 0:
            raise InputError(f"--every-minutes is {every}: give more than 0")
        if abs(self.setting("seed")) >= 2**63:
            raise InputError(f"--seed is {self.setting('seed')}: give a number below 2 to the 63rd")
        select, patience = self.given.get("select"), self.given.get("patience")
        held = self.setting("validation") or self.validation_data
        if not held and (patience or select in ("union", "clean", "margin")):
            word = "--patience" if patience else f"--select {select}"
            raise InputError(
                f"{word} needs examples to validate on: give --validation 500 or the like"
            )
        try:
            _ = torch.device(self.setting("device") or "cpu")
        except RuntimeError:
            raise InputError(unknown_device(self.setting("device"))) from None
        self._require_out()
        return named

    def _require_out(self) -> None:
        out = self.setting("out")
        if self.dry_run:
            return
        if not out:
            raise InputError("no folder for the weights: give --out, e.g. --out runs/net")
        if Path(out).is_file():
            raise InputError(f"{out} is a file: give another --out, a folder for the run")
        if Path(out, "config.json").exists() and not self.setting("resume"):
            raise InputError(
                f"{out} already holds a run: give another --out, or --resume to continue it"
            )

    def keywords(self) -> dict[str, Any]:
        """The keywords of ``fit`` that were given, checked; the others keep its defaults."""
        name: str = self.setting("optimiser")
        own = ":" in name
        if (own or name == "adam") and ("momentum" in self.given or self.given.get("nesterov")):
            raise InputError("--momentum and --nesterov are for --optimiser sgd: leave them out")
        if own and "weight_decay" in self.given:
            raise InputError(
                f"optimiser {name} has a weight decay of its own: leave out --weight-decay"
            )
        if own and "learning_rate" in self.given:
            raise InputError(
                f"optimiser {name} has a rate of its own: leave out --learning-rate, or give "
                "--schedule"
            )
        found = dict(self.given)
        found["optimiser"] = import_object(name, "optimiser") if own else name
        if own and not callable(found["optimiser"]):
            raise InputError(
                f"optimiser {name} is no function: name one that takes a list of parameters"
            )
        found["schedule"] = schedule_of(self.given.get("schedule"))
        Options(**{key: value for key, value in found.items() if key not in PROCESSES})
        return found

    def load(self, named: NamedModel) -> "tuple[nn.Module, Dataset, int | Dataset]":
        """The model, the training data, and the examples to validate on."""
        import torch

        from hauberk.data import load_data
        from hauberk.models.loading import load_model

        assert self.data is not None
        data = load_data(self.data, self.data_dir, limit=self.limit, offset=self.offset)
        held: int | Dataset = self.setting("validation")
        if self.validation_data:
            limit = self.setting("validation") or None
            held = load_data(self.validation_data, self.data_dir, limit=limit)
        # The weights that training begins from depend on the seed too.
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.setting("seed"))
            model = load_model(named.spec, named.weights)
        return model, data, held

    def next_command(self, found: "Trained", strategy: "Strategy") -> list[str]:
        """The command that evaluates the weights."""
        assert self.data is not None
        data = str(self.validation_data or "DATA")
        if self.data.endswith(":train"):
            data = self.data.removesuffix("train") + "test"
        argv = ["hauberk", "evaluate", "--model", str(found.paths["model"]), "--data", data]
        argv += ["--data-dir", self.data_dir] if self.data_dir is not None else []
        argv += ["--device", self.given["device"]] if "device" in self.given else []
        box = [float(bound) for bound in self.setting("box")]
        argv += ["--box", *map(str, box)] if box != [0.0, 1.0] else []
        threats = [str(part) for threat in strategy.threats for part in threat.parts]
        for threat in dict.fromkeys(threats or ["linf:8/255"]):
            argv += ["--threat", threat]
        return [*argv, "--out", str(Path(self.setting("out"), "evaluation"))]

    def print_cost(
        self, model: "nn.Module", data: "Dataset", held: "int | Dataset", strategy: "Strategy",
        keywords: dict[str, Any],
    ) -> int:  # fmt: skip
        """The dry run: the cost of an epoch.

        The time is that of the second of two minibatches, the passes those of many small ones: a
        strategy may draw a threat for each.
        """
        from hauberk.train.loop.loader import minibatches
        from hauberk.train.loop.validation import most_passes

        kept = {name: value for name, value in keywords.items() if name not in PROCESSES}
        settings = Options(**kept)
        first = held if isinstance(held, int) else 0
        if first >= len(data):
            raise InputError(f"--validation {first} leaves no example of {len(data)}: give fewer")
        watched = _part(data, 0, first) if isinstance(held, int) else held
        few = _part(watched, 0, settings.minibatch)
        full: Any = strategy
        if "grow" in {f.name for f in fields(full)}:
            full = replace(full, grow=0.0)  # the threats at their full size, as they will be
        ends: list[float] = []
        found = _fit(
            model, _part(data, first, settings.minibatch), full,
            **kept | {"epochs": 2, "patience": None, "validation": few if len(few) else 0},
            on_epoch=lambda record: ends.append(time.monotonic()),
        )  # fmt: skip
        record = found.history[1]
        spent = (ends[1] - ends[0] - record["seconds_validation"]) / max(1, _passes(record))
        processes = self.setting("devices") * self.setting("nodes")
        many, n = _part(data, first, 64), len(data) - first
        small = {"epochs": 1, "minibatch": max(2, processes), "patience": None, "validation": 0}
        passes = _passes(_fit(model, many, full, **kept | small).history[0]) / len(many)
        # From the passes: the model at hand is wrong on most, and what is wrong is not attacked.
        parts = [part for threat in strategy.threats for part in threat.parts]
        judged = most_passes(parts, settings.validate_steps, settings.select)
        training, validating = spent * passes * n, spent * judged * len(watched)
        whole = (training + validating) * settings.epochs
        return print_costs(
            f"{n} examples in {minibatches(n, settings.minibatch)} minibatches, {len(watched)} to "
            "validate on",
            [
                Cost(training, f"{passes:.4g}", "an epoch"),
                Cost(validating, name="validation after it", note=" at most"),
                Cost(whole, name=f"{settings.epochs} epochs",
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


def _fit(
    model: "nn.Module", data: "Dataset", strategy: "Strategy", **keywords: Any
) -> "Trained":  # fmt: skip
    from hauberk.train import fit

    try:
        return fit(model, data, strategy, **keywords)
    except TrainingError as error:
        raise TrainingError(str(error).replace("clip=1.0", "--clip 1"), error.ids) from error


def _part(data: "Dataset", start: int, many: int) -> "Dataset":
    from hauberk.data import Dataset

    some = slice(start, start + many)
    return Dataset(data.images[some], data.labels[some], data.ids[some], data.name, data.classes)


def _passes(record: Mapping[str, Any]) -> int:
    passes: int = record["forwards"] + record["backwards"]
    return passes


def _hush() -> None:
    """Keep fabric from writing to stderr how it starts."""
    import logging

    import lightning_fabric  # noqa: F401  # it sets the level when it is imported

    logging.getLogger("lightning_fabric").setLevel(logging.WARNING)
