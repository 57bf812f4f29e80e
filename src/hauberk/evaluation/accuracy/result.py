"""What an evaluation returns."""

from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from hauberk.errors import InputError
from hauberk.evaluation.core.summary import RunResult
from hauberk.report.tables.accuracy import table
from hauberk.store.ledger import Store, hits

ATTACKED = ("attack-", "floor-")
"""How the keys of parts start that hold broken points: of the suite, and of the floor."""


@dataclass(frozen=True)
class Result(RunResult):
    """The numbers of a run, and its points. Accuracies are fractions in [0, 1].

    Attributes:
        summary: everything ``summary.json`` holds.

    Example:
        >>> import torch, hauberk as hb
        >>> net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(4, 2))
        >>> x = torch.rand(6, 1, 2, 2)
        >>> found = hb.evaluate(net, x, net(x).argmax(1), hb.Linf(0.0), suite=hb.attacks.FGSM())
        >>> found.union_accuracy, found.accuracy, int(found.robust().sum())
        (1.0, {'linf:0': 1.0}, 6)
    """

    tabulate = staticmethod(table)

    summary: dict[str, Any]
    store: Store = field(repr=False)

    @property
    def clean_accuracy(self) -> float:
        """Share of examples that the model gets right."""
        return float(self.summary["clean_accuracy"])

    @property
    def union_accuracy(self) -> float:
        """Share of examples that no attack broke under any threat."""
        return float(self.summary["union_accuracy"])

    @property
    def average_accuracy(self) -> float:
        """Mean accuracy over the threats."""
        return float(self.summary["average_accuracy"])

    @property
    def accuracy(self) -> dict[str, float]:
        """Accuracy under each threat, by its notation."""
        return {name: threat["accuracy"] for name, threat in self.summary["threats"].items()}

    @property
    def ids(self) -> Tensor:
        """Ids of the examples, ``(N,)``, in the order of the inputs."""
        return torch.from_numpy(self.store.rows("clean-")["id"].astype(np.int64))

    def robust(self, threat: str | None = None, attacks: Collection[str] | None = None) -> Tensor:
        """Which examples stand, ``(N,)`` bool: under one threat (its notation), or the union.

        Args:
            threat: its notation.
            attacks: names of attacks of the suite; what others broke is left out, and so is what
                the floor broke. What an attack
                before them broke they were not run on, unless all attacks were run on all points.

        Raises:
            InputError: for a threat or an attack that the run did not have.
        """
        if threat is not None:
            self._require(threat)
        suite = self.store.manifest["attacks"]
        for name in attacks or ():
            if name not in suite:
                raise InputError(f"the run has no attack {name}: it has {', '.join(suite)}")
        clean = self.store.rows("clean-")
        stands = clean["correct"].astype(bool)
        for rows in map(self.store.rows, ATTACKED):
            if not rows:
                continue
            lost = rows["broken"].astype(bool)
            if threat is not None:
                lost &= rows["threat"] == str(threat)
            if attacks is not None:
                lost &= np.isin(rows["task"], list(attacks))
            stands &= ~np.isin(clean["id"], rows["id"][lost])
        return torch.from_numpy(stands)

    def columns(self) -> dict[str, Any]:
        """A row an example: beside the common columns, whether it stands under each threat.

        A column for each threat, by its notation, and ``union``; bool.
        """
        names = list(self.summary["threats"])
        stands = {name: self.robust(name).numpy() for name in names}
        return {**super().columns(), **stands, "union": self.robust().numpy()}

    def points(self, threat: str) -> tuple[Tensor, Tensor]:
        """Ids ``(M,)`` and points ``(M, ...)`` that the judge found broken under a threat.

        One of each example: what broke it first. Of a run of all attacks on all points the ledger
        holds the others.

        Args:
            threat: its notation.

        Raises:
            InputError: for a threat that the run did not have.
        """
        self._require(threat)
        ids, points = [], []
        for key in (key for prefix in ATTACKED for key in self.store.keys(prefix)):
            if set(self.store.part(key)["threat"]) == {str(threat)}:
                found, broke = hits(self.store, key)
                ids.append(torch.from_numpy(found))
                points.append(broke)
        if not any(map(len, ids)):
            shape = self.store.tensors(self.store.keys("clean-")[0])["originals"].shape[1:]
            return torch.empty(0, dtype=torch.int64), torch.empty(0, *shape)
        _, at = np.unique(torch.cat(ids).numpy(), return_index=True)
        first = torch.from_numpy(np.sort(at))
        return torch.cat(ids)[first], torch.cat(points)[first]

    def _require(self, threat: str) -> None:
        """Refuse a threat that the run did not have."""
        known = list(self.summary["threats"])
        if str(threat) not in known:
            raise InputError(f"the run has no threat {threat}: it has {', '.join(known)}")
