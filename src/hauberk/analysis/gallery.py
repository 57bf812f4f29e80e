"""Clean and adversarial images side by side: of several threats, of mixtures, of a run."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from math import inf
from pathlib import Path
from typing import Any, Unpack

import numpy as np
import torch
from torch import Tensor, nn

from hauberk.analysis.landscape import default_attacks
from hauberk.analysis.runs import How
from hauberk.attacks.mixture import MixturePGD
from hauberk.engine.method import Method
from hauberk.errors import InputError
from hauberk.maths.norms import norm
from hauberk.store.files import plain
from hauberk.store.ledger import Ledger, hits, places
from hauberk.threats.affine import Affine
from hauberk.threats.base import Threat, several
from hauberk.victims.victim import Victim

NORMS = {"linf": inf, "l2": 2.0, "l1": 1.0, "l0": 0.0}
SHARES = (1.0, 0.75, 0.5, 0.25, 0.0)
"""Of the first threat of a mixture, from it alone to the second alone."""


@dataclass(frozen=True, eq=False, kw_only=True)
class Exhibit:
    """The points of one threat, one row per example of a :class:`Gallery`.

    Attributes:
        name: of the column, such as ``l1:10``.
        points: ``(N, ...)``; NaN where there is none.
        fooled: whether the model is wrong there, ``(N,)`` bool.
        distance: in the threat's unit, ``(N,)`` float64.
        predicted: the class there, ``(N,)`` int64; -1 where it is not known.

    Example:
        >>> x = torch.zeros(1, 4)
        >>> shown = Exhibit(name="l1:1", points=x, fooled=x[:, 0] > 0, distance=x[:, 0].double())
        >>> len(shown)
        1
    """

    name: str
    points: Tensor = field(repr=False)
    fooled: Tensor
    distance: Tensor = field(repr=False)
    predicted: Tensor = field(default_factory=lambda: torch.zeros(0, dtype=torch.int64))

    def __len__(self) -> int:
        return len(self.points)


@dataclass(frozen=True, eq=False, kw_only=True)
class Gallery:
    """Clean examples and what several threats make of them.

    Attributes:
        ids: places of the examples in the data, ``(N,)`` int64.
        labels: their classes, ``(N,)``.
        clean: ``(N, ...)``.
        predicted: classes of the clean examples, ``(N,)``; -1 where they are not known.
        exhibits: the points, a column each.
        class_names: of the classes 0, 1, ..., where they are known.

    Example:
        >>> model, x, y = torch.nn.Linear(4, 3), torch.rand(2, 4), torch.tensor([0, 1])
        >>> from hauberk import Linf
        >>> [shown.name for shown in gallery(model, x, y, [Linf(0.1)]).exhibits]
        ['linf:0.1']
    """

    ids: Tensor
    labels: Tensor
    clean: Tensor = field(repr=False)
    predicted: Tensor
    exhibits: list[Exhibit]
    class_names: Sequence[str] | None = None

    def __len__(self) -> int:
        return len(self.clean)

    def differences(self, column: int) -> Tensor:
        """Adversarial less clean images of one column, ``(N, ...)``."""
        return self.exhibits[column].points - self.clean

    def norms(self, column: int) -> dict[str, Tensor]:
        """Norms of the differences of one column, ``(N,)`` float64 each."""
        delta = self.differences(column).double()
        return {name: norm(delta, p) for name, p in NORMS.items()}

    def take(self, rows: Tensor) -> "Gallery":
        """Some of the examples, ``rows`` (M,) int64, in that order."""
        return replace(
            self, ids=self.ids[rows], labels=self.labels[rows], clean=self.clean[rows],
            predicted=self.predicted[rows],
            exhibits=[
                Exhibit(
                    name=e.name, points=e.points[rows], fooled=e.fooled[rows],
                    distance=e.distance[rows], predicted=e.predicted[rows],
                )
                for e in self.exhibits
            ],
        )  # fmt: skip

    def best(self, count: int) -> "Gallery":
        """So many examples that are right and that most columns break, in their order.

        Args:
            count: 1 or more; all examples if there are fewer.

        Raises:
            InputError: for a smaller number.
        """
        if count < 1:
            raise InputError(f"{count} examples to show: give 1 or more")
        broken = torch.stack([e.fooled.int() for e in self.exhibits]).sum(0)
        right = self.predicted == self.labels if bool((self.predicted >= 0).any()) else broken > 0
        worth = torch.where(right, broken + 1, 0)
        rows = worth.argsort(descending=True, stable=True)[:count]
        return self.take(rows.sort().values)

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON, without the images."""
        columns = []
        for place, shown in enumerate(self.exhibits):
            facts = {name: getattr(shown, name) for name in ("fooled", "distance", "predicted")}
            columns.append({"name": shown.name, **plain(facts), "norms": plain(self.norms(place))})
        facts = {name: getattr(self, name) for name in ("ids", "labels", "predicted")}
        names = {} if self.class_names is None else {"class_names": list(self.class_names)}
        return {**plain(facts), **names, "columns": columns}


def gallery(
    model: nn.Module,
    images: Tensor,
    labels: Tensor,
    threats: Threat | str | Sequence[Threat | str],
    attack: Method | None = None,
    *,
    ids: Tensor | None = None,
    shares: Sequence[float] = SHARES,
    **how: Unpack[How],
) -> Gallery:
    """Attack examples under several threats; a mixture has a column for each of its shares.

    Args:
        model: a module that takes inputs in the box.
        images: ``(B, ...)``, floats in the box.
        labels: ``(B,)`` integer classes.
        threats: what may be done to an image, a column each.
        attack: one for all columns; by default MixturePGD for mixtures, sparse descent for l1, PGD
            for others. It leaves an example as soon as the model is fooled.
        ids: places of the examples in the data, ``(B,)``.
        shares: of a mixture's first threat, five from it alone to the second alone as published.
        how: ``box``, ``seed`` and ``batch_size``, see :class:`~hauberk.analysis.runs.How`.

    Raises:
        InputError: for bad input, no threats, and threats that the attack does not know.

    Source: Tramèr & Boneh 2019, Figure 4; Liang et al. 2023, Figure 3.

    Example:
        >>> from hauberk import L1, Affine, Linf
        >>> from hauberk.attacks import MixturePGD
        >>> model, x, y = torch.nn.Linear(4, 3), torch.rand(2, 4), torch.tensor([0, 1])
        >>> mixture = Affine(Linf(0.1), L1(1.0))
        >>> shown = gallery(model, x, y, [mixture], MixturePGD(steps=2), shares=(1, 0.5, 0))
        >>> [exhibit.name for exhibit in shown.exhibits]
        ['1 linf:0.1 + 0 l1:1', '0.5 linf:0.1 + 0.5 l1:1', '0 linf:0.1 + 1 l1:1']
    """
    single = [one for threat in several(threats) for one in apart(threat, shares)]
    victim = Victim.of(model, how.get("batch_size"))
    exhibits = []
    for threat in single:
        default = MixturePGD() if isinstance(threat, Affine) else default_attacks(threat)[0]
        found = (attack or default)(victim, images, labels, threat, **how)
        exhibits.append(
            Exhibit(
                name=str(threat), points=found.points.cpu(), fooled=found.fooled.cpu(),
                distance=found.distance.cpu(), predicted=_predicted(victim, found.points),
            )
        )  # fmt: skip
    return Gallery(
        ids=torch.arange(len(images)) if ids is None else ids, labels=labels.cpu(),
        clean=images.cpu(), predicted=_predicted(victim, images), exhibits=exhibits,
    )  # fmt: skip


def apart(threat: Threat, shares: Sequence[float] = SHARES) -> list[Threat]:
    """The threats that a union holds; of a mixture, it at each share alone.

    Args:
        threat: what may be done to an image.
        shares: of the first threat of a mixture.

    Example:
        >>> from hauberk import threat
        >>> list(map(str, apart(threat("linf:0.3|l1:10"))))
        ['linf:0.3', 'l1:10']
    """
    found: list[Threat] = []
    for part in threat.parts:
        found += [part.only(s) for s in shares] if isinstance(part, Affine) else [part]
    return found


def gallery_of_run(folder: str | Path, model: nn.Module | None = None) -> Gallery:
    """The points that a run has stored: of each threat or metric, the first that broke an example.

    Args:
        folder: the ledger of a run of :func:`~hauberk.evaluate` or :func:`~hauberk.radius`.
        model: to say which classes it sees in the points; not needed otherwise.

    Raises:
        InputError: for a folder without a ledger, a run of another kind, or one without points.

    Example:
        >>> gallery_of_run("runs/mine").exhibits  # doctest: +SKIP
    """
    store = Ledger.open(folder)
    kind = store.manifest.get("kind")
    if kind not in ("accuracy", "radius"):
        raise InputError(f"{folder} is a run of kind {kind}: give one of evaluate or radius")
    clean, keys = store.rows("clean-"), store.keys("clean-")
    if not keys:
        raise InputError(f"{folder} holds no examples yet: give a run that has begun")
    originals = torch.cat([store.tensors(key)["originals"] for key in keys])
    columns: dict[str, Exhibit] = {}
    for key in sorted({*store.keys()} - {*keys}):
        part = store.part(key)
        if "broken" not in part or not len(part["id"]):
            continue
        rows = part["broken"].astype(bool)
        threat = str(part["threat"][0])
        shown = columns.setdefault(threat, _empty(threat, originals))
        if not rows.any():
            continue
        ids, points = hits(store, key)
        at = torch.from_numpy(places(clean["id"], ids))
        new = ~shown.fooled[at]
        shown.points[at[new]] = points[new].to(originals)
        distance = torch.from_numpy(np.array(part["distance"][rows], dtype=np.float64))
        shown.distance[at[new]] = distance[new]
        shown.fooled[at] = True
    if not any(bool(shown.fooled.any()) for shown in columns.values()):
        raise InputError(f"{folder} holds no point that broke the model: there is nothing to show")
    victim = None if model is None else Victim.of(model)
    for shown in columns.values():
        if victim is not None:
            known = _predicted(victim, shown.points[shown.fooled])
            shown.predicted[shown.fooled] = known
    predicted = clean.get("prediction", np.full(len(originals), -1))
    return Gallery(
        ids=torch.from_numpy(np.array(clean["id"])), clean=originals,
        labels=torch.from_numpy(np.array(clean["label"])),
        predicted=torch.from_numpy(np.array(predicted)), exhibits=list(columns.values()),
        class_names=store.manifest.get("class_names"),
    )  # fmt: skip


def _empty(name: str, like: Tensor) -> Exhibit:
    nan = torch.full_like(like, torch.nan)
    return Exhibit(
        name=name, points=nan, fooled=torch.zeros(len(like), dtype=torch.bool),
        distance=torch.full((len(like),), torch.nan, dtype=torch.float64),
        predicted=torch.full((len(like),), -1),
    )  # fmt: skip


def _predicted(victim: Victim, x: Tensor) -> Tensor:
    with victim.held():
        return victim.predict(x).argmax(1).cpu() if len(x) else torch.zeros(0, dtype=torch.int64)
