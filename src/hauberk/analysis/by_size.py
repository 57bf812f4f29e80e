"""Accuracy of several models against the size of several threats, from radii or from attacks."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from math import inf
from pathlib import Path
from typing import Any, Literal, Unpack

import torch
from torch import Tensor

from hauberk.analysis.curves import Crossing, Curves, crossings, curves
from hauberk.data.examples import Examples
from hauberk.errors import InputError
from hauberk.evaluation.accuracy.sizes import at_sizes
from hauberk.evaluation.core.options import RunFields, RunOptions, with_run_options
from hauberk.evaluation.core.prepare import Model
from hauberk.evaluation.core.run import run as ask
from hauberk.evaluation.radii.question import LeastDistances
from hauberk.evaluation.radii.result import Radii, RadiiSet
from hauberk.store.ledger import MANIFEST
from hauberk.threats.ball import Ball
from hauberk.threats.base import Threat, Union, several
from hauberk.threats.metric import Metric

By = Literal["radius", "attack"]

GRID = 101
"""Sizes at which tables of a curve give the accuracy; a run's ledger has every radius."""


@dataclass(frozen=True, eq=False)
class Panel:
    """The curves of all models in one unit.

    Attributes:
        name: what eps is measured in: ``l2``, or ``x affine(l2:1,l1:2)`` for multiples of a threat.
        by: ``radius`` or ``attack``: how the curves were found.
        end: where the axis ends.
        sizes: of attacks, those tried, rising; () where the radii say it for all sizes.
        curves: the accuracies, with their number of examples.

    Example:
        >>> found = curves({"a": torch.tensor([1.0, 2.0]), "b": torch.tensor([0.5, 3.0])})
        >>> Panel("l2", "radius", 4.0, (), found).grid(3)
        [0.0, 2.0, 4.0]
    """

    name: str
    by: By
    end: float
    sizes: tuple[float, ...]
    curves: Curves

    def grid(self, points: int = GRID) -> list[float]:
        """The sizes for tables: those that were attacked, or so many from 0 to the end."""
        if self.by == "attack":
            return [0.0, *(size for size in self.sizes if size > 0)]
        return [self.end * k / (points - 1) for k in range(points)]

    def crossings(self, least: float = 0.0) -> list[Crossing]:
        """Where two models change places, up to the end of the axis."""
        return [found for found in crossings(self.curves, least) if found.eps <= self.end]

    def rows(self, sizes: Sequence[float] | None = None) -> Iterator[dict[str, Any]]:
        """For each size and model: eps, accuracy and its interval."""
        for eps in self.grid() if sizes is None else sizes:
            for model, accuracy in self.curves.at(eps).items():
                low, high = self.curves.interval(model, eps)
                yield {"model": model, "eps": eps, "accuracy": accuracy, "low": low, "high": high}


@with_run_options
def by_size(
    models: Mapping[str, Model],
    images: Examples,
    labels: Tensor,
    threats: Threat | str | Sequence[Threat | str],
    *,
    by: By | None = None,
    points: int = 10,
    sizes: Mapping[str, Sequence[float]] = {},
    suite: Any = "standard",
    budget: int = 2000,
    solver: str = "best",
    **run: Unpack[RunFields],
) -> dict[str, Panel]:
    """Accuracy against eps, a panel for each threat, in which each model has a curve.

    Radii give a whole curve from one run: an example counts as right below the radius of a point
    that was found and judged. Attacks give accuracies at some sizes (:func:`at_sizes`). In both a
    point that breaks at one size counts at all larger ones.

    Args:
        models: by name.
        images: ``(N, ...)``, floats in the box.
        labels: ``(N,)`` integer classes.
        threats: or their notations. A ball gives a panel up to its size; a distance without a size
            (:class:`hauberk.Metric`) one up to the largest radius found; a union of balls one up to
            1, in units of their sizes; any other threat, such as an affine mixture, one up to 1, in
            units of its size.
        by: ``radius`` or ``attack``; by default radii of balls, distances and unions, and attacks
            on all other threats.
        points: so many sizes, evenly spread, are attacked.
        sizes: others, by the name of the panel, instead.
        suite: of the attacks.
        budget: passes per example and norm of the radii.
        solver: of the radii.
        run: the options of every run, see :class:`~hauberk.evaluation.core.options.RunOptions`; of
            every model ``out`` holds its runs in folders ``MODEL/radius`` and ``MODEL/THREAT``,
            and ``resume`` continues those that are there.

    Returns:
        panels by name, in the order of the threats.

    Raises:
        InputError: for bad input, before anything is written.

    Source: Maini et al. 2020, Figures 2 and 5; Liang et al. 2023, Figure 8.

    Example:
        >>> import hauberk as hb
        >>> nets = {name: hb.models.MLP((4, 8, 3)) for name in "ab"}
        >>> x, y = torch.rand(4, 4), torch.tensor([0, 1, 2, 0])
        >>> found = by_size(nets, x, y, [hb.L2(0.5)], budget=60)
        >>> found["l2"].by, list(found["l2"].curves.accuracy)
        ('radius', ['a', 'b'])
    """
    options = RunOptions(**run)
    if not models:
        raise InputError("give at least one model: a dictionary of names and models")
    if points < 1:
        raise InputError(f"points is {points}: give 1 or more sizes")
    names = named_panels(threats, by)
    if unknown := [name for name in sizes if name not in names]:
        raise InputError(f"sizes name {unknown[0]}: the panels are {', '.join(names)}")
    measured = {name: t for name, (t, how) in names.items() if how == "radius"}
    attacked = {name: t for name, (t, how) in names.items() if how == "attack"}
    factors = {n: _factors(t, sizes.get(n), points) for n, t in attacked.items()}
    radii: dict[str, dict[str, Tensor]] = {name: {} for name in names}
    for model_name, model in models.items():
        if measured:
            asked = [_metric_of(threat) for threat in measured.values()]
            question = LeastDistances.asked(asked, solver=solver, budget=budget)
            mine = _folder(options, model_name, "radius")
            found = ask(question, {"model": model}, images, labels, mine)
            for name, threat in measured.items():
                radii[name][model_name] = _radii_of(found, threat)
        for name, threat in attacked.items():
            mine = _folder(options, model_name, name)
            tried = at_sizes(
                model, images, labels, threat, factors[name], suite=suite, **vars(mine)
            )
            radii[name][model_name] = tried.radii * _unit(threat)
    return {
        name: _panel(name, threat, how, radii[name], factors.get(name, ()))
        for name, (threat, how) in names.items()
    }


def named_panels(
    threats: Threat | str | Sequence[Threat | str], by: str | None = None
) -> dict[str, tuple[Threat, By]]:
    """The threat of each panel, and how its curves are found.

    Args:
        threats: as of :func:`by_size`; by: the same.

    Raises:
        InputError: for none, two of one name, or a way that does not go with a threat.

    Example:
        >>> from hauberk import L2, Affine, Linf
        >>> {name: how for name, (_, how) in named_panels([L2(1), Affine(Linf(1), L2(1))]).items()}
        {'l2': 'radius', 'x affine(linf:1,l2:1)': 'attack'}
    """
    if by not in (None, "radius", "attack"):
        raise InputError(f"by is '{by}': give radius or attack, or leave it out")
    found: dict[str, tuple[Threat, By]] = {}
    for threat in several(threats):
        plain = isinstance(threat, Ball | Metric | Union)
        how: By = "radius" if (plain if by is None else by == "radius") else "attack"
        name = "union" if isinstance(threat, Union) else f"x {threat}"
        if isinstance(threat, Ball | Metric):
            name = str(_metric_of(threat))
        if how == "attack" and isinstance(threat, Union | Metric):
            raise InputError(f"{threat} has a curve by radius only: give threats one by one")
        if how == "radius" and not plain:
            raise InputError(f"{threat} has no radius: it has a curve by attack only")
        if name in found:
            raise InputError(f"two threats in {name}: give the largest size of each")
        found[name] = threat, how
    return found


def _unit(threat: Threat) -> float:
    """What a factor of a threat is on the axis."""
    return threat.eps if isinstance(threat, Ball) else 1.0


def _factors(threat: Threat, sizes: Sequence[float] | None, points: int) -> tuple[float, ...]:
    if sizes is None:
        return tuple((k + 1) / points for k in range(points))
    return tuple(sorted({size / _unit(threat) for size in sizes if size > 0}))


def _metric_of(threat: Threat) -> Any:
    return Metric.of(threat) if isinstance(threat, Ball) else threat


def _radii_of(found: Any, threat: Threat) -> Tensor:
    assert isinstance(found, RadiiSet)
    name = "union" if isinstance(threat, Union) else str(_metric_of(threat))
    radii: Radii = found[name]
    return radii.distance


def _panel(
    name: str, threat: Threat, how: By, radii: Mapping[str, Tensor], factors: Sequence[float]
) -> Panel:
    sizes = tuple(factor * _unit(threat) for factor in factors)
    end = max((*sizes, _unit(threat))) if how == "attack" else _unit(threat)
    if isinstance(threat, Metric):
        known = torch.cat([row[row < inf] for row in radii.values()])
        end = float(known.max()) if len(known) else 0.0
    return Panel(name, how, end or 1.0, sizes, curves(radii))


def _folder(options: RunOptions, model: str, name: str) -> RunOptions:
    """The options of one of the runs: a folder of its own, resumed if it is there."""
    if options.out is None:
        return options
    parts = (re.sub(r"[^A-Za-z0-9.]+", "-", part).strip("-") for part in (model, name))
    out = Path(options.out).joinpath(*parts)
    return replace(options, out=out, resume=options.resume and (out / MANIFEST).is_file())
