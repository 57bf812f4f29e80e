"""``hauberk patterns``."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from hauberk.cli.load import load_data, load_named, named_model
from hauberk.cli.options import (
    BoxOption,
    DataOptions,
    DeviceOptions,
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
class PatternsCommand(OutOptions, BoxOption, DeviceOptions, DataOptions, ModelOptions):
    """Draw what the perturbations of several solvers look like."""

    solver: list[str] = option([], "a radius solver, such as fab; repeat; else APGD at falling eps")
    budget: int = option(500, "passes per example and solver")
    eps: list[str] = option([], "size of problem 1: linf:0.3, l2:2 or l1:10; repeat")

    def run(self) -> int:
        from hauberk.analysis.figures import NORMS, default_eps, figures
        from hauberk.report.tables.patterns import table
        from hauberk.threats import Box
        from hauberk.threats.metric import Metric

        if not self.out:
            raise InputError("no folder for the pictures: give --out, e.g. --out runs/patterns")
        eps = self.eps_by_norm()
        distances = [Metric(NORMS[name]) for name in eps or NORMS]
        solvers = [
            solve for name in dict.fromkeys(self.solver) for solve in self.solves(name, distances)
        ]
        model = load_named(named_model(self.model, self.weights), self)
        data = load_data(self)
        written = figures(
            self.out, model, data.images, data.labels, solvers,
            eps or default_eps(data.images, Box.of(self.box)), box=self.box, seed=self.seed,
            batch_size=self.batch_size,
        )  # fmt: skip
        table(json.loads(Path(self.out, "patterns.json").read_text(encoding="utf-8"))).print()
        for path in written:
            print(path)
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
        """A named solver in each of the distances that it measures in."""
        from hauberk.solvers import solver_class

        solver = solver_class(name)()

        def serves(metric: "Metric") -> bool:
            try:
                solver.serve(metric)
            except InputError:
                return False
            return True

        found = [self.solve(name, metric) for metric in distances if serves(metric)]
        if not found:
            named = ", ".join(map(str, distances))
            raise InputError(f"the solver {name} measures in none of {named}: choose another")
        return found

    def solve(self, name: str, metric: "Metric") -> "tuple[str, Solve]":
        """A named solver in a distance, with its label; refuses a budget that is too small."""
        from hauberk.solvers import solver_for
        from hauberk.victims.victim import Victim

        solver_for(name, metric, self.budget, 2)

        def solve(model: "nn.Module", x: "Tensor", y: "Tensor") -> "Outcome":
            victim = Victim.of(model, self.batch_size)
            with victim.held():
                classes = victim.predict(x[:1]).shape[1]
            solver = solver_for(name, metric, self.budget, max(2, classes))
            return solver(victim, x, y, metric, box=self.box, seed=self.seed)

        return f"{name} {metric}", solve
