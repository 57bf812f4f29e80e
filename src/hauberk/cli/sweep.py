"""``hauberk sweep``."""

import re
from contextlib import redirect_stdout
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hauberk.__about__ import __version__
from hauberk.cli.files import write_csv, write_json
from hauberk.cli.load import load_data, load_named, named_model, threat_of
from hauberk.cli.options import DataOptions, DeviceOptions, FormatOption, OutOptions, option
from hauberk.cli.parsing import parse
from hauberk.cli.train import TrainCommand
from hauberk.errors import InputError
from hauberk.spec.numbers import number_in
from hauberk.spec.variants import Variant, concerning, setting, variants, without_one

if TYPE_CHECKING:
    from hauberk.analysis.sweep import Sweep, SweptModel
    from hauberk.data import Dataset
    from hauberk.evaluation.accuracy.suites import Suite


@dataclass(frozen=True)
class Training:
    """One of the trainings: the recipe that it is a variant of, and its folder."""

    recipe: Path
    variant: Variant
    folder: Path
    threads: int | None = None

    @property
    def command(self) -> TrainCommand:
        """The training; refuses what ``hauberk train`` refuses."""
        begun = ["--resume"] if (self.folder / "run" / "config.json").exists() else []
        file = self.folder / "recipe.yaml"
        words = ["--config", str(file), "--out", str(self.folder / "run"), *begun]
        words += [] if self.threads is None else ["--threads", str(self.threads)]
        return parse(TrainCommand, "train", "train", words)


@dataclass(frozen=True, kw_only=True)
class SweepCommand(FormatOption, OutOptions, DeviceOptions, DataOptions):
    """Train recipes in several variants, evaluate each, and compare the strategies."""

    recipe: list[str] = option([], "YAML file of hauberk train; repeat")
    vary: list[str] = option(
        [], "a setting and its values, strategy.step_l2=0.05,0.1: every combination; repeat"
    )
    set: list[str] = option([], "a setting of all trainings, epochs=2 or strategy.steps=10; repeat")
    without_one: bool = option(False, "also without each threat of a recipe in turn")
    threat: list[str] = option(
        [], "what to evaluate under; the recipe's threats if left out; repeat"
    )
    suite: str = option("standard", "a name or a .yaml file, to evaluate by")
    threshold: list[str] = option([], "accuracies of the table, such as 0.5; repeat")
    resume: bool = option(False, "continue the trainings in --out")
    list_trainings: bool = option(False, "print the trainings and stop")

    def run(self) -> int:
        from hauberk.evaluation.accuracy.reading import suite_of

        thresholds = [number_in(text, f"--threshold {text}") for text in self.threshold]
        self.require_format()
        if not self.out and not self.list_trainings:
            raise InputError("no folder for the models: give --out, e.g. --out runs/sweep")
        if self.out and not self.resume and any(Path(self.out).glob("*/recipe.yaml")):
            raise InputError(f"{self.out} already holds trainings: give another --out, or --resume")
        suite, trainings = suite_of(self.suite), self.trainings()
        if self.list_trainings:
            for training in trainings:
                print(training.recipe.stem, training.variant.label)
            return 0
        data = load_data(self)
        self.prepare(trainings)
        found = []
        for number, training in enumerate(trainings, start=1):
            found.append(self.model(training, data, suite))
            union = found[-1].accuracy["union"]
            label = f"{training.recipe.stem} {training.variant.label}".strip()
            print(f"[{number}/{len(trainings)}] {label}: union {100 * union:.1f}%", flush=True)
        folders = [training.folder.name for training in trainings]
        self.leave(found, folders, thresholds or [0.3, 0.4, 0.5, 0.6])
        return 0

    def trainings(self) -> list[Training]:
        """All of them; refuses files that cannot be read and settings that cannot be varied."""
        if not self.recipe:
            raise InputError("no recipe: give --recipe, a YAML file of hauberk train")
        files = [Path(name).expanduser() for name in self.recipe]
        if len({file.stem for file in files}) < len(files):
            raise InputError("two recipes have the same name: rename one of the files")
        changes = dict(map(setting, self.set))
        if several := [path for path, values in changes.items() if len(values) > 1]:
            raise InputError(f"--set {several[0]} has several values: give them to --vary")
        recipes = [_read(file) for file in files]
        fixed = concerning(changes, recipes)
        recipes = [dict(variants(r, f)[0].options) for r, f in zip(recipes, fixed, strict=True)]
        varied = concerning(dict(map(setting, self.vary)), recipes)
        made = []
        for file, recipe, vary in zip(files, recipes, varied, strict=True):
            for variant in variants(recipe, vary):
                for one in without_one(variant) if self.without_one else [variant]:
                    name = re.sub(r"[^\w.=-]+", "-", f"{file.stem} {one.label}".strip())
                    made.append(Training(file, one, Path(self.out or "", name), self.threads))
        return made

    def prepare(self, trainings: list[Training]) -> None:
        """Write each recipe, and refuse what cannot be trained before the first is.

        Raises:
            InputError: also where a folder holds another training.
        """
        import yaml

        for training in trainings:
            options = {k: v for k, v in training.variant.options.items() if k != "out"}
            if self.data_dir:
                options["data_dir"] = self.data_dir
            text, file = yaml.safe_dump(options, sort_keys=False), training.folder / "recipe.yaml"
            if file.exists() and file.read_text(encoding="utf-8") != text:
                raise InputError(f"{training.folder} holds another training: give another --out")
            training.folder.mkdir(parents=True, exist_ok=True)
            file.write_text(text, encoding="utf-8")
            training.command.checked()

    def model(self, training: Training, data: "Dataset", suite: "Suite") -> "SweptModel":
        """Train a variant and evaluate it, or read what is there of either."""
        from hauberk.analysis.sweep import SweptModel
        from hauberk.engine.method import Kind
        from hauberk.evaluation import evaluate
        from hauberk.threats.base import Box

        run = training.folder / "run"
        if not (run / "summary.json").exists():
            with redirect_stdout(StringIO()):
                training.command.run()
        threats = threat_of(self.threat or training.variant.options["threat"])
        judged = training.folder / "evaluation"
        box = Box.of(training.variant.options.get("box", (0.0, 1.0)))
        if not box.is_unit:  # bytes are spread over it
            data = load_data(self, box)
        found = evaluate(
            load_named(named_model(str(run), None), self), data.images, data.labels, threats,
            suite=suite, out=judged, resume=judged.exists(), seed=self.seed, ids=data.ids,
            batch_size=self.batch_size, threads=self.threads, box=box,
        )  # fmt: skip
        stages = found.summary["threats"].values()
        kinds = {name: stage.attack.kind for name, stage in suite.stages.items()}
        run_ = {name for threat in stages for name in threat["attacks"]}
        gradient = [name for name in run_ if kinds[name] == Kind.GRADIENT]
        accuracy = {
            "clean": found.clean_accuracy, **found.accuracy, "union": found.union_accuracy,
            "union, gradients alone": float(found.robust(attacks=gradient).double().mean()),
        }  # fmt: skip
        group = training.recipe.stem
        return SweptModel(group, dict(training.variant.settings), accuracy, len(data.labels))

    def leave(
        self, models: "list[SweptModel]", folders: list[str], thresholds: list[float]
    ) -> None:
        """Print the table, and write ``summary.json``, ``sweep.csv`` and the picture."""
        from hauberk.analysis.sweep import Sweep
        from hauberk.report.plots.sweep import shares_above
        from hauberk.report.tables.sweep import table

        sweep, folder = Sweep(models), Path(self.out or "")
        above = sweep.above(thresholds)
        facts = {"hauberk_version": __version__, "suite": self.suite, "seed": self.seed}
        shares = {"folders": folders, "thresholds": thresholds, "above": above}
        write_json(folder / "summary.json", {**facts, **sweep.to_dict(), **shares})
        table(sweep.to_dict()["models"], above, thresholds).print()
        header, rows = _lines(sweep)
        panels = {name: sweep.accuracies(name) for name in ("union", "union, gradients alone")}
        print(write_csv(folder / "sweep.csv", header, rows))
        print(shares_above(panels, folder / f"sweep.{self.format}"))


def _read(file: Path) -> dict[str, Any]:
    import yaml

    try:
        found = yaml.safe_load(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise InputError(f"--recipe {file} cannot be read: give a YAML file") from error
    if not isinstance(found, dict) or "strategy" not in found:
        raise InputError(f"--recipe {file} names no strategy: give a file of hauberk train")
    if isinstance(found["strategy"], str):
        found["strategy"] = {"name": found["strategy"]}
    return found


def _lines(sweep: "Sweep") -> tuple[list[str], list[list[object]]]:
    """The header and one line a model."""
    settings = list(dict.fromkeys(name for model in sweep.models for name in model.settings))
    accuracies = list(dict.fromkeys(name for model in sweep.models for name in model.accuracy))
    rows: list[list[object]] = []
    for model in sweep.models:
        cells = [model.settings.get(name, "") for name in settings]
        shares = [model.accuracy.get(name, "") for name in accuracies]
        rows.append([model.group, *cells, *shares, model.n])
    return ["recipe", *settings, *accuracies, "n"], rows
