"""``hauberk minmax``."""

from collections.abc import Iterator
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hauberk.cli.dry_run import Cost, print_costs, tried
from hauberk.cli.files import leave, write_csv
from hauberk.cli.load import load_data, load_named, named_models, recorded, require_out
from hauberk.cli.options import DataOptions, DeviceOptions, LedgerOptions, ModelsOptions, option
from hauberk.errors import InputError
from hauberk.spec.numbers import number

if TYPE_CHECKING:
    from torch import nn

    from hauberk.attacks import Attack
    from hauberk.data import Dataset
    from hauberk.evaluation.minmax.result import MinMaxResult
    from hauberk.threats import Threat
    from hauberk.transforms import Transform


@dataclass(frozen=True, kw_only=True)
class MinmaxCommand(LedgerOptions, DeviceOptions, DataOptions, ModelsOptions):
    """Fool several models or transformations by one perturbation."""

    threat: list[str] = option([], "linf:8/255, l2:0.5, ...; repeat for one point in each")
    transform: list[str] = option([], "rot:30, flh, wang2021:stochastic, ...; repeat")
    group: int | None = option(None, "images that share a perturbation")
    by_class: bool = option(False, "groups of one class each")
    gamma: float | str = option("3", "pull towards equal weights, 0 to inf")
    beta: float | str = option("1/50", "step of the weights, 0 to inf")
    attack: str | None = option(None, "pgd, apgd, momentum or msd; chosen if left out")
    steps: int = option(50, "steps of the attack")
    step_size: float | str | None = option(None, "in the threat's unit: 0.01, 2/255")
    rule: str | None = option(None, "steepest or gradient")
    loss: str = option("cw", "cw, margin, ce, ... of each domain")
    random_start: bool | None = option(None, "true or false; the attack's own")
    draws: int = option(1, "passes for a random transform")
    judge_draws: int = option(10, "fresh draws that decide")
    all_steps: bool = option(False, "every example costs the same: none leaves early")

    def run(self) -> int:
        from hauberk.evaluation.minmax.minmax import minmax
        from hauberk.report.progress import shown
        from hauberk.report.tables.minmax import print_table

        # What costs nothing to find out comes before the models are loaded.
        named = named_models(self)
        attack = self.chosen_attack()
        threat = self.whole_threat(attack)
        gamma, beta = self.weighing()
        self.require_numbers()
        transforms = transforms_of(self.transform)
        data = load_data(self)
        models = [load_named(each, self) for each in named]
        if self.dry_run:
            return self.print_cost(models, data, threat, transforms, attack)
        with shown() as progress:
            found = minmax(
                dict(zip(self.name, models, strict=True)) if self.name else models,
                data.images, data.labels, threat, transforms=transforms, group=self.group,
                by_class=self.by_class, gamma=gamma, beta=beta, attack=attack, draws=self.draws,
                judge_draws=self.judge_draws, stop=False if self.all_steps else None,
                box=self.box, seed=self.seed, ids=data.ids, batch_size=self.batch_size,
                out=self.out, resume=self.resume, progress=progress,
                manifest=recorded(named, self),
            )  # fmt: skip
        print_table(found.summary)
        leave(self.out, lambda folder: _write(folder, found))
        return 0

    def chosen_attack(self) -> "Attack":
        """The attack that the options name; without a word about it, that of ``hb.minmax``."""
        from hauberk.attacks import APGD, PGD, MomentumIterative, MultiSteepestDescent
        from hauberk.evaluation.minmax.minmax import default_attack

        kinds: dict[str, type[Attack]] = {
            "pgd": PGD, "apgd": APGD, "momentum": MomentumIterative, "msd": MultiSteepestDescent,
        }  # fmt: skip
        given: dict[str, Any] = {
            "step_size": None if self.step_size is None else number_of("step_size", self.step_size),
            "rule": self.rule,
            "random_start": self.random_start,
        }
        given = {name: value for name, value in given.items() if value is not None}
        if self.attack is None and not given:
            return default_attack(len(self.threat) > 1, self.loss, self.steps)
        kind = kinds.get(self.attack or "pgd")
        if kind is None:
            raise InputError(f"unknown attack '{self.attack}': choose one of {', '.join(kinds)}")
        for name in given.keys() - {field.name for field in fields(kind)}:
            raise InputError(
                f"the attack {self.attack} has no --{name.replace('_', '-')}: leave it out, or "
                "choose --attack pgd"
            )
        return kind(loss=self.loss, steps=self.steps, **given)

    def whole_threat(self, attack: "Attack") -> "Threat":
        """The threat, checked against attack and groups."""
        from hauberk.attacks import MultiSteepestDescent
        from hauberk.threats import Union, Whole, threat
        from hauberk.threats.ball import Ball
        from hauberk.threats.each import Each
        from hauberk.threats.shared import Shared

        if not self.threat:
            raise InputError("no threat: give at least one, e.g. --threat linf:0.2")
        whole = Union(*(threat(text) for text in self.threat))
        parts = whole.parts
        if self.group is not None:
            if len(parts) > 1 or isinstance(attack, MultiSteepestDescent):
                raise InputError(
                    "a group shares one perturbation in one lp ball: give one --threat and another "
                    "attack than msd, or leave --group out"
                )
            Shared(parts[0])
        elif isinstance(attack, MultiSteepestDescent):
            for part in parts:
                if not isinstance(part, Ball):
                    raise InputError(f"--attack msd walks through lp balls, and {part} is none")
            return Whole(whole) if len(parts) > 1 else parts[0]
        elif len(parts) > 1:
            Each(*parts)
        return whole if len(parts) > 1 else parts[0]

    def weighing(self) -> tuple[float, float]:
        """Gamma and beta."""
        from hauberk.objectives.minmax import MinMax

        gamma, beta = number_of("gamma", self.gamma), number_of("beta", self.beta)
        MinMax(gamma=gamma, beta=beta)
        return gamma, beta

    def require_numbers(self) -> None:
        """Refuse numbers of draws and images, and boxes, that cannot work."""
        from hauberk.threats import Box

        require_out(self.resume, self.out)
        for name in ("draws", "judge_draws", "group"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise InputError(f"--{name.replace('_', '-')} is {value}: give 1 or more")
        if self.by_class and self.group is None:
            raise InputError("--by-class makes groups of one class: say how large with --group")
        Box.of(self.box)

    def print_cost(
        self, models: "list[nn.Module]", data: "Dataset", threat: "Threat",
        transforms: "list[Transform]", attack: "Attack",
    ) -> int:  # fmt: skip
        """The dry run: the attack's passes through every domain, for both objectives."""
        from hauberk.attacks import MultiSteepestDescent
        from hauberk.evaluation.minmax.groups import groups
        from hauberk.objectives.domains import product
        from hauberk.transforms import check

        balls = len(threat.parts)
        if isinstance(attack, MultiSteepestDescent):
            balls = 1
        names = self.name or [type(model).__name__ for model in models]
        classes: list[int] = []
        passes, seconds, n = 0, 0.0, len(data.images)
        for model in models:
            trial = tried(model, data, self.box, self.seed, self.batch_size)
            for transform in transforms if model is models[0] else ():
                check(transform, trial.x[:2])
            if self.group is not None:
                n = groups(trial.y, self.group, self.by_class).numel()
            domains = product([trial.victim], transforms, self.draws) if transforms else []
            samples = sum(domain.draws for domain in domains) or 1
            own = samples * balls * attack.passes_on(threat) * trial.victim.draws
            passes, seconds = passes + own, seconds + own * trial.seconds * n
            classes.append(trial.classes)
        if len(set(classes)) > 1:
            each = ", ".join(f"{name} {count}" for name, count in zip(names, classes, strict=True))
            raise InputError(
                f"the models differ in their number of classes ({each}): choose others"
            )
        many = len(models) * max(1, len(transforms)) * balls
        whole = self.all_steps or any(transform.random for transform in transforms)
        note = "" if whole else "; examples that are fooled leave early"
        return print_costs(
            f"{n} examples, {many} domains ({', '.join(names)}), {type(attack).__name__} under "
            f"{threat}",
            [Cost(seconds, f"at most {passes}", side, note) for side in ("average", "minmax")],
        )


def number_of(name: str, given: float | str) -> float:
    """A number, a fraction or inf.

    Raises:
        InputError: for anything else.
    """
    found = number(str(given))
    if found is None:
        raise InputError(f"{name} is '{given}': give a number or a fraction, e.g. 0.02 or 1/50")
    return found


def transforms_of(texts: list[str]) -> "list[Transform]":
    """The transforms, of which a word may name several.

    Raises:
        InputError: for what is no transform, and for one that is named twice.
    """
    from hauberk.transforms import transform, wang2021

    made: list[Transform] = []
    for text in texts:
        word, _, kind = text.strip().lower().partition(":")
        if word == "wang2021":
            made += wang2021(kind)  # type: ignore[arg-type]  # refuses other kinds itself
        else:
            made.append(transform(text))
    names = [str(one) for one in made]
    for name in names:
        if names.count(name) > 1:
            raise InputError(f"transform {name} is named twice: name each once")
    return made


def _write(folder: Path, found: "MinMaxResult") -> Iterator[Path]:
    """``weights.csv`` and the pictures."""
    from hauberk.report.plots import minmax as plots

    side, summary = found.minmax, found.summary
    names, members = list(side.names), side.members
    # K = domains * members of a group: a domain has the weight of all its members.
    slots = len(side.weights)
    weights = side.weights.view(slots, -1, members).sum(2)
    path = side.path.view(slots, side.path.shape[1], -1, members).sum(3)
    wrong = side.wrong.double().mean(0).view(slots, -1, members).mean(2)
    yield write_csv(
        folder / "weights.csv",
        ["id", *(f"weight {name}" for name in names), *(f"wrong {name}" for name in names)],
        (
            [id_, *map(repr, own), *map(repr, fooled)]
            for id_, own, fooled in zip(
                side.rows["id"].tolist(), weights.tolist(), wrong.tolist(), strict=True
            )
        ),
    )
    accuracy = {"clean": summary["clean_accuracy"]}
    accuracy |= {name: each.accuracy for name, each in found.items()}
    strong = summary["threat"].startswith("each")  # then weights go to the largest loss
    title = "hardest domain: the one that breaks most" if strong else ""
    yield plots.weight_paths(path, names, folder / "weights.png")
    yield plots.binding(summary["binding_by_class"], folder / "binding.png", title)
    yield plots.accuracies(accuracy, folder / "accuracy.png")
