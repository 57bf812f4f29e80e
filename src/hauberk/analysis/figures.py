"""The pictures of Liang et al. 2023, for a model and data of one's own."""

from collections.abc import Iterable, Mapping, Sequence
from math import inf
from pathlib import Path
from typing import Any, Unpack

from torch import Tensor, nn

from hauberk.analysis.diversity import diversity
from hauberk.analysis.patterns import Pattern
from hauberk.analysis.runs import (
    LOSSES,
    How,
    Solve,
    SolverRun,
    Study,
    attack_runs,
    patterns,
    radius_runs,
    serving,
)
from hauberk.attacks.apgd import APGD
from hauberk.attacks.base import Attack
from hauberk.attacks.lpa import LPA
from hauberk.attacks.pwcf import PWCF
from hauberk.engine.outcome import Outcome
from hauberk.errors import InputError
from hauberk.report.plots import patterns as plots
from hauberk.report.plots import radii as radius_plots
from hauberk.solvers.eps_search import EpsSearch
from hauberk.threats.ball import Ball
from hauberk.threats.base import Box, Threat
from hauberk.threats.metric import Metric

ATTACKS: Mapping[str, Attack[Any]] = {"apgd": APGD(steps=50)}
PERCEPTUAL: Mapping[str, Attack[Any]] = {"lpa": LPA(steps=50), "pwcf": PWCF(steps=100)}
NORMS = {"l1": 1.0, "l2": 2.0, "linf": inf}


def default_eps(x: Tensor, box: Box | Sequence[Any] = (0.0, 1.0)) -> dict[str, float]:
    """Sizes at which normally trained models are fooled on all inputs like ``x`` (B, ...).

    With n features in a box of width w: ``0.3 w`` in linf, ``0.1 w sqrt(n)`` in l2 and
    ``0.05 w n`` in l1.

    Raises:
        InputError: if the box has no end.

    Example:
        >>> import torch
        >>> default_eps(torch.zeros(1, 4, 4))["linf"]
        0.3
    """
    lo, hi = Box.of(box).bounds(x)
    width, n = float((hi - lo).double().mean()), x.shape[1:].numel()
    if not width < inf:
        raise InputError("the box has no end, so no size is a usual one: give eps={'l2': ..., ...}")
    return {"l1": 0.05 * width * n, "l2": 0.1 * width * n**0.5, "linf": 0.3 * width}


def figures(
    folder: str | Path,
    model: nn.Module,
    images: Tensor,
    labels: Tensor,
    solvers: Iterable[tuple[str, Solve] | SolverRun] = (),
    eps: Mapping[str, float] | None = None,
    *,
    threats: Sequence[Threat | str] = (),
    attacks: Mapping[str, Attack] | None = None,
    losses: Sequence[str] = LOSSES,
    extra: Iterable[SolverRun] = (),
    example: int = 0,
    suffix: str = ".png",
    common: bool = True,
    **how: Unpack[How],
) -> list[Path]:
    """Draw the shape of Figures 1 and 3 to 8 for a model; returns the files written.

    Writes ``radii`` (Figures 1, 7b), ``perturbations_loss`` (3), ``perturbations_radius`` (4),
    ``sparsity_loss`` (5), ``sparsity_radius`` (6) and ``sparsity_distances`` (8) with the suffix,
    ``patterns.json`` and ``patterns.npz`` (:meth:`~hauberk.analysis.Study.save`); the JSON also
    says in ``times`` how many times the median radius each ``eps`` is. A model without defences
    shows the most, since only examples on which every run succeeds are looked at.

    Args:
        folder: where the files go.
        model: a module that takes inputs in the box.
        images: ``(B, ...)``, floats in the box.
        labels: ``(B,)`` integer classes.
        solvers: radius solvers by name (:func:`~hauberk.analysis.radius_runs`), or runs; if there
            are none, the first attack at falling eps
            (:class:`~hauberk.solvers.eps_search.EpsSearch`).
        eps: sizes of problem 1 by norm, such as ``{"l2": 0.5}``, whose norms are then the ones
            looked at; :func:`default_eps` if left out.
        threats: threats of problem 1 by a distance of their own, such as perceptual ones.
        attacks: solvers of problem 1 by name, each run on the threats that it can search; Auto-PGD
            of 50 steps if left out, and LPA and PWCF on ``threats``.
        losses: that the attacks maximise in turn.
        extra: further runs of problem 1 beside the first attack's and loss's in Figure 8.
        example: which of the examples that all succeed on is shown one by one.
        suffix: ``.png`` or ``.svg``.
        common: see :func:`~hauberk.analysis.patterns`.
        how: ``box``, ``seed`` and ``batch_size``, see :class:`~hauberk.analysis.runs.How`.

    Raises:
        InputError: for bad input, another suffix or norm, or examples that no run has in common.

    Source: Liang et al. 2023, section 3.

    Example:
        >>> figures("runs/patterns", model, images, labels, eps={"l2": 2.0})  # doctest: +SKIP
    """
    if suffix not in (".png", ".svg"):
        raise InputError(f"cannot draw to files that end in '{suffix}': give .png or .svg")
    folder, box = Path(folder), Box.of(how.get("box", (0.0, 1.0)))
    sizes = dict(default_eps(images, box) if eps is None else eps)
    if not (sizes or threats) or not sizes.keys() <= NORMS.keys():
        raise InputError(f"eps has the norms {', '.join(sizes)}: give some of {', '.join(NORMS)}")
    balls = [Ball(NORMS[name], size) for name, size in sizes.items()]
    loss, more = runs_of(images, balls, threats, attacks, losses, **how)
    more += list(extra)
    given = list(solvers)
    least = radius_runs(s for s in given if not isinstance(s, SolverRun))
    least += [s for s in given if isinstance(s, SolverRun)]
    if not least and loss:
        name = loss[0].solver
        least = _searches((attacks or ATTACKS)[name], name, balls, **how)
    study = patterns(
        model, images, labels, [*loss, *more, *least], common=common, box=box,
        batch_size=how.get("batch_size"),
    )  # fmt: skip
    radii = {p.name: p.size for p in study.patterns if p.problem == 2}
    sizes |= {run.distance: run.eps for run in more if run.eps is not None}
    lines = {p.name: sizes[p.distance] for p in study.patterns if p.distance in sizes}
    written = study.save(
        folder, eps=sizes, times=_times(radii, lines), diversity=diversity(study).to_dict()
    )
    found = {name: row for name, row in radii.items() if not bool(row.isnan().all())}
    if found:
        path = folder / f"radii{suffix}"
        written.append(radius_plots.radii(found, path, lines, "Radii found, and eps"))
    return written + _draw(study, len(loss), len(more), example, folder, suffix)


def runs_of(
    images: Tensor,
    balls: Sequence[Threat],
    threats: Sequence[Threat | str] = (),
    attacks: Mapping[str, Attack] | None = None,
    losses: Sequence[str] = LOSSES,
    **how: Unpack[How],
) -> tuple[list[SolverRun], list[SolverRun]]:
    """The runs of problem 1 in balls, and those in other threats, as :func:`figures` makes them.

    Args:
        images: examples ``(B, ...)``, which say what an attack can search.
        balls, threats, attacks, losses, how: see :func:`figures`.

    Raises:
        InputError: if none of the attacks can search one of the threats.

    Example:
        >>> import torch
        >>> loss, more = runs_of(torch.zeros(1, 4), [Ball(2.0, 0.5)])
        >>> [run.name for run in loss], more
        (['apgd ce l2', 'apgd margin l2'], [])
    """
    box = Box.of(how.get("box", (0.0, 1.0)))

    def made(some: Sequence[Threat | str], usual: Mapping[str, Attack]) -> list[SolverRun]:
        found: list[SolverRun] = []
        for threat in map(Threat.of, some):
            able = serving(usual, threat, images, box)
            if not able:
                raise InputError(f"none of {', '.join(usual)} attacks {threat}: give one that does")
            found += attack_runs(able, [threat], losses, **how)
        order = [(name, loss) for name in usual for loss in losses]
        return sorted(found, key=lambda run: order.index((run.solver, run.loss)))

    return made(balls, attacks or ATTACKS), made(threats, attacks or PERCEPTUAL)


def most_passes(eps: Mapping[str, float], solvers: int = 0) -> int:
    """Most passes per example that :func:`figures` spends with its own attack.

    Args:
        eps: sizes of problem 1 by norm.
        solvers: what the radius solvers spend together; 0 for none, as :func:`figures` has it.

    Example:
        >>> most_passes({"l2": 0.5}, solvers=500) - most_passes({"l2": 0.5}, solvers=400)
        100
    """
    (attack,) = ATTACKS.values()
    searches = [EpsSearch(attack=attack, largest=size).passes for size in eps.values()]
    return len(LOSSES) * len(eps) * attack.passes + (solvers or sum(searches))


def _draw(
    study: Study, loss: int, more: int, example: int, folder: Path, suffix: str
) -> list[Path]:
    """Figures 3 to 8: the first ``loss`` patterns are of problem 1, so are ``more`` after them."""
    first, others = study.patterns[:loss], study.patterns[loss : loss + more]
    radius = study.patterns[loss + more :]
    leads = {(p.solver, p.loss) for p in first[:1]}
    distances = [p for p in first if (p.solver, p.loss) in leads]
    written = []
    for name, some, title in (
        ("loss", first, "Most loss within eps"),
        ("radius", radius, "Least distance"),
        ("distances", distances + others, "Most loss within eps, in several distances"),
    ):
        if not some and name != "distances":
            continue
        if name != "distances" and (shown := _one(study, some, example)):
            path = folder / f"perturbations_{name}{suffix}"
            written.append(plots.perturbations(shown, path, title))
        written.append(plots.sparsity(some, folder / f"sparsity_{name}{suffix}", title))
    return written


def _searches(
    attack: Attack, name: str, balls: Iterable[Ball], **how: Unpack[How]
) -> list[SolverRun]:
    """An attack as a radius solver, by whole runs at falling eps."""

    def one(ball: Ball) -> tuple[str, Solve]:
        solver, metric = EpsSearch(attack=attack, largest=ball.eps), Metric(ball.p)

        def solve(model: nn.Module, x: Tensor, y: Tensor) -> Outcome:
            return solver(model, x, y, metric, **how)

        return f"{name} eps search {metric}", solve

    return radius_runs(map(one, balls))


def _times(radii: Mapping[str, Tensor], eps: Mapping[str, float]) -> dict[str, float]:
    """By how many times eps exceeds the median radius."""
    positive = {name: row[row > 0] for name, row in radii.items() if name in eps}
    return {name: eps[name] / float(row.median()) for name, row in positive.items() if len(row)}


def _one(study: Study, some: Sequence[Pattern], example: int) -> dict[str, Tensor]:
    """Each pattern's perturbation of one example: the same one where they share it."""
    rows = [set(p.rows.tolist()) for p in some]
    shared = sorted(set.intersection(*rows)) if rows else []
    if not shared:
        return {}
    row = shared[min(max(example, 0), len(shared) - 1)]
    deltas = {p.name: delta for p, delta in zip(study.patterns, study.deltas, strict=True)}
    return {p.name: deltas[p.name][int((p.rows == row).nonzero()[0])] for p in some}
