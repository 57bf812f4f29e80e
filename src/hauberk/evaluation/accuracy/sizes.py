"""Accuracy at several sizes of one threat: a point that breaks at one size counts at all above."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import inf, isfinite
from typing import Any, Unpack

import numpy as np
import torch
from torch import Tensor

from hauberk.data.examples import Examples
from hauberk.engine.method import Method
from hauberk.errors import InputError
from hauberk.evaluation.accuracy.question import Accuracy, Points
from hauberk.evaluation.accuracy.reading import suite_of
from hauberk.evaluation.accuracy.result import Result
from hauberk.evaluation.accuracy.suites import Stage, Suite
from hauberk.evaluation.core.options import RunFields, RunOptions, with_run_options
from hauberk.evaluation.core.prepare import Model
from hauberk.evaluation.core.run import run as ask
from hauberk.evaluation.core.summary import interval, share
from hauberk.store.ledger import Store, places
from hauberk.threats.base import Threat


@dataclass(frozen=True)
class SizesResult(Result):
    """The accuracies at several sizes of a threat, which never rise with the size.

    Attributes:
        factors: the sizes, as multiples of the threat's own, rising, ``(K,)``.
        radii: the least factor at which each example was broken, ``(N,)`` float64; 0 where the
            model is wrong anyway, inf where it stood at all sizes.

    Example:
        >>> import hauberk as hb
        >>> net, x = hb.models.MLP((4, 8, 3)), torch.rand(6, 4)
        >>> y = net(x).argmax(1)
        >>> found = at_sizes(net, x, y, hb.Linf(1.0), [0.0, 1.0], suite=hb.attacks.FGSM())
        >>> found.curve()[1][0]
        1.0
    """

    factors: tuple[float, ...] = ()
    radii: Tensor = field(default_factory=lambda: torch.zeros(0), repr=False)

    def columns(self) -> dict[str, Any]:
        """A row an example: beside the columns of :class:`Result`, ``radius``, in factors."""
        return {**super().columns(), "radius": self.radii.numpy()}

    def curve(self) -> tuple[list[float], list[float]]:
        """The factors, and the accuracy at each."""
        return list(self.factors), list(self.accuracy.values())


@with_run_options
def at_sizes(
    model: Model,
    images: Examples,
    labels: Tensor,
    threat: Threat | str,
    factors: Sequence[float],
    *,
    suite: str | Suite | Mapping[str, Method | Stage] | Method = "standard",
    **run: Unpack[RunFields],
) -> SizesResult:
    """Attack a model at several sizes of a threat, the smallest first.

    What breaks at one size is not attacked at the larger ones, which hold the same point: accuracy
    never rises with the size, and the cost is little more than that of the largest size alone.

    Args:
        model: a classifier from inputs to logits ``(B, C)``, or a victim.
        images: ``(N, ...)``, floats in the box, or uint8; or a data set or loader that holds the
            labels too (see :func:`hauberk.data.labelled.labelled`).
        labels: ``(N,)`` classes; left out with such a data set: ``at_sizes(model, loader, ...)``.
        threat: any but a union, or its notation; its own size is that of factor 1.
        factors: multiples of it.
        suite: as of :func:`hauberk.evaluate`.
        run: the options of every run, see :class:`~hauberk.evaluation.core.options.RunOptions`.

    Raises:
        InputError: for bad input, before anything is written.

    Example:
        >>> import hauberk as hb
        >>> net, x = hb.models.MLP((4, 8, 3)), torch.rand(6, 4)
        >>> y = net(x).argmax(1)
        >>> at_sizes(net, x, y, hb.L2(2.0), [0.5, 1.0], suite=hb.attacks.FGSM()).factors
        (0.5, 1.0)
    """
    threat = Threat.of(threat)
    if len(threat.parts) > 1:
        raise InputError(f"{threat} is a union: give one threat, or measure the radius of balls")
    rising = sorted(set(map(float, factors)))
    if not rising or any(not factor >= 0 or not isfinite(factor) for factor in rising):
        raise InputError(f"factors are {list(factors)}: give numbers of 0 or more")
    threats = tuple(threat.scaled(factor) for factor in rising)
    if len({str(one) for one in threats}) < len(threats):
        raise InputError(f"some sizes of {threat} are so near that they look alike: give fewer")
    question = AtSizes(threats, suite_of(suite), Points.UNION, tuple(rising))
    found = ask(question, {"model": model}, images, labels, RunOptions(**run))
    assert isinstance(found, SizesResult)
    return found


@dataclass(frozen=True)
class AtSizes(Accuracy):
    """Which examples stand at each of several sizes of one threat.

    Args:
        threats: the sizes, rising, each holding those before it.
        points: always those that stand at all sizes so far.
        factors: what the sizes are multiples of.
    """

    kind = "sizes"

    points: Points = Points.UNION
    factors: tuple[float, ...] = ()

    @property
    def schedule(self) -> list[tuple[Threat, str, Stage]]:
        """Size by size: the whole suite at one before the next, larger one."""
        return [row for threat in self.threats for row in self.suite.schedule((threat,))]

    def facts(self) -> dict[str, Any]:
        return super().facts() | {"factors": list(self.factors)}

    @classmethod
    def of(cls, manifest: Mapping[str, Any], objects: Mapping[str, Any] = {}) -> "AtSizes":
        asked = Accuracy.of(manifest, objects)
        return cls(asked.threats, asked.suite, asked.points, tuple(manifest["factors"]))

    def summarise(self, store: Store) -> dict[str, Any]:
        found = super().summarise(store)
        radii = self._radii(store)
        for factor, (_, row) in zip(self.factors, found["threats"].items(), strict=True):
            stands = radii > factor
            row |= {"accuracy": share(stands), "interval": interval(stands), "upper_bound": False}
        accuracies = [row["accuracy"] for row in found["threats"].values()]
        return found | {
            "average_accuracy": float(np.mean(accuracies)),
            "factors": list(self.factors),
        }

    def result(self, store: Store, summary: dict[str, Any]) -> SizesResult:
        radii = torch.from_numpy(self._radii(store))
        return SizesResult(summary=summary, store=store, factors=self.factors, radii=radii)

    def _radii(self, store: Store) -> Any:
        """The least factor at which each example was broken, ``(N,)``."""
        clean, attacks = store.rows("clean-"), store.rows("attack-")
        radii = np.where(clean["correct"].astype(bool), inf, 0.0)
        lost = attacks["broken"].astype(bool)
        at = places(clean["id"], attacks["id"][lost])
        factor = dict(zip(map(str, self.threats), self.factors, strict=True))
        sizes = np.array([factor[name] for name in attacks["threat"][lost]], dtype=np.float64)
        np.minimum.at(radii, at, sizes)
        return radii
