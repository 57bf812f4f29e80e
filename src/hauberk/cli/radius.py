"""What ``hauberk radius`` and ``hauberk patterns`` do, from parsed options."""

import csv
from collections.abc import Callable
from math import inf
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hauberk.cli.evaluate import load, minutes, recorded, timed
from hauberk.errors import InputError
from hauberk.spec.numbers import number

if TYPE_CHECKING:
    from torch import Tensor, nn

    from hauberk.engine.outcome import Outcome
    from hauberk.evaluation.radii.radius import Asked
    from hauberk.evaluation.radii.result import RadiiSet
    from hauberk.threats import Threat
    from hauberk.threats.metric import Metric


def radius(options: Any) -> int:
    """``hauberk radius``."""
    from hauberk.evaluation.radii import radius as radii
    from hauberk.report.progress import shown
    from hauberk.report.tables.radii import print_table
    from hauberk.threats import Union, threat

    if options.resume and not options.out:
        raise InputError("--resume continues a run on disk: give its folder with --out")
    metrics: list[str | Threat] = list(dict.fromkeys(_several(options.metric)))
    if balls := _several(options.threat):
        metrics.append(Union(*(threat(text) for text in balls)))
    if not metrics:
        raise InputError(
            "no metric: give at least one, e.g. --metric linf --metric l2, or balls for the radius "
            "of their union, e.g. --threat linf:0.3 --threat l2:2"
        )
    asked = radii.Asked.of(metrics)
    eps = _eps(_several(options.eps), asked)
    # What costs nothing to find out comes before the model is loaded.
    asked.searches(options.solver, options.budget, 2, options.soften)
    model, data = load(options)
    if options.dry_run:
        return _dry_run(model, data, asked, options)
    with shown() as progress:
        found = radii.radius(
            model, data.images, data.labels, metrics, budget=options.budget,
            solver=options.solver, box=options.box, seed=options.seed, ids=data.ids,
            out=options.out, resume=options.resume, batch_size=options.batch_size,
            progress=progress, manifest=recorded(options), soften=options.soften, eps=eps,
        )  # fmt: skip
    print_table(found.summary)
    if options.out:
        for path in _write(Path(options.out), found):
            print(path)
        print(f"ledger: {options.out}")
    return 0


def patterns(options: Any) -> int:
    """``hauberk patterns``."""
    import json

    from hauberk.analysis.figures import NORMS, default_eps, figures
    from hauberk.report.tables.patterns import print_table
    from hauberk.threats import Box, threat
    from hauberk.threats.ball import Ball
    from hauberk.threats.metric import Metric

    if not options.out:
        raise InputError("no folder for the pictures: give --out, e.g. --out runs/patterns")
    eps: dict[str, float] = {}
    for text in _several(options.eps):
        ball = threat(text)
        name = str(ball).partition(":")[0]
        if not isinstance(ball, Ball) or name not in NORMS or name in eps:
            raise InputError(f"--eps {text}: give one size each of {', '.join(NORMS)}, e.g. l2:2")
        eps[name] = ball.eps
    names = _several(options.solver)
    distances = [Metric(NORMS[name]) for name in eps or NORMS]
    solvers = [_run(name, distances, options) for name in dict.fromkeys(names)]
    model, data = load(options)
    written = figures(
        options.out, model, data.images, data.labels, [run for runs in solvers for run in runs],
        eps or default_eps(data.images, Box.of(options.box)), box=options.box, seed=options.seed,
        batch_size=options.batch_size,
    )  # fmt: skip
    told = Path(options.out) / "patterns.json"
    print_table(json.loads(told.read_text(encoding="utf-8")))
    for path in written:
        print(path)
    return 0


Solve = Callable[["nn.Module", "Tensor", "Tensor"], "Outcome"]


def _run(name: str, distances: "list[Metric]", options: Any) -> list[tuple[str, Solve]]:
    """A named solver in each of the distances that it serves."""
    from hauberk.solvers import solver_class, solver_for
    from hauberk.victims.victim import Victim

    made = solver_class(name)()

    def serves(metric: "Metric") -> bool:
        try:
            made.serve(metric)
        except InputError:
            return False
        return True

    def one(metric: "Metric") -> tuple[str, Solve]:
        solver_for(name, metric, options.budget, 2)  # refuses a budget that is too small now

        def solve(model: "nn.Module", x: "Tensor", y: "Tensor") -> "Outcome":
            victim = Victim.of(model, options.batch_size)
            with victim.held():
                classes = victim.predict(x[:1]).shape[1]
            solver = solver_for(name, metric, options.budget, max(2, classes))
            return solver(victim, x, y, metric, box=options.box, seed=options.seed)

        return f"{name} {metric}", solve

    runs = [one(metric) for metric in distances if serves(metric)]
    if not runs:
        told = ", ".join(map(str, distances))
        raise InputError(f"the solver {name} measures in none of {told}: choose another")
    return runs


def _several(given: Any) -> list[str]:
    return [given] if isinstance(given, str) else [str(item) for item in given or ()]


def _eps(texts: list[str], asked: "Asked") -> dict[str, list[float]]:
    """Sizes by metric; those without a name are for all of them."""
    names = [*asked.metrics, *(["union"] if asked.balls else [])]
    sizes: dict[str, list[float]] = {name: [] for name in names}
    for text in texts:
        name, colon, size_text = text.strip().lower().rpartition(":")
        size = number(size_text)
        if size is None or not 0 <= size < inf or (colon and name not in names):
            raise InputError(
                f"unknown size '{text}': write --eps 0.1, 8/255, or METRIC:SIZE with one of "
                f"{', '.join(names)}"
            )
        for each in [name] if name else names:
            sizes[each].append(size)
    return sizes


def _dry_run(model: Any, data: Any, asked: "Asked", options: Any) -> int:
    """The most that the run can cost, from one timed pass; nothing is written."""
    from hauberk.evaluation.core.preflight import screen
    from hauberk.threats import Box
    from hauberk.victims.victim import Victim

    victim = Victim.of(model, options.batch_size)
    x, _, _, victim = screen(victim, data.images, data.labels, Box.of(options.box), options.seed)
    each, classes = timed(victim, x)
    searches = asked.searches(options.solver, options.budget, classes, options.soften)
    passes = sum(s.solver.passes * s.solver.attempts(classes) for s in searches) * victim.draws
    print(f"{len(x)} examples, {', '.join(s.name for s in searches)}, solver {options.solver}:")
    print(f"at most {passes} passes per example and about {minutes(passes * each * len(x))}; "
          "points that the model gets wrong cost nothing")  # fmt: skip
    return 0


def _write(folder: Path, found: "RadiiSet") -> list[Path]:
    """``radii.csv`` and the pictures."""
    from hauberk.report.plots import radii as plots

    table = folder / "radii.csv"
    try:
        with table.open("w", newline="", encoding="utf-8") as stream:
            rows = csv.writer(stream)
            rows.writerow(("id", "correct", "metric", "distance", "solver"))
            for name, r in found.items():
                columns = r.ids.tolist(), r.correct.tolist(), r.distance.tolist(), r.solver
                for id_, correct, distance, solver in zip(*columns, strict=True):
                    rows.writerow((id_, int(correct), name, repr(distance), solver))
        written = [table]
        for name, r in found.items():
            eps, accuracy = r.curve()
            # Metrics have units of their own, so each has its own picture.
            to = folder / ("curve.png" if len(found) == 1 else f"curve-{name}.png")
            curve = {"eps": eps, "accuracy": {name: accuracy}}
            written.append(plots.accuracy_curves(curve, to, unit=name))
        shown = {name: r.distance[r.found] for name, r in found.items()}
        written.append(plots.radii(shown, folder / "histogram.png"))
    except OSError as error:
        raise InputError(
            f"cannot write to {folder} ({error.strerror or error}); the ledger is kept: see to "
            "the cause, then run again with --resume"
        ) from error
    return written
