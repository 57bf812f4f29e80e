"""Several solvers on the same examples, and the patterns of what they all find."""

import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypedDict, Unpack

import torch
from torch import Tensor, nn

from hauberk.analysis.patterns import Pattern, compare
from hauberk.attacks.base import Attack
from hauberk.engine.inputs import check
from hauberk.engine.method import Job
from hauberk.engine.outcome import Outcome
from hauberk.errors import InputError
from hauberk.maths.steps import per_example
from hauberk.threats.ball import Ball
from hauberk.threats.base import Box, Threat
from hauberk.threats.measured import Measured
from hauberk.threats.notation import threat as read
from hauberk.victims.victim import Victim

Solve = Callable[[nn.Module, Tensor, Tensor], "Tensor | Outcome"]
"""From a model, inputs (B, ...) and labels (B,) to points (B, ...); NaN where it found none."""


LOSSES = ("ce", "margin")
"""That attacks maximise in turn."""

_NAMED = re.compile(r"(.*?)[ :_-]*\b(linf|l[0-9]+(?:\.[0-9]+)?)")
"""A name that ends in a norm."""


class How(TypedDict, total=False):
    """How attacks are run: range of the inputs, seed, and most examples in one pass."""

    box: Box | Sequence[Any]
    seed: int
    batch_size: int | None


@dataclass(frozen=True, kw_only=True)
class SolverRun:
    """One solver whose perturbations are compared with those of others.

    Args:
        solve: the solver, called with model, inputs and labels.
        solver: its name.
        loss: the loss that it maximises, if any.
        distance: the distance that it allows (problem 1) or minimises (problem 2).
        problem: 1 for most loss within a size, 2 for the least size of a wrong decision.
        threat: in problem 1 the set that points must lie in to count; in problem 2 any size of the
            threat whose distance is made least. None for a distance that is not measured here.

    Example:
        >>> SolverRun(solve=lambda model, x, y: x, solver="nothing", distance="l2").name
        'nothing l2'
    """

    solve: Solve
    solver: str
    loss: str = ""
    distance: str = ""
    problem: int = 1
    threat: Threat | None = None

    @property
    def name(self) -> str:
        """The labels, joined."""
        return " ".join(filter(None, (self.solver, self.loss, self.distance)))

    @property
    def eps(self) -> float | None:
        """The size allowed in problem 1, of a ball."""
        sized = isinstance(self.threat, Ball | Measured)
        return self.threat.eps if self.problem == 1 and sized else None  # type: ignore[union-attr]


@dataclass(frozen=True, eq=False, kw_only=True)
class Study:
    """What :func:`patterns` found.

    Attributes:
        patterns: one per run, in the order of the runs.
        deltas: each pattern's perturbations ``(N, ...)`` float64, in the same order.
        successes: how many examples each run succeeded on alone, by name.
        examples: how many the model decides correctly.
        given: how many there were.

    Example:
        >>> model, images = nn.Linear(4, 2), torch.rand(6, 4)
        >>> runs = radius_runs([("nothing l2", lambda model, x, y: x)])
        >>> patterns(model, images, model(images).argmax(1), runs, common=False).successes
        {'nothing l2': 0}
    """

    patterns: list[Pattern]
    deltas: list[Tensor] = field(repr=False)
    successes: dict[str, int]
    examples: int
    given: int

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {
            "given": self.given,
            "correct": self.examples,
            "successes": self.successes,
            "compared": compare(self.patterns),
            "patterns": [pattern.to_dict() for pattern in self.patterns],
        }

    def save(self, folder: str | Path, **more: Any) -> list[Path]:
        """Write ``patterns.json`` and ``patterns.npz`` into a folder; ``more`` goes to the JSON.

        ``summary.json`` has the same without the rows of the examples.

        The archive holds ``names`` (R,) and, for run number i, ``delta_i`` (N, ...) in float32,
        ``rows_i``, ``sparsity_i`` and ``size_i`` (N,).
        """
        import numpy as np

        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        arrays = {"names": np.array([p.name for p in self.patterns], dtype=np.str_)}
        for i, (pattern, delta) in enumerate(zip(self.patterns, self.deltas, strict=True)):
            arrays[f"delta_{i}"] = delta.float().numpy()
            for name in ("rows", "sparsity", "size"):
                arrays[f"{name}_{i}"] = getattr(pattern, name).numpy()
        np.savez_compressed(folder / "patterns.npz", **arrays)  # type: ignore[arg-type]
        whole = {"kind": "patterns", **self.to_dict(), **more}
        short = {name: value for name, value in whole.items() if name != "patterns"}
        for name, values in (("patterns.json", whole), ("summary.json", short)):
            text = json.dumps(values, allow_nan=False)
            (folder / name).write_text(text + "\n", encoding="utf-8")
        return [folder / name for name in ("patterns.json", "patterns.npz", "summary.json")]


def patterns(
    model: nn.Module,
    images: Tensor,
    labels: Tensor,
    runs: Iterable[SolverRun],
    *,
    common: bool = True,
    bins: int = 50,
    box: Box | Sequence[Any] = (0.0, 1.0),
    batch_size: int | None = None,
) -> Study:
    """Patterns of several solvers' perturbations of the same images.

    Only examples that the model decides correctly are attacked. A run succeeds on one if its
    point is finite, in the box and its threat, and decided wrongly when looked at again.

    Args:
        model: a module that takes inputs in the box.
        images: ``(B, ...)``, floats in the box.
        labels: ``(B,)`` integer classes.
        runs: from :func:`attack_runs` and :func:`radius_runs`.
        common: keep only the examples on which every run succeeds, so that all patterns are of the
            same ones; else each run keeps its own.
        bins: of the histograms (:func:`~hauberk.analysis.magnitudes`).
        box: range of the inputs.
        batch_size: most examples in one pass.

    Raises:
        InputError: without runs, for two of the same name, or if no example is left in common.

    Source: Liang et al. 2023, section 3.

    Example:
        >>> import hauberk as hb
        >>> model, images = nn.Linear(4, 2), torch.rand(6, 4)
        >>> runs = attack_runs({"pgd": hb.attacks.PGD(steps=3)}, ["linf:0.5"], ["ce"])
        >>> study = patterns(model, images, model(images).argmax(1), runs, common=False)
        >>> [pattern.name for pattern in study.patterns]
        ['pgd ce linf']
    """
    runs, box = list(runs), Box.of(box)
    names = [run.name for run in runs]
    if not runs or len(set(names)) < len(names):
        raise InputError(f"the runs are {names}: give at least one, and no name twice")
    x, y = check(images, labels, box)
    victim = Victim(model, batch_size)
    victim.top_label = int(y.max()) if len(y) else 0
    with victim.held():
        # The clean errors would be "found" by doing nothing.
        right = _right(victim, x, y).nonzero().squeeze(1)
        clean = x[right]
        found = [_solve(run, victim, clean, y[right], box) for run in runs]
    hits = [hit for _, hit, _ in found]
    successes = {name: int(hit.sum()) for name, hit in zip(names, hits, strict=True)}
    if common:
        hits = [_in_common(hits, successes)] * len(runs)
    deltas = [
        (points[hit].double() - clean[hit].double()).cpu()
        for (points, *_), hit in zip(found, hits, strict=True)
    ]
    made = [
        Pattern.of(
            delta, run.name, rows=right[hit], size=size[hit], bins=bins, eps=run.eps,
            solver=run.solver, loss=run.loss, distance=run.distance, problem=run.problem,
        )
        for delta, run, (*_, size), hit in zip(deltas, runs, found, hits, strict=True)
    ]  # fmt: skip
    return Study(
        patterns=made, deltas=deltas, successes=successes, examples=len(right), given=len(x)
    )


def attack_runs(
    attacks: Mapping[str, Attack],
    threats: Iterable[Threat | str],
    losses: Sequence[str] = LOSSES,
    **how: Unpack[How],
) -> list[SolverRun]:
    """Runs of problem 1: every attack with every loss in every threat, to its last step.

    Args:
        attacks: by name.
        threats: threats or their notation.
        losses: that replace the attacks' own.
        how: ``box``, ``seed`` and ``batch_size`` of the attacks, see :class:`How`.

    Example:
        >>> from hauberk.attacks import PGD
        >>> [run.name for run in attack_runs({"pgd": PGD(steps=5)}, ["linf:0.1", "l2:1"], ["ce"])]
        ['pgd ce linf', 'pgd ce l2']
    """

    def one(name: str, attack: Attack, loss: str, threat: Threat) -> SolverRun:
        asked = replace(attack, loss=loss)

        def solve(model: nn.Module, x: Tensor, y: Tensor) -> Outcome:
            return asked(model, x, y, threat, stop=False, **how)

        sized = isinstance(threat, Ball | Measured)
        distance = str(threat).rpartition(":")[0] if sized else str(threat)
        return SolverRun(solve=solve, solver=name, loss=loss, distance=distance, threat=threat)

    bound = [Threat.of(t) for t in threats]
    return [
        one(name, attack, loss, threat)
        for name, attack in attacks.items()
        for loss in losses
        for threat in bound
    ]


def serving(
    attacks: Mapping[str, Attack], threat: Threat, x: Tensor, box: Box
) -> dict[str, Attack]:
    """Those of the attacks, by name, that can search a threat around inputs like ``x`` (B, ...).

    Example:
        >>> from hauberk.attacks import LPA, PGD
        >>> x = torch.rand(2, 4)
        >>> list(serving({"pgd": PGD(), "lpa": LPA()}, read("linf:0.1"), x, Box()))
        ['pgd']
    """
    found = {}
    for name, attack in attacks.items():
        try:
            y = torch.zeros(len(x[:1]), dtype=torch.int64, device=x.device)
            own = threat.take(torch.arange(len(y)))
            attack.check(Job(threat=own, x=x[:1], y=y, box=box))
        except InputError:
            continue
        found[name] = attack
    return found


def radius_runs(solvers: Iterable[tuple[str, Solve]]) -> list[SolverRun]:
    """Runs of problem 2, from pairs of a name and a solver.

    A name that ends in a norm, such as ``fab l2``, says which distance is made least: the points
    are measured in it. Others are taken, but not measured.

    Args:
        solvers: pairs of a name, and a function of model, inputs and labels that returns points,
            NaN where it found none, or an :class:`~hauberk.engine.outcome.Outcome`.

    Example:
        >>> [(run.solver, run.distance) for run in radius_runs([("fab l2", lambda m, x, y: x)])]
        [('fab', 'l2')]
    """
    runs = []
    for name, solve in solvers:
        found = _NAMED.fullmatch(name.strip().lower())
        own: dict[str, Any] = {"solver": name}
        if found is not None:
            own = {"solver": name.strip()[: found.end(1)] or "radius", "distance": found[2]}
            own["threat"] = read(f"{found[2]}:1")
        runs.append(SolverRun(solve=solve, problem=2, **own))
    return runs


def _solve(
    run: SolverRun, victim: Victim, x: Tensor, y: Tensor, box: Box
) -> tuple[Tensor, Tensor, Tensor]:
    """A run's points, where it succeeded, and their distances."""
    answer = run.solve(victim.model, x, y)
    witness = answer.witness if isinstance(answer, Outcome) else None
    points = answer.points if isinstance(answer, Outcome) else answer
    if not isinstance(points, Tensor) or points.shape != x.shape:
        raise InputError(f"{run.name} must return points of the inputs' shape {tuple(x.shape)}")
    points = points.detach().to(x.device)
    hit = points.isfinite().flatten(1).all(1)
    safe = torch.where(per_example(hit, points), points, x.to(points.dtype))
    lo, hi = box.bounds(safe)
    hit &= ((safe >= lo) & (safe <= hi)).flatten(1).all(1)
    hit &= ~_right(victim, safe, y)
    size = torch.full((len(x),), torch.nan, dtype=torch.float64, device=x.device)
    if run.threat is not None:
        if run.problem == 1:
            hit &= run.threat.contains(x, safe, witness, box=box)
        size = run.threat.at(x, box).distance(safe, witness)
    return safe, hit, size


def _in_common(hits: Sequence[Tensor], successes: Mapping[str, int]) -> Tensor:
    """The examples on which every run succeeded, ``(B,)`` bool."""
    every = torch.stack(list(hits)).all(0)
    if len(every) and not bool(every.any()):
        counts = ", ".join(f"{name} {count}" for name, count in successes.items())
        raise InputError(
            f"no example of {len(every)} was fooled by every run ({counts}): give larger sizes, "
            "more examples or fewer runs, or common=False"
        )
    return every


def _right(victim: Victim, x: Tensor, y: Tensor) -> Tensor:
    """Where the model decides for the label, ``(B,)`` bool."""
    if not len(x):
        return torch.zeros(0, dtype=torch.bool, device=y.device)
    wrong = victim.wrong(victim.predict(x), y.to(victim.device))
    return ~wrong.to(y.device)
