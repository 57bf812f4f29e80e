"""The result of an attack on several domains: what it fooled, and what the weights say."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor

from hauberk.errors import InputError
from hauberk.evaluation.core.run import originals
from hauberk.evaluation.core.summary import RunResult, cost, head, interval
from hauberk.evaluation.core.task import first
from hauberk.report.tables.minmax import table
from hauberk.store.ledger import Store

METRICS = ("asr_all", "asr_avg", "asr_group", "asr_any")


@dataclass(frozen=True, repr=False)
class Side:
    """What one objective reached. K = D * M: the M images of a group, for each of D parts.

    Attributes:
        read: reads one tensor of all examples from the ledger, by its name there.
        wrong: whether the judge found a domain fooled, per draw of random transformations,
            ``(R, B, K)`` bool.
        weights: final domain weights, ``(B, K)``.
        grouped: whether the images of a group share a perturbation.
        rows: ``id``, ``loss``, ``distance``, ``forwards``, ``backwards``, ... by name, ``(B,)``.
        names: the D parts (models, transformations); members: M. threats: their
            number, where each has a perturbation of its own; names change fastest with them.
    """

    read: Callable[[str], Tensor]
    wrong: Tensor
    weights: Tensor
    grouped: bool
    rows: dict[str, Any]
    names: tuple[str, ...]
    members: int
    threats: int = 0

    @cached_property
    def points(self) -> Tensor:
        """``(B, ...)``; of groups ``(B, M, ...)``, of perturbations per threat likewise."""
        return self.read("points")

    @cached_property
    def path(self) -> Tensor:
        """Domain weights after each evaluation, ``(B, T, K)``, NaN after an example's last."""
        return self.read("path")

    @cached_property
    def delta(self) -> Tensor | None:
        """The perturbation that a group shares, ``(B, ...)``; None without groups."""
        return self.read("witness") if self.grouped else None

    @property
    def accuracy(self) -> dict[str, float]:
        """Share of images and draws that each part still gets right."""
        right = 1 - _parts(self.wrong, self.members).double().mean((0, 1, 3))
        return dict(zip(self.names, right.tolist(), strict=True))

    @property
    def asr_all(self) -> float:
        """Share of images on which every part is wrong (all models, all transformations)."""
        return float(_parts(self.wrong, self.members).all(2).double().mean())

    @property
    def asr_avg(self) -> float:
        """Mean over the parts of the share of images on which it is wrong."""
        return float(self.wrong.double().mean())

    @property
    def asr_group(self) -> float:
        """Share of perturbations that fool every part on every image of their group."""
        return float(self.wrong.all(2).double().mean())

    @property
    def asr_any(self) -> float:
        """Share of examples that some threat's perturbation fools in every part (of a union).

        Without several threats: that are fooled in some domain.
        """
        several = max(1, self.threats)
        parts = self.wrong.view(*self.wrong.shape[:2], -1, several)
        found = parts.all(2).any(2) if self.threats else parts.any(2).any(2)
        return float(found.double().mean())

    @property
    def held(self) -> Tensor:
        """Final weight of each part, ``(B, D)`` float64: of all members of a group."""
        return _parts(self.weights.unsqueeze(0).double(), self.members)[0].sum(2)

    def __repr__(self) -> str:
        return f"Side(ASR_all {self.asr_all:.3f}, ASR_avg {self.asr_avg:.3f})"


@dataclass(frozen=True, repr=False)
class MinMaxResult(Mapping[str, Side], RunResult):
    """What each objective reached, by name, and how they compare.

    Attributes:
        sides: by name; ``minmax`` and ``average`` by default.
        clean: whether a domain is wrong on the clean input, ``(R, B, K)`` bool.
        labels: ``(B,)``, or ``(B, M)`` of groups.
        index: places in the data of the examples, ``(B,)`` or ``(B, M)``.
        summary: what ``summary.json`` holds.

    Example:
        >>> import torch, hauberk as hb
        >>> net, x = hb.models.MLP((4, 8, 3)), torch.rand(6, 4)
        >>> y = net(x).argmax(1)
        >>> other = hb.models.MLP((4, 8, 3))
        >>> found = hb.minmax({"a": net, "b": other}, x, y, "linf:0.2", attack=hb.attacks.FGSM())
        >>> list(found), found.weights.shape
        (['average', 'minmax'], torch.Size([6, 2]))
    """

    tabulate = staticmethod(table)

    sides: dict[str, Side]
    clean: Tensor
    labels: Tensor
    index: Tensor
    summary: dict[str, Any] = field(default_factory=dict)
    store: Store | None = None

    def __getitem__(self, name: str) -> Side:
        return self.sides[name]

    def columns(self) -> dict[str, Any]:
        """A row a perturbation (of a group: one a group), with columns for each side.

        ``SIDE fooled`` is the share of its domains and draws that the side fooled, ``SIDE loss``
        and ``SIDE distance`` what the judge found at its point.
        """
        found: dict[str, Any] = dict(super().columns())
        for name, side in self.sides.items():
            found[f"{name} fooled"] = side.wrong.double().mean((0, 2)).numpy()
            found |= {f"{name} {word}": side.rows[word] for word in ("loss", "distance")}
        return found

    def __iter__(self) -> Any:
        return iter(self.sides)

    def __len__(self) -> int:
        return len(self.sides)

    @property
    def minmax(self) -> Side:
        return self._side("minmax")

    @property
    def average(self) -> Side:
        return self._side("average")

    def _side(self, name: str) -> Side:
        if name not in self.sides:
            raise InputError(f"there is no side '{name}': choose one of {', '.join(self.sides)}")
        return self.sides[name]

    @property
    def weights(self) -> Tensor:
        """Domain weights of the min-max side, ``(B, K)``; see :meth:`binding`."""
        return self.minmax.weights

    def lift(self, metric: str = "asr_all", side: str = "minmax", over: str = "average") -> float:
        """Relative gain of one side over another on a metric; inf from 0.

        Args:
            metric: ``asr_all``, ``asr_avg``, ``asr_group`` or ``asr_any``.
        """
        if metric not in METRICS:
            raise InputError(f"unknown metric '{metric}': choose one of {', '.join(METRICS)}")
        return lift(getattr(self._side(side), metric), getattr(self._side(over), metric))

    def binding(self, by_class: bool = False) -> dict[str, float] | dict[int, dict[str, float]]:
        """Share of examples in which each part holds the most weight: the hardest to fool.

        Equal weights count in parts, so an example fooled at once counts for all alike.

        Args:
            by_class: for the examples of each class apart (a group counts for its first image).
        """
        side, classes = self.minmax, first(self.labels)
        held = side.held
        # Equal weights, as of an example that was fooled at once, favour nobody.
        most = (held >= held.amax(1, keepdim=True) - 1e-6).double()
        most = most / most.sum(1, keepdim=True)

        def shares(rows: Tensor) -> dict[str, float]:
            shares = most[rows].sum(0) / max(1, len(rows))
            return dict(zip(side.names, shares.tolist(), strict=True))

        if not by_class:
            return shares(torch.arange(len(most)))
        return {int(c): shares((classes == c).nonzero().flatten()) for c in classes.unique()}

    def __repr__(self) -> str:
        return f"MinMaxResult({', '.join(f'{n}: {s!r}' for n, s in self.sides.items())})"


def result_of(store: Store, names: Sequence[str], index: Tensor | None = None) -> MinMaxResult:
    """What the parts of a finished run hold, without its summary.

    Args:
        names: of the objectives.
        index: places of the examples in the data; their ids if left out.
    """
    keys = store.keys("clean-")
    found = []
    for key in keys:  # one after the other, so that not all inputs are in memory
        _, labels, ids = originals(store, key)
        found.append((labels, ids, store.tensors(key)["wrong"].bool()))
    labels, ids, wrong = (torch.cat(parts) for parts in zip(*found, strict=True))
    wrong = wrong.transpose(0, 1)
    members = labels.shape[1] if labels.dim() == 2 else 1
    sides = {name: _side(store, name, part_names(store.manifest), members) for name in names}
    return MinMaxResult(sides, wrong, labels, ids if index is None else index, store=store)


def part_names(manifest: Mapping[str, Any]) -> tuple[str, ...]:
    """Names of the parts: the domains, times the threats that each have a perturbation."""
    parts = tuple(manifest["parts"])
    if manifest["members"]:
        parts = tuple(
            t if len(parts) == 1 else f"{part} {t}" for part in parts for t in manifest["members"]
        )
    return parts


def lift(better: float, than: float) -> float:
    """``(better - than) / than``; 0 if both are 0."""
    if than == 0:
        return 0.0 if better == 0 else float("inf")
    return (better - than) / than


def _parts(values: Tensor, members: int) -> Tensor:
    """``(R, B, D * M)`` as ``(R, B, D, M)``."""
    return values.view(*values.shape[:2], -1, members)


def _side(store: Store, name: str, parts: tuple[str, ...], members: int) -> Side:
    # Not those of another objective whose name goes on after a dash.
    begins = f"objective-{name}"
    keys = [key for key in store.keys(f"{begins}-") if key.rpartition("-")[0] == begins]
    rows = [store.part(key) for key in keys]
    small = [[store.tensors(key)[name] for name in ("wrong", "weights")] for key in keys]
    wrong, weights = (torch.cat(parts) for parts in zip(*small, strict=True))
    return Side(
        read=lambda tensor: _read(store, keys, tensor),
        wrong=wrong.bool().transpose(0, 1),
        weights=weights,
        grouped=store.manifest["group"] is not None,
        rows={column: np.concatenate([r[column] for r in rows]) for column in rows[0]},
        names=parts,
        members=members,
        threats=len(store.manifest["members"]),
    )


def _read(store: Store, keys: Sequence[str], name: str) -> Tensor:
    """A tensor of several parts, one after the other; paths as long as the longest."""
    parts = [store.tensors(key)[name] for key in keys]
    if name == "path":
        longest = max(part.shape[1] for part in parts)
        parts = [
            torch.nn.functional.pad(part, (0, 0, 0, longest - part.shape[1]), value=torch.nan)
            for part in parts
        ]
    return torch.cat(parts)


def summarise(result: MinMaxResult, store: Store) -> dict[str, Any]:
    """The summary of a run."""
    facts, clean = store.manifest, store.rows("clean-")
    parts = part_names(facts)
    members = result.labels.shape[1] if result.labels.dim() == 2 else 1
    right = 1 - _parts(result.clean, members).double().mean((0, 1, 3))
    looks = result.clean.shape[0] * result.clean.shape[2]
    names = ("threat", "group", "attack", "objectives")
    summary = head(facts, clean, [side.rows for side in result.sides.values()])
    summary["cost"] = cost(
        [clean, *(side.rows for side in result.sides.values())], looks * len(result.labels),
        looks * len(result.labels) * len(result.sides),
    )  # fmt: skip
    intervals = 1 - _parts(result.clean, members).flatten(3).transpose(0, 2).flatten(1).double()
    summary |= {
        **{name: facts[name] for name in names},
        "n": int(result.labels.numel()),
        "perturbations": len(result.labels),
        "parts": list(parts),
        "clean_accuracy": dict(zip(parts, right.tolist(), strict=True)),
        "clean_interval": {
            name: interval(row.bool().numpy()) for name, row in zip(parts, intervals, strict=True)
        },
        "sides": {name: _told(side) for name, side in result.sides.items()},
    }
    if "minmax" in result.sides:
        summary["binding"] = result.binding()
        summary["binding_by_class"] = result.binding(by_class=True)
        if "average" in result.sides:
            summary["lift"] = {metric: result.lift(metric) for metric in METRICS}
    return summary


def _told(side: Side) -> dict[str, Any]:
    """One side of the summary."""
    spent = cost([side.rows])
    passes = spent["forwards"] + spent["backwards"]
    return {
        "accuracy": side.accuracy,
        **{metric: getattr(side, metric) for metric in METRICS},
        "mean_weights": dict(zip(side.names, side.held.mean(0).tolist(), strict=True)),
        "refused": int((~torch.as_tensor(side.rows["allowed"])).sum()),
        "cost": {
            **{name: spent[name] for name in ("forwards", "backwards", "seconds")},
            "passes_per_example": float(passes) / max(1, len(side.weights)),
        },
    }
