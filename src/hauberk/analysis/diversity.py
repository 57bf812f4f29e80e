"""How different the perturbations are that several attacks find on the same examples."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from math import nan
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from hauberk.analysis.patterns import Pattern, soft_sparsity
from hauberk.analysis.runs import Study
from hauberk.errors import InputError
from hauberk.evaluation.accuracy.question import Accuracy
from hauberk.evaluation.core.run import CLEAN
from hauberk.store.files import plain
from hauberk.store.ledger import Ledger, places


@dataclass(frozen=True)
class Pair:
    """Two runs on the examples on which both succeeded.

    Attributes:
        cosine: mean cosine of the angle between their perturbations: 1 for the same direction.
        ratio: geometric mean of the larger soft sparsity over the smaller: 1 for equally dense.
        examples: that both succeeded on.
    """

    cosine: float
    ratio: float
    examples: int


@dataclass(frozen=True)
class Diversity:
    """How far the patterns of several runs differ, over pairs that share examples.

    Attributes:
        pairs: by the names of both.
        cosine: mean over the pairs; 1 if all runs move alike, near 0 if each goes its own way.
        ratio: geometric mean over the pairs; 1 if all perturbations of an example are as dense.

    Example:
        >>> found = diversity({
        ...     "a": (torch.tensor([0]), torch.tensor([[1.0, 0.0]])),
        ...     "b": (torch.tensor([0, 1]), torch.tensor([[1.0, 1.0], [2.0, 0.0]])),
        ... })
        >>> round(found.cosine, 4), round(found.ratio, 4), found.pairs["a", "b"].examples
        (0.7071, 1.4142, 1)
    """

    pairs: Mapping[tuple[str, str], Pair] = field(default_factory=dict)

    @property
    def cosine(self) -> float:
        return _mean([pair.cosine for pair in self.pairs.values() if pair.examples])

    @property
    def ratio(self) -> float:
        logs = [torch.tensor(p.ratio).log().item() for p in self.pairs.values() if p.examples]
        return float(torch.tensor(_mean(logs)).exp())

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON; NaN is None."""
        rows = [{"one": a, "other": b, **vars(p)} for (a, b), p in self.pairs.items()]
        return dict(plain({"cosine": self.cosine, "ratio": self.ratio, "pairs": rows}))


def diversity(found: Study | Mapping[str, tuple[Tensor, Tensor]]) -> Diversity:
    """How far the perturbations of several runs differ on the examples that they share.

    An ensemble of attacks is worth more than its strongest one where their patterns differ, not
    where their number is large (Liang et al. 2023, section 4.1).

    Args:
        found: what :func:`~hauberk.analysis.patterns` returned; or by name the rows ``(N,)`` of
            the examples and their perturbations ``(N, ...)``.

    Raises:
        InputError: for rows and perturbations that differ in number.

    Example:
        >>> rows, one = torch.tensor([0]), torch.tensor([[1.0, 0.0]])
        >>> diversity({"a": (rows, one), "b": (rows, one.flip(1))}).cosine
        0.0
    """
    if isinstance(found, Study):
        found = {p.name: (p.rows, d) for p, d in zip(found.patterns, found.deltas, strict=True)}
    if bad := [name for name, (rows, delta) in found.items() if len(rows) != len(delta)]:
        raise InputError(f"{bad[0]} has another number of rows than of perturbations")
    return Diversity({(a, b): _pair(found[a], found[b]) for a, b in combinations(found, 2)})


def patterns_of_run(path: str | Path) -> dict[str, Study]:
    """The patterns of a suite's attacks, by threat, from the points that an evaluation recorded.

    With ``all_attacks`` every attack was run on every point; without, only on those that the ones
    before it left standing, so that no two share an example.

    Args:
        path: folder of a run of :func:`hauberk.evaluate`.

    Raises:
        InputError: if it is none.

    Example:
        >>> patterns_of_run("runs/x")["linf:0.1"].patterns  # doctest: +SKIP
    """
    store = Ledger.open(path)
    if store.manifest.get("kind") != Accuracy.kind:
        raise InputError(f"{path} is no run of hauberk evaluate: give the folder of one")
    clean = [store.part(key) for key in store.keys("clean-")]
    inputs = {
        int(key.removeprefix(CLEAN.partition("{")[0])): store.tensors(key)["originals"]
        for key in store.keys("clean-")
    }
    correct = sum(int(part["correct"].sum()) for part in clean)
    found: dict[str, dict[str, list[tuple[Tensor, Tensor]]]] = {}
    for key in store.keys("attack-"):
        part, number = store.part(key), int(key.split("-")[1])
        if not len(part["id"]):
            continue
        threat, task = str(part["threat"][0]), str(part["task"][0])
        runs = found.setdefault(threat, {}).setdefault(task, [])
        hit = part["broken"].astype(bool)
        if hit.any():
            ids = part["id"][hit]
            at = torch.from_numpy(places(store.part(CLEAN.format(number))["id"], ids))
            points = store.tensors(key)["points"][torch.from_numpy(part["row"][hit])]
            runs.append((torch.from_numpy(ids), points.double() - inputs[number][at].double()))
    given = sum(len(part["id"]) for part in clean)
    return {threat: _study(threat, runs, correct, given) for threat, runs in found.items()}


def _study(
    threat: str, runs: Mapping[str, Sequence[tuple[Tensor, Tensor]]], correct: int, given: int
) -> Study:
    made, deltas = [], []
    for task, parts in runs.items():
        if parts:
            rows, delta = (torch.cat(some) for some in zip(*parts, strict=True))
            made.append(Pattern.of(delta, f"{task} {threat}", rows=rows, solver=task,
                                   distance=threat))  # fmt: skip
            deltas.append(delta)
    successes = {f"{task} {threat}": sum(len(r) for r, _ in parts) for task, parts in runs.items()}
    return Study(patterns=made, deltas=deltas, successes=successes, examples=correct, given=given)


def _pair(one: tuple[Tensor, Tensor], other: tuple[Tensor, Tensor]) -> Pair:
    place = {row: at for at, row in enumerate(other[0].tolist())}
    shared = [(at, place[row]) for at, row in enumerate(one[0].tolist()) if row in place]
    if not shared:
        return Pair(nan, nan, 0)
    here, there = torch.tensor(shared).unbind(1)
    a, b = (d[i].detach().double().cpu().flatten(1) for d, i in ((one[1], here), (other[1], there)))
    lengths = a.norm(dim=1) * b.norm(dim=1)
    cosine = ((a * b).sum(1) / lengths)[lengths > 0]
    logs = (soft_sparsity(a) / soft_sparsity(b)).log().abs()[lengths > 0]
    if not len(cosine):
        return Pair(nan, nan, 0)
    return Pair(float(cosine.mean()), float(logs.mean().exp()), len(cosine))


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values) if values else nan
