"""``hauberk minmax``."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from hauberk.cli.dry_run import Cost, Trial
from hauberk.cli.files import write_csv
from hauberk.cli.load import NamedModel, load_models, named_models, threat_of
from hauberk.cli.options import ModelsOptions, option
from hauberk.cli.run import RunCommand
from hauberk.errors import InputError
from hauberk.spec.build import require_known

if TYPE_CHECKING:
    from hauberk.attacks import Attack
    from hauberk.evaluation.core.prepare import Model
    from hauberk.evaluation.minmax.question import OnePerturbation
    from hauberk.evaluation.minmax.result import MinMaxResult
    from hauberk.transforms import Transform

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class MinmaxCommand(RunCommand, ModelsOptions):
    """Fool several models or transformations by one perturbation."""

    shown_by = "minmax"

    threat: list[str] = option([], "linf:8/255, l2:0.5, ...; repeat for one point in each")
    transform: list[str] = option([], "rot:30, flh, wang2021:stochastic, ...; repeat")
    group: int | None = option(None, "images that share a perturbation")
    by_class: bool = option(False, "groups of one class each")
    gamma: float = option(3, "pull towards equal weights, 0 to inf")
    beta: float = option(1 / 50, "step of the weights, 0 to inf")
    attack: str | None = option(None, "pgd, apgd, momentum or msd; chosen if left out")
    steps: int = option(50, "steps of the attack")
    step_size: float | None = option(None, "in the threat's unit: 0.01, 2/255")
    rule: str | None = option(None, "steepest or gradient")
    loss: str = option("cw", "cw, margin, ce, ... of each domain")
    random_start: bool | None = option(None, "true or false; the attack's own")
    draws: int = option(1, "passes for a random transform")
    judge_draws: int = option(10, "fresh draws that decide")
    all_steps: bool = option(False, "every example costs the same: none leaves early")

    def question(self) -> "OnePerturbation":
        from hauberk.evaluation.minmax.question import OnePerturbation

        return OnePerturbation(
            threat_of(self.threat), self.chosen_attack(), transforms_of(self.transform),
            group=self.group, by_class=self.by_class, gamma=self.gamma, beta=self.beta,
            draws=self.draws, judge_draws=self.judge_draws, stop=False if self.all_steps else None,
        )  # fmt: skip

    def chosen_attack(self) -> "Attack[Any]":
        """The attack that the options name; without a word about it, that of ``hb.minmax``."""
        from hauberk.attacks import APGD, PGD, MomentumIterative, MultiSteepestDescent
        from hauberk.evaluation.minmax.minmax import default_attack

        kinds: dict[str, type[Attack[Any]]] = {
            "pgd": PGD, "apgd": APGD, "momentum": MomentumIterative, "msd": MultiSteepestDescent,
        }  # fmt: skip
        own = {name: getattr(self, name) for name in ("step_size", "rule", "random_start")}
        given = {name: value for name, value in own.items() if value is not None}
        if self.attack is None and not given:
            return default_attack(len(self.threat) > 1, self.loss, self.steps)
        name = self.attack or "pgd"
        if name not in kinds:
            raise InputError(f"unknown attack '{name}': choose one of {', '.join(kinds)}")
        settings = [field.name for field in fields(kinds[name])]
        require_known(f"the attack {name}", given, settings, noun="option")
        return kinds[name](loss=self.loss, steps=self.steps, **given)

    def named(self) -> list[NamedModel]:
        return named_models(self)

    def models(self) -> "Mapping[str, Model]":
        from hauberk.evaluation.minmax.minmax import named_models as with_names

        return with_names(load_models(self, self), self.box)

    def costs(self, trial: Trial) -> tuple[str, list[Cost]]:
        question, models = trial.question, trial.setting.victims
        points = len(question.members) or 1
        looks = sum(domain.draws for domain in question.every) // len(models)
        passes = looks * points * question.attack.passes_on(question.threat)
        what = (
            f"{trial.n} examples, {len(question.every) * points} domains ({', '.join(models)}), "
            f"{type(question.attack).__name__} under {question.threat}"
        )
        note = "; examples that are fooled leave early" if question.stop else ""
        return what, [trial.cost(passes, side, note) for side in question.objectives]

    def files(self, folder: Path, found: "MinMaxResult") -> Iterator[Path]:
        """``weights.csv`` and the pictures."""
        from hauberk.report.plots import minmax as plots

        side, summary = found.minmax, found.summary
        names, members = list(side.names), side.members
        # K = domains * members of a group: a domain has the weight of all its members.
        slots = len(side.weights)
        weights = side.weights.view(slots, -1, members).sum(2).tolist()
        path = side.path.view(slots, side.path.shape[1], -1, members).sum(3)
        wrong = side.wrong.double().mean(0).view(slots, -1, members).mean(2).tolist()
        yield write_csv(
            folder / "weights.csv",
            ["id", *(f"weight {name}" for name in names), *(f"wrong {name}" for name in names)],
            (
                [id_, *map(repr, own), *map(repr, fooled)]
                for id_, own, fooled in zip(side.rows["id"].tolist(), weights, wrong, strict=True)
            ),
        )
        accuracy = {"clean": summary["clean_accuracy"]}
        accuracy |= {name: each.accuracy for name, each in found.items()}
        strong = summary["threat"].startswith("each")  # then weights go to the largest loss
        title = "hardest domain: the one that breaks most" if strong else ""
        yield plots.weight_paths(path, names, folder / "weights.png")
        manifest = {} if found.store is None else found.store.manifest
        shares = named_classes(summary["binding_by_class"], manifest)
        yield plots.binding(shares, folder / "binding.png", title)
        yield plots.accuracies(accuracy, folder / "accuracy.png")


def named_classes(shares: Mapping[Any, T], manifest: Mapping[str, Any]) -> dict[Any, T]:
    """What is known by class, by the names of the classes where the run has them.

    Example:
        >>> named_classes({"1": 0.5, "7": 0.0}, {"class_names": ["ant", "bee"]})
        {'bee': 0.5, '7': 0.0}
    """
    names = manifest.get("class_names") or []
    return {names[int(k)] if int(k) < len(names) else k: value for k, value in shares.items()}


def transforms_of(texts: list[str]) -> "list[Transform]":
    """The transforms, of which a word may name several.

    Raises:
        InputError: for what is no transform, and for one that is named twice.
    """
    from hauberk.transforms import transform, wang2021

    made: list[Transform] = []
    for text in texts:
        word, _, kind = text.strip().lower().partition(":")
        made += wang2021(kind) if word == "wang2021" else [transform(text)]  # type: ignore[arg-type]
    names = [str(one) for one in made]
    for name in names:
        if names.count(name) > 1:
            raise InputError(f"transform {name} is named twice: name each once")
    return made
