"""``hauberk transfer``."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hauberk.cli.dry_run import Cost, Trial
from hauberk.cli.files import write_csv
from hauberk.cli.load import NamedModel, load_by_name, named_models
from hauberk.cli.options import FormatOption, ModelsOptions, option
from hauberk.cli.run import RunCommand
from hauberk.cli.settings import attack_of
from hauberk.errors import InputError

if TYPE_CHECKING:
    from hauberk.attacks import Attack
    from hauberk.evaluation.core.prepare import Model
    from hauberk.evaluation.transfer import TransferReports, TransferTable
    from hauberk.evaluation.transfers.presets import Crafting
    from hauberk.threats import Threat

PRESET = "ding2020"


@dataclass(frozen=True, kw_only=True)
class TransferCommand(FormatOption, RunCommand, ModelsOptions):
    """Craft points on every model and try them on all."""

    shown_by = "transfers"

    threat: list[str] = option([], "linf:0.1, linf:0.2, ...; repeat: each has its own accuracies")
    vote: list[str] = option([], "a+b+c: the majority vote of models by their names; repeat")
    preset: str | None = option(
        None, "ding2020: N runs of PGD, half ce, half cw, with the paper's steps"
    )
    runs: int | None = option(None, "runs on each model and threat; 2, or the preset's N")
    attack: str = option("PGD", "the attack of the runs")
    set: list[str] = option([], "setting of the attack: steps=100; repeat")
    loss: list[str] = option(["ce", "cw"], "losses that share the runs; repeat")
    stop: bool = option(False, "a run ends at the first point that fools its own model")
    spsa: int | None = option(None, "also SPSA, a check of the gradients, on so many examples")
    spsa_set: list[str] = option([], "setting of SPSA: samples=256; repeat")

    def question(self) -> "TransferTable":
        from hauberk.evaluation.transfer import TransferTable, cases
        from hauberk.threats import threat

        if not self.threat:
            raise InputError("no threat: give at least one, e.g. --threat linf:0.1")
        self.require_format()
        if self.spsa is not None and self.spsa < 1:
            raise InputError(f"--spsa is {self.spsa}: give 1 or more examples, or leave it out")
        if self.spsa_set and self.spsa is None:
            raise InputError("--spsa-set is for the check of --spsa: give --spsa 100 as well")
        threats = cases([threat(text) for text in self.threat])
        made = self.crafting(threats)
        return TransferTable(
            threats, made.attacks, self.stop, True, made.vote_attacks if self.vote else (),
            self.check(), self.spsa or 100,
        )  # fmt: skip

    def check(self) -> "Attack[Any] | None":
        """SPSA, with the preset's stopping threshold, which is -5 where losses are minimised."""
        from hauberk.attacks import Attack

        if self.spsa is None:
            return None
        own = ["threshold=5.0"] if self.preset is not None else []
        made = attack_of("SPSA", [*own, *self.spsa_set], "--spsa")
        assert isinstance(made, Attack)
        return made

    def crafting(self, threats: "tuple[Threat, ...]") -> "Crafting":
        """The attacks that the options name.

        Raises:
            InputError: for settings that do not go with the preset.
        """
        from hauberk.attacks import Attack
        from hauberk.evaluation.transfers.presets import Crafting, ding2020, halves, on_votes

        if self.preset is None:
            attack: Any = attack_of(self.attack, self.set)
            if not isinstance(attack, Attack):
                raise InputError(f"--attack {self.attack}: its runs cannot differ: choose another")
            runs = len(self.loss) if self.runs is None else self.runs
            attacks = tuple(halves(attack, runs, self.loss))
            return Crafting(attacks, on_votes(attacks))
        given = dict(text.split("=", 1) for text in self.set if "=" in text)
        steps = given.pop("steps", "100").strip()
        if (
            given
            or self.attack.lower() != "pgd"
            or self.loss != ["ce", "cw"]
            or not steps.isdigit()
        ):
            raise InputError(
                f"--preset {self.preset} has its own attack: of its settings only --runs and "
                "--set steps=N can be changed"
            )
        return ding2020(self.protocol(), threats, runs=self.runs, steps=int(steps))

    def protocol(self) -> str:
        """The data set whose numbers the preset takes: named after it, or that of ``--data``.

        Raises:
            InputError: if neither is one of the paper's.
        """
        from hauberk.evaluation.transfers.presets import RUNS

        name, _, data = str(self.preset).partition("-")
        data = data or str(self.data).partition(":")[0].strip().lower()
        if name != PRESET:
            raise InputError(f"unknown preset '{self.preset}': give {PRESET}")
        if data not in RUNS:
            named = " or ".join(f"{PRESET}-{known}" for known in RUNS)
            raise InputError(
                f"the preset {PRESET} has numbers for {' and '.join(RUNS)}, not for {data}: say "
                f"whose to take, --preset {named}"
            )
        return data

    def named(self) -> list[NamedModel]:
        return named_models(self)

    def models(self) -> "Mapping[str, Model]":
        named = named_models(self)
        return with_votes(load_by_name(named, self, self), self.vote)

    def facts(self) -> dict[str, Any]:
        votes = ["+".join(map(str.strip, text.split("+"))) for text in self.vote]
        return {"votes": votes} if votes else {}

    def costs(self, trial: Trial) -> tuple[str, list[Cost]]:
        from hauberk.victims.ensembles import Vote

        question, victims = trial.question, trial.setting.victims
        classes = trial.setting.classes
        most = max(
            sum(
                attack.passes_on(threat) * attack.attempts(classes) * threat.variants
                for _, threat, attack in question.jobs(isinstance(victim, Vote))
            )
            for victim in victims.values()
        )
        tried = max(len(question.jobs(isinstance(v, Vote))) for v in victims.values())
        costs = [trial.cost(most + tried * len(victims), "points")]
        if question.check is not None:
            share = min(1.0, question.checked / max(1, trial.n))
            passes = sum(question.check.passes_on(t) for c in question.cases for t in c.parts)
            costs.append(trial.cost(round(share * passes), "check"))
        what = f"{trial.n} examples, {', '.join(victims)}, {len(question.cases)} threats"
        return what, costs

    def files(self, folder: Path, found: "TransferReports") -> Iterator[Path]:
        """``transfer.csv``, ``broke.csv`` and the picture."""
        from hauberk.analysis.panels import transferred
        from hauberk.report.plots import curves as plots

        summary = found.summary
        columns = ("whitebox", "combined", "gap")
        yield write_csv(
            folder / "transfer.csv",
            ("threat", "model", "clean", *columns, "combined_low", "combined_high"),
            (
                [threat, name, repr(summary["clean"][name])]
                + [repr(case[column][name]) for column in columns]
                + [*map(repr, case["combined_interval"][name])]
                for threat, case in summary["threats"].items()
                for name in summary["clean"]
            ),
        )
        yield write_csv(
            folder / "broke.csv",
            ("threat", "source", "target", "broke"),
            (
                (threat, source, target, repr(share))
                for threat, case in summary["threats"].items()
                for source, row in case["broke"].items()
                for target, share in row.items()
            ),
        )
        panels = transferred(summary)
        if panels:
            yield plots.panels(panels, folder / f"accuracy.{self.format}")


def with_votes(models: "Mapping[str, Any]", votes: list[str]) -> "dict[str, Model]":
    """Models, and majority votes of some of them, each named like its members with ``+``.

    Raises:
        InputError: for a member that is no model, or fewer than two.
    """
    from hauberk.victims.ensembles import Vote

    found: dict[str, Model] = dict(models)
    for text in votes:
        members = [name.strip() for name in text.split("+")]
        name = "+".join(members)
        if unknown := [member for member in members if member not in models]:
            raise InputError(
                f"--vote {text}: no model is named '{unknown[0]}': the models are "
                f"{', '.join(models)} (--name gives them other names)"
            )
        if len(members) < 2 or len(set(members)) < len(members) or name in found:
            raise InputError(f"--vote {text}: name two models or more, each once")
        found[name] = Vote([models[member] for member in members])
    return found
