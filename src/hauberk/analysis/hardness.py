"""How hard images are to attack, by the weights of the perturbations that they share."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from math import inf
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from hauberk.analysis.agreement import Agreement, agreement
from hauberk.attacks.base import Attack
from hauberk.attacks.pgd import PGD
from hauberk.engine.inputs import check
from hauberk.errors import InputError
from hauberk.evaluation.core.options import RunOptions
from hauberk.evaluation.core.prepare import Model
from hauberk.evaluation.minmax.groups import groups as group_by
from hauberk.evaluation.minmax.minmax import minmax
from hauberk.evaluation.radii.radius import radius
from hauberk.objectives.minmax import MinMax
from hauberk.report.plots.hardness import hardness as draw
from hauberk.report.tables.hardness import table
from hauberk.solvers.base import Solver
from hauberk.solvers.cw import CW
from hauberk.store.files import plain
from hauberk.threats.base import Box, Threat, several

THREATS = ("l0:30", "l1:20", "l2:3", "linf:0.2")
ROUNDS = 9
"""Constants that the default l2 solver tries."""


def hardness(
    model: Model,
    images: Tensor,
    labels: Tensor,
    *,
    group: int = 5,
    threats: Sequence[Threat | str] = THREATS,
    classes: Sequence[int] | None = None,
    groups: int = 2,
    gamma: float = 4.0,
    beta: float = 1 / 50,
    attack: Attack | None = None,
    weights: Literal["final", "mean"] = "final",
    budget: int = 2000,
    l2_solver: str | Solver | None = None,
    linf_solver: str | Solver = "best",
    distances: "Hardness | None" = None,
    box: Box | Sequence[Any] = (0.0, 1.0),
    seed: int = 0,
    batch_size: int | None = None,
) -> "Hardness":
    """Weights of images in min-max universal perturbations, beside their distances to an error.

    Each group of images of one class shares one perturbation, which min-max makes fool them all:
    the image that resists most gets the most weight. Images that the model gets wrong may be among
    them; their distances are 0. In threats far beyond the images' own distances all are fooled
    early and the weights tell little; far below, they only repeat the clean losses.

    Args:
        model: a module, or a victim.
        images: ``(N, ...)``, floats in the box.
        labels: ``(N,)`` integer classes.
        group: images in a group, 2 or more.
        threats: lp balls or their notation, one set of weights for each.
        classes: those to take groups of; all by default.
        groups: groups of each class, the first ones in order (fewer where a class has no more).
        gamma: of :class:`~hauberk.objectives.minmax.MinMax`; larger ones even the weights.
        beta: of the same.
        attack: whose loss the images combine; by default 20 steps of PGD from the clean input
            along the raw gradient of the margin up to 50, of size ``1/6`` for a box of width 1 and
            in proportion to its squared width otherwise.
        weights: those after the last step (``final``), or their ``mean`` over all steps after
            the start.
        budget: passes per image for either distance, of solvers that are not given ready-made.
        l2_solver: of the l2 distance; C&W of nine rounds at rate 0.05 by default, which needs a
            bounded box (``ddn`` does not).
        linf_solver: of the least linf eps.
        distances: an earlier result for the same images and model, to take the distances from.
        box: as :func:`hauberk.evaluate` has it; so are ``seed`` and ``batch_size``.

    Raises:
        InputError: for bad input, or if a class that is asked for does not fill a group.

    Source: Wang et al. 2021, section G, Tables A7 and A8.

    Example:
        >>> model, images, labels = torch.nn.Linear(4, 2), torch.rand(2, 4), torch.tensor([0, 0])
        >>> found = hardness(model, images, labels, group=2, threats=["linf:0.2"], budget=60)
        >>> found.weights["linf:0.2"].shape
        torch.Size([1, 2])
    """
    bounds = Box.of(box)
    x, y = check(images, labels, bounds)
    several = _threats(threats)
    if budget < 2 * ROUNDS:
        raise InputError(f"budget is {budget}: give passes per image, {2 * ROUNDS} or more")
    if weights not in ("final", "mean"):
        raise InputError(f"weights is '{weights}': give final or mean")
    index = _pick(y, group, groups, classes)
    ids = index.flatten()
    x, y = x[ids.to(x.device)], y[ids.to(y.device)]
    if distances is not None and not torch.equal(distances.index, index):
        raise InputError("distances are of other images: give a result for the same groups")
    method = _published(x, bounds) if attack is None else attack
    cw = CW(steps=(budget // ROUNDS + 1) // 2, searches=ROUNDS, rate=0.05)
    solvers = {"l2": cw if l2_solver is None else l2_solver, "linf": linf_solver}
    run = RunOptions(box=bounds, seed=seed, ids=ids, batch_size=batch_size)
    settings = {
        "gamma": gamma, "beta": beta, "weights": weights, "attack": method.describe(),
        "seed": seed, "budget": budget,
        **{f"{m}_solver": s if isinstance(s, str) else s.describe() for m, s in solvers.items()},
    }  # fmt: skip
    if distances is None:
        l2, linf = (
            radius(model, x, y, metric, budget=budget, solver=solver, **vars(run))
            for metric, solver in solvers.items()
        )
        far = {"correct": l2.correct, "cw_l2": l2.distance, "eps_linf": linf.distance}
    else:
        far = {name: getattr(distances, name) for name in ("correct", "cw_l2", "eps_linf")}
        settings |= {k: distances.settings[k] for k in ("budget", "l2_solver", "linf_solver")}
    worst = {"minmax": MinMax(gamma=gamma, beta=beta, loss=method.loss)}
    found = {
        str(threat): minmax(
            model, x, y, threat, group=group, by_class=True, attack=method, stop=False,
            objectives=worst, **vars(run),
        )
        for threat in several
    }  # fmt: skip
    final = weights == "final"
    return Hardness(
        index=index,
        labels=y.view(-1, group)[:, 0].cpu(),
        images=x.detach().cpu().unflatten(0, (-1, group)),
        weights={
            t: r.weights if final else r.minmax.path[:, 1:].nanmean(1) for t, r in found.items()
        },
        fooled={t: r.minmax.wrong[0] for t, r in found.items()},
        settings=settings,
        **{name: values.view(-1, group) for name, values in far.items()},
    )


@dataclass(frozen=True, eq=False, repr=False)
class Hardness:
    """Weights of the images of G groups of M under each threat, and their distances to an error.

    Attributes:
        index: places of the images in the data, ``(G, M)``.
        labels: the class of each group, ``(G,)``.
        weights: by threat, domain weights ``(G, M)``, the final ones or their mean.
        cw_l2: l2 distance to an error by ``l2_solver`` (C&W), ``(G, M)``: 0 for images that are
            wrong anyway, inf where none was found; eps_linf: the same in linf.
        images: ``(G, M, ...)``.
        correct: whether the model gets the clean image right, ``(G, M)`` bool.
        fooled: by threat, whether the shared perturbation fools the model, ``(G, M)`` bool.
        settings: what they were measured with.

    Example:
        >>> model, images, labels = torch.nn.Linear(4, 2), torch.rand(2, 4), torch.tensor([0, 0])
        >>> found = hardness(model, images, labels, group=2, threats=["linf:0.2"], budget=60)
        >>> found.names[0], sorted(found.measures)
        ('0a', ['cw_l2', 'eps_linf', 'linf:0.2'])
    """

    index: Tensor
    labels: Tensor
    weights: Mapping[str, Tensor]
    cw_l2: Tensor
    eps_linf: Tensor
    images: Tensor
    correct: Tensor
    fooled: Mapping[str, Tensor]
    settings: Mapping[str, Any] = field(default_factory=dict)

    @property
    def names(self) -> list[str]:
        """A name for each group: its class and a letter, such as ``7b``."""
        return group_names(self.labels.tolist())

    @property
    def measures(self) -> dict[str, Tensor]:
        """All measures of hardness, ``(G, M)`` each: by threat, ``cw_l2``, ``eps_linf``."""
        return {**self.weights, "cw_l2": self.cw_l2, "eps_linf": self.eps_linf}

    @cached_property
    def correlations(self) -> dict[tuple[str, str], Agreement]:
        """How far each pair of :attr:`measures` agrees within the groups."""
        return agreement(self.measures)

    @property
    def spread(self) -> dict[str, dict[str, float]]:
        """By threat, how far its weights differ from image to image.

        ``images``: mean effective number of images that carry weight, ``1 / sum w^2``; ``one``:
        share of groups in which one image has all of it; ``even``: share in which all have the same
        (both to three digits); ``fooled``: share of images that the perturbations fool.
        """
        return {
            name: {**spread(w), "fooled": float(self.fooled[name].double().mean())}
            for name, w in self.weights.items()
        }

    def table(self) -> str:
        """A row for each image and each pair of measures, at most 80 columns wide."""
        return table(self.to_dict())

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON, without the images; distances not found are None."""
        measured = {name: _nested(values) for name, values in self.measures.items()}
        return {
            "groups": self.names,
            **plain({name: getattr(self, name) for name in ("labels", "index", "correct")}),
            "weights": {name: measured[name] for name in self.weights},
            "fooled": plain(self.fooled),
            "cw_l2": measured["cw_l2"],
            "eps_linf": measured["eps_linf"],
            "correlations": [
                {"first": one, "second": other, **found.to_dict()}
                for (one, other), found in self.correlations.items()
            ],
            "spread": self.spread,
            "settings": plain(self.settings),
        }

    def figure(self, path: str | Path, show: Sequence[int] | None = None) -> Path:
        """Draw weights against ``eps_linf``, and the images of some groups; returns the path.

        Args:
            path: ends in .png or .svg.
            show: numbers of the groups whose images are shown; up to four of different classes by
                default.

        Raises:
            InputError: for another ending, or a group that is not there.
        """
        return draw(self.to_dict(), self.images, path, show)

    def __repr__(self) -> str:
        g, m = self.index.shape
        rho = [f"{name} {self.correlations[name, 'eps_linf'].rho:.2f}" for name in self.weights]
        return f"Hardness({g} groups of {m}; rank correlation with eps_linf: {', '.join(rho)})"


def group_names(labels: Sequence[int]) -> list[str]:
    """The class of each group and a letter, a number from the 27th on.

    Example:
        >>> group_names([3, 3, 4])
        ['3a', '3b', '4a']
    """
    seen: Counter[int] = Counter()
    names = []
    for label in labels:
        number = seen[label]
        names.append(f"{label}{chr(97 + number)}" if number < 26 else f"{label}-{number + 1}")
        seen[label] += 1
    return names


def spread(weights: Tensor) -> dict[str, float]:
    """See :attr:`Hardness.spread`; weights ``(G, M)``."""
    w = weights.detach().double()
    top, low = w.amax(1), w.amin(1)
    return {
        "images": float((1 / w.square().sum(1)).mean()),
        "one": float((top >= 1 - 1e-3).double().mean()),
        "even": float((top - low <= 1e-3).double().mean()),
    }


def _threats(given: Sequence[Threat | str]) -> list[Threat]:
    threats = list(several(given))
    if len({str(t) for t in threats}) < len(threats):
        raise InputError("one threat twice: give different ones, e.g. ('l2:3', 'linf:0.2')")
    return threats


def _pick(y: Tensor, group: int, most: int, classes: Sequence[int] | None) -> Tensor:
    """The first groups of each class, ``(G, group)``, by class."""
    if group < 2 or most < 1:
        raise InputError(f"{most} groups of {group}: give 1 or more groups of 2 images or more")
    index = group_by(y, group, by_class=True)
    owner = y.cpu()[index[:, 0]]
    wanted = owner.unique().tolist() if classes is None else sorted({int(c) for c in classes})
    kept = [index[owner == c][:most] for c in wanted]
    for c, found in zip(wanted, kept, strict=True):
        if not len(found):
            have = int((y == c).sum())
            raise InputError(f"class {c} has {have} images, no group of {group}: leave it out")
    if not kept:
        raise InputError("classes is empty: name at least one class, or leave it out")
    return torch.cat(kept)


def _published(x: Tensor, box: Box) -> PGD:
    lo, hi = box.bounds(x)
    width = float((hi - lo).double().expand(x.shape[1:]).mean())
    if not width < inf:
        raise InputError("the box has no end, so no step size is a usual one: give attack=PGD(...)")
    # A gradient shrinks as the box widens, while the distance to cover grows.
    return PGD(loss="cw", steps=20, rule="gradient", step_size=width**2 / 6, random_start=False)


def _nested(values: Tensor) -> Any:
    """Rows of numbers as JSON has them; None for those that are infinite."""
    return plain(values.double().masked_fill(values.isinf(), torch.nan))
