"""``hauberk patterns``."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from hauberk.cli.dry_run import print_costs, tried
from hauberk.cli.load import load_data, load_named, named_model
from hauberk.cli.options import (
    BoxOption,
    DataOptions,
    DeviceOptions,
    DryRunOption,
    ModelOptions,
    OutOptions,
    option,
)
from hauberk.errors import InputError

if TYPE_CHECKING:
    from torch import Tensor, nn

    from hauberk.engine.outcome import Outcome
    from hauberk.threats.metric import Metric

    Solve = Callable[[nn.Module, Tensor, Tensor], Outcome]


@dataclass(frozen=True, kw_only=True)
class PatternsCommand(
    DryRunOption, OutOptions, BoxOption, DeviceOptions, DataOptions, ModelOptions
):
    """Draw what the perturbations of several solvers look like."""

    solver: list[str] = option([], "a radius solver, such as fab; repeat; else APGD at falling eps")
    budget: int = option(500, "passes per example and solver")
    eps: list[str] = option([], "size of problem 1: linf:0.3, l2:2 or l1:10; repeat")

    def run(self) -> int:
        from hauberk.analysis.figures import NORMS, default_eps, figures, most_passes
        from hauberk.evaluation.core.options import RunOptions
        from hauberk.report.tables.patterns import table
        from hauberk.threats.metric import Metric

        if not (self.out or self.dry_run):
            raise InputError("no folder for the pictures: give --out, e.g. --out runs/patterns")
        eps = self.eps_by_norm()
        distances = [Metric(NORMS[name]) for name in eps or NORMS]
        solvers = [
            solve for name in dict.fromkeys(self.solver) for solve in self.solves(name, distances)
        ]
        model, data = load_named(named_model(self.model, self.weights), self), load_data(self)
        eps = eps or default_eps(data.images, self.box)
        options = RunOptions(box=self.box, seed=self.seed, batch_size=self.batch_size)
        if self.dry_run:
            trial = tried(None, {"model": model}, data, options)
            passes = most_passes(eps, self.budget * len(solvers))
            cost = trial.cost(passes, note="; points that the model gets wrong cost nothing")
            return print_costs(f"{trial.n} examples, {', '.join(eps)}", [cost])
        written = figures(
            str(self.out), model, data.images, data.labels, solvers, eps, box=self.box,
            seed=self.seed, batch_size=self.batch_size,
        )  # fmt: skip
        table(json.loads(Path(str(self.out), "patterns.json").read_text(encoding="utf-8"))).print()
        print(*written, sep="\n")
        return 0

    def eps_by_norm(self) -> dict[str, float]:
        """The sizes of ``--eps``."""
        from hauberk.analysis.figures import NORMS
        from hauberk.threats import threat
        from hauberk.threats.ball import Ball

        eps: dict[str, float] = {}
        for text in self.eps:
            ball = threat(text)
            name = str(ball).partition(":")[0]
            if not isinstance(ball, Ball) or name not in NORMS or name in eps:
                known = ", ".join(NORMS)
                raise InputError(f"--eps {text}: give one size each of {known}, e.g. l2:2")
            eps[name] = ball.eps
        return eps

    def solves(self, name: str, distances: "list[Metric]") -> "list[tuple[str, Solve]]":
        """A named solver in each of the distances that it measures in.

        Raises:
            InputError: for an unknown name, none of these distances, or a budget that is too small.
        """
        from hauberk.solvers.registry import serving, solver_class, solver_for
        from hauberk.victims.victim import Victim

        solver_class(name)  # refuses another name

        def one(metric: "Metric") -> "tuple[str, Solve]":
            solver_for(name, metric, self.budget, 2)  # refuses a budget that is too small

            def solve(model: "nn.Module", x: "Tensor", y: "Tensor") -> "Outcome":
                victim = Victim.of(model, self.batch_size)
                with victim.held():
                    classes = victim.predict(x[:1]).shape[1]
                solver = solver_for(name, metric, self.budget, max(2, classes))
                return solver(victim, x, y, metric, box=self.box, seed=self.seed)

            return f"{name} {metric}", solve

        served = [metric for metric in distances if name in serving(metric)]
        if not served:
            named = ", ".join(map(str, distances))
            raise InputError(f"the solver {name} measures in none of {named}: choose another")
        return [one(metric) for metric in served]
