"""What a radius run returns: radii example by example, and what can be said about all of them."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from math import ceil, inf
from typing import Any, overload

import numpy as np
import torch
from torch import Tensor

from hauberk.errors import InputError
from hauberk.evaluation.core.summary import RunResult
from hauberk.report.tables.radii import table
from hauberk.store.ledger import Store

QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)


@dataclass(frozen=True, eq=False, kw_only=True)
class Radii(RunResult):
    """The least distances at which a model was fooled, one row per example.

    Every radius is an upper bound, that of a point which was found and judged. Where nothing was
    found it counts as inf: beyond all others, which no search can prove.

    Attributes:
        metric: what the radii are measured in, such as ``l2``; ``union`` for a union's, in units of
            its balls' sizes.
        ids: of the examples, ``(B,)``.
        correct: whether the model is right on the clean input, ``(B,)`` bool.
        found: whether a point was found for an example that the model gets right, ``(B,)`` bool.
        distance: ``(B,)`` float64: 0 where the model is wrong anyway, inf where nothing was found.
        solver: who found the point, one name per example; "" where there is none.
        forwards, backwards: passes that the search spent on each example, ``(B,)`` int64, the clean
            one and the judge's apart.
        rejected: points that a solver called adversarial and the judge did not.
        nearest: of a union, which ball the point lies in, "" for none; otherwise empty.
        parts: of a union, the radii in each metric.
        summary: everything that ``summary.json`` holds.

    Example:
        >>> import torch, hauberk as hb
        >>> net, x = hb.models.MLP((4, 8, 3)), torch.rand(6, 4)
        >>> y = net(x).argmax(1)
        >>> radii = hb.radius(net, x, y, "l2", solver=hb.solvers.DDN(steps=10))
        >>> radii.distance.shape, radii.accuracy(0.0)
        (torch.Size([6]), 1.0)
    """

    tabulate = staticmethod(table)

    metric: str
    ids: Tensor
    correct: Tensor
    found: Tensor
    distance: Tensor
    solver: list[str]
    forwards: Tensor
    backwards: Tensor
    rejected: int = 0
    nearest: list[str] = field(default_factory=list)
    parts: Mapping[str, "Radii"] = field(default_factory=dict, repr=False)
    summary: dict[str, Any] = field(default_factory=dict, repr=False)
    load: Callable[[], Tensor] | None = field(default=None, repr=False)
    store: Store | None = field(default=None, repr=False)

    def __len__(self) -> int:
        return len(self.distance)

    def __repr__(self) -> str:
        found, right = int(self.found.sum()), int(self.correct.sum())
        return f"Radii({self.metric}: median {self.median:.4g}, {found} of {right} found)"

    def columns(self) -> dict[str, Any]:
        """A row an example: its radius (``distance``), whether one was found, and by whom."""
        return {
            "id": self.ids.numpy(), "correct": self.correct.numpy(),
            "distance": self.distance.numpy(), "found": self.found.numpy(),
            "solver": np.array(self.solver, dtype=str), "forwards": self.forwards.numpy(),
            "backwards": self.backwards.numpy(),
        }  # fmt: skip

    @cached_property
    def points(self) -> Tensor:
        """The points ``(B, ...)``; the clean inputs where there is none to be found."""
        if self.load is None:
            raise InputError("these radii hold no points: take them from hauberk.radius")
        return self.load()

    @property
    def median(self) -> float:
        """The radius that half of the examples do not exceed; inf if it was not found."""
        return self.quantiles((0.5,))[0.5]

    @property
    def largest(self) -> float:
        """The largest radius found, 0 if there is none."""
        known = self.distance[self.distance < inf]
        return float(known.max()) if len(known) else 0.0

    @property
    def mean(self) -> float:
        """Mean radius; what was not found counts as the largest found: see ``mean_is_bound``."""
        return float(self.distance.clamp(max=self.largest).mean())

    @property
    def mean_is_bound(self) -> bool:
        """Whether the mean is only a lower bound, since radii beyond all found are missing."""
        return bool((self.distance == inf).any())

    def quantiles(self, q: Iterable[float] = QUANTILES) -> dict[float, float]:
        """For each share, the least radius that so many of the examples do not exceed.

        Always the radius of an example, never between two. Inf where it falls among those that were
        not found: more than ``largest``.

        Raises:
            InputError: for a share outside [0, 1].
        """
        rising = self.distance.sort().values
        found = {}
        for share in q:
            if not 0 <= share <= 1:
                raise InputError(f"no quantile {share}: give shares in [0, 1]")
            # 0.05 of 20 examples is one of them, whatever the product rounds to.
            place = max(0, ceil(share * len(rising) - 1e-9) - 1)
            found[share] = float(rising[place])
        return found

    @overload
    def accuracy(self, eps: float) -> float: ...
    @overload
    def accuracy(self, eps: Tensor) -> Tensor: ...
    def accuracy(self, eps: float | Tensor) -> float | Tensor:
        """Share of examples whose radius exceeds ``eps``, a number or a tensor ``(K,)``.

        Raises:
            InputError: for a negative eps, or NaN.
        """
        sizes = torch.as_tensor(eps, dtype=torch.float64).cpu()
        if not bool((sizes >= 0).all()):
            raise InputError(f"eps is {eps}: give 0 or more")
        rising = self.distance.sort().values
        broken = torch.searchsorted(rising, sizes.reshape(-1), right=True)
        share = ((len(rising) - broken).double() / len(rising)).reshape(sizes.shape)
        return share if isinstance(eps, Tensor) else float(share)

    def curve(self, eps: Any = None) -> tuple[Tensor, Tensor]:
        """Sizes and the accuracies at them, ``(K,)`` float64 each.

        Without ``eps`` at 0 and every radius found: the accuracy holds from its size to the next.
        """
        if eps is None:
            known = self.distance[self.distance < inf]
            eps = torch.cat((known.new_zeros(1), known)).unique()
        sizes = torch.as_tensor(eps, dtype=torch.float64).cpu().reshape(-1)
        return sizes, self.accuracy(sizes)

    def area(self, up_to: float) -> float:
        """Area under the accuracy from size 0 to ``up_to``: the mean of radii cut off there.

        Raises:
            InputError: unless ``up_to`` is a finite number, 0 or more.
        """
        if not 0 <= up_to < inf:
            raise InputError(f"no area up to {up_to}: give a finite size, 0 or more")
        return float(self.distance.clamp(max=up_to).mean())

    def average_accuracy(self, eps: Sequence[float]) -> float:
        """AvgAcc: mean of the clean accuracy and those at the sizes (Ding et al. 2020)."""
        clean = float(self.correct.double().mean())
        return (clean + len(eps) * self.average_robust_accuracy(eps)) / (1 + len(eps))

    def average_robust_accuracy(self, eps: Sequence[float]) -> float:
        """AvgRobAcc: mean of the accuracies at the sizes (Ding et al. 2020).

        Raises:
            InputError: without sizes.
        """
        if not len(eps):
            raise InputError("no sizes to average over: give at least one eps")
        return float(self.accuracy(torch.tensor(list(eps), dtype=torch.float64)).mean())

    def histogram(self, bins: int = 20) -> tuple[Tensor, Tensor]:
        """Counts ``(bins,)`` int64 and edges ``(bins + 1,)`` of the radii found, from 0 on.

        Examples that the model gets wrong anyway, or where nothing was found, are left out.
        """
        if bins < 1:
            raise InputError(f"bins is {bins}: give 1 or more")
        known = self.distance[self.found].numpy()
        top = float(known.max(initial=0.0)) or 1.0
        counts, edges = np.histogram(known, bins=bins, range=(0.0, top))
        return torch.from_numpy(counts), torch.from_numpy(edges)


class RadiiSet(dict[str, Radii], RunResult):
    """The radii of one run by metric, those of a union as ``union``.

    Attributes:
        summary: everything that ``summary.json`` holds.

    Example:
        >>> import torch, hauberk as hb
        >>> net, x = hb.models.MLP((4, 8, 3)), torch.rand(6, 4)
        >>> y = net(x).argmax(1)
        >>> found = hb.radius(net, x, y, ["l2", "linf"], solver=hb.solvers.FMN(steps=5))
        >>> list(found), len(found["l2"])
        (['l2', 'linf'], 6)
    """

    tabulate = staticmethod(table)

    def __init__(
        self, radii: Mapping[str, Radii], summary: dict[str, Any], store: Store | None = None
    ) -> None:
        super().__init__(radii)
        self.summary, self.store = summary, store

    def columns(self) -> dict[str, Any]:
        """A row an example: its radius in each metric, by the metric's name."""
        return {**super().columns(), **{name: row.distance.numpy() for name, row in self.items()}}

    def __missing__(self, metric: object) -> Radii:
        if str(metric) in self:  # a metric itself, where its name is the key
            return self[str(metric)]
        raise InputError(f"the run has no metric {metric}: it has {', '.join(self)}")

    def __repr__(self) -> str:
        return f"RadiiSet({', '.join(repr(radii) for radii in self.values())})"
