"""Verification of a radius run: every point judged again from what lies on disk."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from hauberk.errors import InputError
from hauberk.evaluation.accuracy.summary import ROUNDING
from hauberk.evaluation.core.checks import Array, Checks, Data, Point, _alike
from hauberk.evaluation.core.judge import judge
from hauberk.evaluation.core.verify import Verification, victim_of
from hauberk.evaluation.radii.summary import read, summarise
from hauberk.evaluation.radii.walk import part_of
from hauberk.store.files import differences, plain, short
from hauberk.store.ledger import Ledger
from hauberk.threats.ball import Ball
from hauberk.threats.base import Threat
from hauberk.threats.notation import metric as read_metric
from hauberk.threats.notation import threat as read_threat
from hauberk.victims.victim import Victim

Clean = tuple[Array, Array, Tensor]


def is_radius(path: str | Path) -> bool:
    """Whether a run's folder holds radii.

    Raises:
        InputError: if it holds no run.
    """
    return Ledger.open(path).manifest.get("kind") == "radius"


def verify(
    path: str | Path,
    model: nn.Module | Victim,
    *,
    data: Data | None = None,
    batch_size: int | None = None,
    metrics: Mapping[str, Threat] | None = None,
) -> Verification:
    """Open the ledger of a radius run and check every claim in it with the model.

    As :func:`hauberk.evaluation.core.verify` does for evaluations: clean decisions, every point
    found, its distance, and what all of them add up to.

    Args:
        metrics: distances that are Python functions, by name: a ledger cannot hold them.

    Raises:
        InputError: if there is no ledger of a radius run, or its manifest cannot be read.
    """
    ledger = Ledger.open(path)
    if ledger.manifest.get("kind") != "radius":
        raise InputError(f"{path} holds no radius run: verify it with hauberk.verify")
    victim = victim_of(ledger, model, batch_size)
    check = RadiusChecks(ledger, victim, data, dict(metrics or {}))
    for key in ledger.keys("clean-"):
        check.block(key.removeprefix("clean-"))
    finished = check.totals()
    return Verification(
        points=check.confirmed + len(check.refuted) + len(check.unsettled),
        confirmed=check.confirmed,
        refuted=check.refuted,
        unsettled=check.unsettled,
        problems=check.problems,
        finished=finished,
    )


class RadiusChecks(Checks):
    """Goes through the ledger of a radius run block by block."""

    def __init__(
        self, ledger: Ledger, victim: Victim, data: Data | None, metrics: dict[str, Threat]
    ) -> None:
        super().__init__(ledger, victim, data)
        self.metrics = metrics
        self.kept: Clean | None = None
        for name in ledger.manifest.get("metrics", ()):
            if name in metrics:
                continue
            try:
                metrics[name] = read_metric(name)
            except InputError:
                self.problems.append(
                    f"the points of {name} were not judged: its distance is a function, so verify "
                    f"it in Python, with metrics={{'{name}': ...}}"
                )

    def clean(self, key: str) -> Clean | None:
        self.kept = super().clean(key)
        return self.kept

    def block(self, block: str) -> None:
        self.kept = None
        super().block(block)  # the clean part, since this run has no attacks
        if self.kept is None:
            return
        for name, metric in self.metrics.items():
            key = f"{part_of(name)}{block}"
            if not self.ledger.has(key):
                continue
            try:
                self.radii(key, metric, self.kept)
            except KeyError as error:
                self.problems.append(f"part {key} lacks the column {error}")
            except (IndexError, InputError, RuntimeError, TypeError, ValueError) as error:
                why = " ".join(str(error).split())
                self.problems.append(f"part {key} cannot be checked: {why}")

    def radii(self, key: str, metric: Threat, clean: Clean) -> None:
        """Judge the points of one part."""
        part, points = self.ledger.part(key), self.ledger.tensors(key)["points"]
        ids, labels, x = clean
        slots = {int(id_): i for i, id_ in enumerate(ids)}
        self.report(key, part["id"], ~np.isin(part["id"], ids), "has no clean input")
        hit = part["found"].astype(bool) & np.isin(part["id"], ids)
        if sorted(part["row"][hit].tolist()) != [*range(len(points))]:
            self.problems.append(f"part {key}: its rows and its {len(points)} points do not match")
            return
        self.report(
            key, part["id"], ~hit & np.isfinite(part["distance"]), "has a distance but no point"
        )
        at = torch.tensor([slots[int(id_)] for id_ in part["id"][hit]], dtype=torch.int64)
        there = points[torch.from_numpy(part["row"][hit].astype(np.int64))]
        mine = {name: column[hit] for name, column in part.items()}
        y = torch.from_numpy(labels)[at]
        verdict = judge(self.victim, metric, x[at], there, y, self.box)
        margins, distances = verdict.margin.cpu().numpy(), verdict.distance.cpu().numpy()
        holds, allowed = verdict.broken.cpu().numpy(), verdict.allowed.cpu().numpy()
        near = (np.abs(margins) < ROUNDING) & (np.abs(mine["margin"]) < ROUNDING)
        outside = self.outside(there)
        self.confirmed += int(holds.sum())
        for i in np.flatnonzero(~holds):
            reason = f"the model decides for its label, by {margins[i]:.3g}"
            if outside[i] or not allowed[i]:
                reason = f"it leaves the box {self.box}"
            point = Point(
                int(mine["id"][i]), str(metric), str(mine["solver"][i]), reason,
                distance=float(distances[i]), margin=float(margins[i]),
            )  # fmt: skip
            (self.unsettled if allowed[i] and near[i] else self.refuted).append(point)
        other = holds & ~np.isclose(mine["distance"], distances, rtol=1e-6, atol=1e-9)
        self.report(key, mine["id"], other, "has another distance than recorded")
        other = holds & ~_alike(mine["margin"], margins)
        self.report(key, mine["id"], other, "has another margin than recorded")

    def totals(self) -> bool:
        ledger = self.ledger
        stored = ledger.summary()
        if stored is None:
            return False
        try:
            manifest = ledger.manifest
            balls = [read_threat(name) for name in manifest.get("union") or ()]
            radii = read(ledger, manifest["metrics"], [b for b in balls if isinstance(b, Ball)])
            eps, seconds = stored.get("eps") or {}, stored.get("cost", {}).get("seconds")
            found = plain(summarise(radii, ledger.rows("clean-"), manifest, eps, seconds))
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            self.problems.append(f"the parts do not add up: {error}")
            return True
        file = ledger.path / "summary.json"
        for name, there, here in differences(stored, found):
            told = f"{file} says that {name} is {short(there)}, the parts give {short(here)}"
            if name == "manifest_sha256":
                told = f"{ledger.path / 'manifest.json'} was changed after {file} was written"
            self.problems.append(told)
        return True
