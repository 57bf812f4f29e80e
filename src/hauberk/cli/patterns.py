"""``hauberk patterns``."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hauberk.cli.dry_run import print_costs, tried
from hauberk.cli.load import load_data, load_named, named_model, settle_threads, threat_of
from hauberk.cli.options import (
    BoxOption,
    DataOptions,
    DeviceOptions,
    DryRunOption,
    FormatOption,
    ModelOptions,
    OutOptions,
    option,
)
from hauberk.cli.settings import attack_of
from hauberk.errors import InputError

if TYPE_CHECKING:
    from torch import Tensor, nn

    from hauberk.analysis import SolverRun
    from hauberk.attacks.base import Attack
    from hauberk.engine.outcome import Outcome
    from hauberk.threats import Threat

    Solve = Callable[[nn.Module, Tensor, Tensor], Outcome]


@dataclass(frozen=True, kw_only=True)
class PatternsCommand(
    FormatOption, DryRunOption, OutOptions, BoxOption, DeviceOptions, DataOptions, ModelOptions
):
    """Draw what the perturbations of several solvers look like."""

    solver: list[str] = option([], "a radius solver, such as fab; repeat; else APGD at falling eps")
    budget: int = option(500, "passes per example and solver")
    attack: list[str] = option(
        [], "an attack, with settings of its own: apgd or pwcf,steps=200; repeat; APGD by default"
    )
    loss: list[str] = option([], "that attacks maximise: ce, margin, ...; repeat; ce and margin")
    eps: list[str] = option(
        [], "size of problem 1: linf:0.3, l2:2, l1:10 or perceptual(LAYER+LAYER):0.5; repeat"
    )
    each: bool = option(False, "each run on all examples it succeeds on; else on the common ones")
    example: int = option(0, "which of the common examples is shown one by one")
    ledger: str | None = option(
        None, "folder of a run of hauberk evaluate, for the patterns of its attacks"
    )

    def run(self) -> int:
        if not (self.out or self.dry_run):
            raise InputError("no folder for the pictures: give --out, e.g. --out runs/patterns")
        self.require_format()
        if not self.ledger:
            return self.searched()
        others = ("model", "weights", "data", "solver", "attack", "loss", "eps", "each", "dry_run")
        for name in others:
            if getattr(self, name):
                word = f"--{name.replace('_', '-')}"
                raise InputError(f"{word} and --ledger exclude each other: leave {word} out")
        return self.recorded()

    def searched(self) -> int:
        """Patterns of what the solvers find now."""
        from hauberk.analysis.figures import NORMS, default_eps, figures
        from hauberk.evaluation.core.options import RunOptions
        from hauberk.evaluation.core.prepare import look_at
        from hauberk.report.tables.patterns import table
        from hauberk.threats.metric import Metric

        eps, named = self.sizes()
        attacks, losses = self.attacks(), tuple(dict.fromkeys(self.loss)) or ("ce", "margin")
        model, data = load_named(named_model(self.model, self.weights, self), self), load_data(self)
        threats = [threat.of_model(model) for threat in named]
        if not self.eps:
            eps = default_eps(data.images, self.box)
        distances: list[Threat] = [Metric(NORMS[name]) for name in eps]
        distances += [unsized(threat) for threat in threats]
        solvers = [r for name in dict.fromkeys(self.solver) for r in self.runs(name, distances)]
        how: dict[str, Any] = {
            "box": self.box, "seed": self.seed, "batch_size": self.batch_size
        }  # fmt: skip
        settle_threads(self, [model], data.images)
        if self.dry_run:
            trial = tried(None, {"model": model}, data, RunOptions(**how))
            passes = self.passes(data.images, eps, threats, attacks, losses, len(solvers))
            cost = trial.cost(passes, note="; points that the model gets wrong cost nothing")
            return print_costs(f"{trial.n} examples, {', '.join([*eps, *map(str, named)])}", [cost])
        options = RunOptions(**how, manifest={"weights": self.weights})
        look_at({"model": model}, data.images, data.labels, options, threats)
        written = figures(
            str(self.out), model, data.images, data.labels, solvers, eps, threats=threats,
            attacks=attacks, losses=losses, example=self.example, suffix=f".{self.format}",
            common=not self.each, **how,
        )  # fmt: skip
        table(json.loads(Path(str(self.out), "patterns.json").read_text(encoding="utf-8"))).print()
        print(*written, sep="\n")
        return 0

    def recorded(self) -> int:
        """Patterns of the points that an evaluation recorded, one study a threat."""
        from hauberk.analysis import diversity, patterns_of_run
        from hauberk.report.plots import patterns as plots
        from hauberk.report.tables.patterns import table

        studies = patterns_of_run(str(self.ledger))
        written, folder = [], Path(str(self.out))
        for number, (threat, study) in enumerate(studies.items()):
            differ = diversity(study).to_dict()
            part = folder / str(number) if len(studies) > 1 else folder
            written += study.save(part, threat=threat, diversity=differ)
            if study.patterns:
                picture = part / f"sparsity_attacks.{self.format}"
                written.append(plots.sparsity(study.patterns, picture, f"Attacks under {threat}"))
            print(f"{threat}:")
            table({**study.to_dict(), "diversity": differ}).print()
        print(*written, sep="\n")
        return 0

    def sizes(self) -> "tuple[dict[str, float], list[Threat]]":
        """The sizes of ``--eps``: of norms by their names, and of other distances."""
        from hauberk.analysis.figures import NORMS
        from hauberk.threats import Trait
        from hauberk.threats.ball import Ball

        eps: dict[str, float] = {}
        others: list[Threat] = []
        for text in self.eps:
            threat = threat_of([text])
            name = str(threat).partition(":")[0]
            if Trait.EVALUATED in threat.traits:
                others.append(threat)
                continue
            plain = isinstance(threat, Ball) and threat.fit is None
            if not isinstance(threat, Ball) or not plain or name not in NORMS or name in eps:
                known = ", ".join(NORMS)
                raise InputError(f"--eps {text}: give one size each of {known}, e.g. l2:2")
            eps[name] = threat.eps
        return eps, others

    def attacks(self) -> "dict[str, Attack[Any]] | None":
        """The attacks of ``--attack`` by name; None without any.

        Raises:
            InputError: for an unknown attack or setting, or the same word twice.
        """
        from hauberk.attacks.base import Attack

        found: dict[str, Attack[Any]] = {}
        alone = [text.lower().partition(",")[0] for text in self.attack]
        for text in self.attack:
            name, *settings = text.split(",")
            attack = attack_of(name, settings)
            if not isinstance(attack, Attack):
                raise InputError(f"--attack {name} maximises no loss of its own: give e.g. apgd")
            # Settings are part of the name where only they distinguish two attacks.
            short = name.lower() if alone.count(name.lower()) == 1 else text.lower()
            if short in found:
                raise InputError(f"--attack {text} is given twice: give it once")
            found[short] = attack
        return found or None

    def passes(
        self, images: "Tensor", eps: dict[str, float], threats: "Sequence[Threat]",
        attacks: "dict[str, Attack[Any]] | None", losses: Sequence[str], solvers: int,
    ) -> int:  # fmt: skip
        """Most passes per example that the runs cost."""
        from hauberk.analysis.figures import ATTACKS, NORMS, PERCEPTUAL, runs_of
        from hauberk.solvers.eps_search import EpsSearch
        from hauberk.threats.ball import Ball

        balls = [Ball(NORMS[name], size) for name, size in eps.items()]
        usual = {**ATTACKS, **PERCEPTUAL} if attacks is None else attacks
        loss, more = runs_of(images, balls, threats, attacks, losses, box=self.box)
        spent = sum(usual[run.solver].passes for run in [*loss, *more])
        if solvers or not loss:
            return spent + solvers * self.budget
        first = usual[loss[0].solver]
        return spent + sum(EpsSearch(attack=first, largest=size).passes for size in eps.values())

    def runs(self, name: str, distances: "list[Threat]") -> "list[SolverRun]":
        """A named solver in each of the distances that it measures in.

        Raises:
            InputError: for an unknown name, none of these distances, or a budget that is too small.
        """
        from hauberk.analysis import SolverRun
        from hauberk.solvers.registry import serving, solver_class, solver_for
        from hauberk.victims.victim import Victim

        solver_class(name)  # refuses another name

        def one(metric: "Threat") -> "SolverRun":
            solver_for(name, metric, self.budget, 2)  # refuses a budget that is too small

            def solve(model: "nn.Module", x: "Tensor", y: "Tensor") -> "Outcome":
                victim = Victim.of(model, self.batch_size)
                with victim.held():
                    classes = victim.predict(x[:1]).shape[1]
                solver = solver_for(name, metric, self.budget, max(2, classes))
                return solver(victim, x, y, metric, box=self.box, seed=self.seed)

            return SolverRun(
                solve=solve, solver=name, distance=str(metric), problem=2, threat=metric
            )

        served = [metric for metric in distances if name in serving(metric)]
        if not served:
            named = ", ".join(map(str, distances))
            raise InputError(f"the solver {name} measures in none of {named}: choose another")
        return [one(metric) for metric in served]


def unsized(threat: "Threat") -> "Threat":
    """The distance of a measured threat, on the whole box."""
    return threat.scaled(float("inf"))
