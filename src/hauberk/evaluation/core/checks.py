"""What :func:`hauberk.verify` looks at: clean inputs, broken points, and what they add up to."""

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from hauberk.errors import InputError
from hauberk.evaluation.accuracy.summary import ROUNDING, summarise
from hauberk.evaluation.core.judge import decide, judge
from hauberk.maths.losses import margin
from hauberk.store.files import differences, plain, short
from hauberk.store.ledger import Ledger
from hauberk.threats import Box, threat
from hauberk.victims.victim import Victim

Array = npt.NDArray[Any]


class Data(Protocol):
    """What :func:`verify` needs of a data set: images (N, ...), labels (N,), ids (N,) int64."""

    @property
    def images(self) -> Tensor: ...
    @property
    def labels(self) -> Tensor: ...
    @property
    def ids(self) -> Tensor: ...


@dataclass(frozen=True)
class Point:
    """A point that the ledger calls broken and the judge does not; NaN where it was not judged."""

    id: int
    threat: str
    attack: str
    reason: str
    distance: float = float("nan")
    margin: float = float("nan")


class Checks:
    """Goes through a ledger block by block and collects what does not hold."""

    def __init__(self, ledger: Ledger, victim: Victim, data: Data | None) -> None:
        self.ledger, self.victim, self.data = ledger, victim, data
        self.confirmed = 0
        self.refuted: list[Point] = []
        self.unsettled: list[Point] = []
        self.problems: list[str] = []
        manifest = ledger.manifest
        try:
            self.box = Box(*(_edge(v) for v in manifest["box"]))
            self.schedule = [(s["threat"], s["attack"]) for s in manifest["schedule"]]
            self.threats = {name: threat(name) for name, _ in self.schedule}
        except (KeyError, TypeError, ValueError) as error:
            why = f"lacks {error}" if isinstance(error, KeyError) else str(error)
            raise InputError(
                f"{ledger.path / 'manifest.json'} does not say what was run ({why}): "
                "restore it from a copy"
            ) from error
        self.place: dict[int, int] = {}
        if data is not None:
            self.place = {int(id_): i for i, id_ in enumerate(data.ids)}

    def block(self, block: str) -> None:
        """Check one clean part, and the attack parts that stand on it."""
        clean: tuple[Array, Array, Tensor] | None = None
        for key in [f"clean-{block}", *self.ledger.keys(f"attack-{block}-")]:
            try:
                if key.startswith("clean-"):
                    clean = self.clean(key)
                else:
                    self.attack(key, clean)
            except KeyError as error:
                self.problems.append(f"part {key} lacks the column {error}")
            except InputError as error:
                self.problems.append(str(error))
            except (
                IndexError,
                RuntimeError,
                TypeError,
                ValueError,
            ) as error:  # columns of another type
                why = " ".join(str(error).split())
                self.problems.append(f"part {key} cannot be checked: {why}")

    def clean(self, key: str) -> tuple[Array, Array, Tensor] | None:
        """Check a clean part; its ids, labels and inputs."""
        part, x = self.ledger.part(key), self.ledger.tensors(key).get("originals")
        ids, labels = part["id"].astype(np.int64), part["label"].astype(np.int64)
        if x is None or len(x) != len(ids):
            held = "no" if x is None else str(len(x))
            self.problems.append(f"part {key} holds {held} originals for {len(ids)} rows")
            return None
        if "row" in part:
            if sorted(part["row"].tolist()) != [*range(len(x))]:
                self.problems.append(f"part {key}: its rows and its originals do not match")
                return None
            x = x[torch.from_numpy(part["row"].astype(np.int64))]
        self.report(key, ids, self.outside(x), "leaves the box")
        if self.data is not None:
            self.compare(key, ids, labels, x)
        y = torch.from_numpy(labels).to(self.victim.device)
        logits, _ = decide(self.victim, x.to(self.victim.device), torch.zeros_like(y))
        unknown = (labels < 0) | (labels >= logits.shape[1])
        self.report(key, ids, unknown, "has a label that the model does not know")
        y = y.clamp(0, logits.shape[1] - 1)
        wrong = self.victim.wrong(logits, y)
        now = (-margin(logits.double(), y)).cpu().numpy()
        near = (np.abs(now) < ROUNDING) & (np.abs(part["margin"]) < ROUNDING)
        wrong_now = wrong.cpu().numpy()
        self.report(
            key, ids, (part["correct"] == wrong_now) & ~near,
            "is decided otherwise now: is this the same model, with the same weights?",
        )  # fmt: skip
        told = torch.from_numpy(part["prediction"]).to(logits.device)
        known = (told >= 0) & (told < logits.shape[1])
        chosen = logits.gather(1, (told * known)[:, None])[:, 0]
        other = ~known | (chosen < logits.amax(1) - ROUNDING)
        self.report(key, ids, other.cpu().numpy(), "has another prediction than the one recorded")
        self.report(key, ids, ~_alike(part["margin"], now), "has another margin than recorded")
        return ids, y.cpu().numpy(), x

    def compare(self, key: str, ids: Array, labels: Array, x: Tensor) -> None:
        """Check clean inputs and labels against the data set."""
        assert self.data is not None
        known = np.array([int(id_) in self.place for id_ in ids], dtype=bool)
        self.report(key, ids, ~known, "is not in the data")
        where = torch.tensor([self.place[int(id_)] for id_ in ids[known]], dtype=torch.int64)
        images, mine = self.data.images[where], x[torch.from_numpy(known)]
        if images.shape[1:] != mine.shape[1:]:
            self.problems.append(
                f"part {key} holds inputs of shape {tuple(mine.shape[1:])}, "
                f"the data {tuple(images.shape[1:])}: is this the same data set?"
            )
            return
        other = (images.to(mine) != mine).flatten(1).any(1).numpy()
        self.report(key, ids[known], other, "is not the data's input")
        other = self.data.labels[where].numpy() != labels[known]
        self.report(key, ids[known], other, "has another label than in the data")

    def attack(self, key: str, clean: tuple[Array, Array, Tensor] | None) -> None:
        """Check an attack part: judge all points that it calls broken."""
        part, tensors = self.ledger.part(key), self.ledger.tensors(key)
        number = key.rpartition("-")[2]
        if not number.isdigit() or int(number) >= len(self.schedule):
            self.problems.append(f"part {key} belongs to no attack of the schedule")
            return
        notation, attack = self.schedule[int(number)]
        ids, broken, row = part["id"], part["broken"], part["row"]
        other = (part["threat"] != notation) | (part["attack"] != attack)
        self.report(key, ids, other, f"is not recorded as {attack} under {notation}")
        points = tensors.get("points", torch.zeros(0))
        if sorted(row[broken].tolist()) != [*range(len(points))] or (row[~broken] != -1).any():
            self.problems.append(f"part {key}: its rows and its {len(points)} points do not match")
        id_of, labels, x0 = clean or (ids[:0], ids[:0], torch.zeros(0))
        slots = {int(id_): i for i, id_ in enumerate(id_of)}
        slot = np.array([slots.get(int(id_), -1) for id_ in ids], dtype=np.int64)
        at_home = slot >= 0
        other = at_home.copy()
        other[at_home] = labels[slot[at_home]] != part["label"][at_home]
        self.report(key, ids, other, "has another label than in its clean part")
        held = (row >= 0) & (row < len(points)) & (points.shape[1:] == x0.shape[1:])
        for i in np.flatnonzero(broken & ~(at_home & held)):
            lacks = "its point" if at_home[i] else "its clean input"
            reason = f"{lacks} is missing from the ledger, or has another shape"
            self.refuted.append(Point(int(ids[i]), notation, attack, reason))
        some = np.flatnonzero(broken & at_home & held)
        if len(some):
            pick, at = torch.from_numpy(row[some]), torch.from_numpy(slot[some])
            witness = tensors.get("witness")
            mine = {name: column[some] for name, column in part.items()}
            self.rejudge(
                key, mine, notation, x0[at], points[pick], torch.from_numpy(labels)[at],
                None if witness is None else witness[pick],
            )  # fmt: skip

    def rejudge(
        self,
        key: str,
        rows: dict[str, Array],
        notation: str,
        x0: Tensor,
        x: Tensor,
        y: Tensor,
        witness: Tensor | None,
    ) -> None:
        """Judge points that an attack part calls broken, and sort them."""
        ids = rows["id"]
        verdict = judge(self.victim, self.threats[notation], x0, x, y, self.box, witness)
        margins, distances = verdict.margin.cpu().numpy(), verdict.distance.cpu().numpy()
        allowed, holds = verdict.allowed.tolist(), verdict.broken.cpu().numpy()
        near = (np.abs(margins) < ROUNDING) & (np.abs(rows["margin"]) < ROUNDING)
        outside = self.outside(x)
        self.confirmed += int(holds.sum())
        for i in np.flatnonzero(~holds):
            reason = f"the model decides for its label, by {margins[i]:.3g}"
            if outside[i]:
                reason = f"it leaves the box {self.box}"
            elif not allowed[i]:
                reason = f"it lies outside {notation}: its distance is {distances[i]:.9g}"
            point = Point(
                int(ids[i]), notation, str(rows["attack"][i]), reason,
                distance=float(distances[i]), margin=float(margins[i]),
            )  # fmt: skip
            (self.unsettled if allowed[i] and near[i] else self.refuted).append(point)
        other = holds & ~np.isclose(rows["distance"], distances, rtol=1e-6, atol=1e-9)
        self.report(key, ids, other, "has another distance than recorded")
        other = holds & ~_alike(rows["margin"], margins)
        self.report(key, ids, other, "has another margin than recorded")

    def totals(self) -> bool:
        """Check what the parts add up to; whether the run was finished."""
        try:
            stored = self.ledger.summary()
            seconds = (stored or {}).get("cost", {}).get("seconds")
            rows = self.ledger.rows("clean-"), self.ledger.rows("attack-")
            found = plain(summarise(*rows, self.ledger.manifest, seconds))
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            self.problems.append(f"the parts do not add up: {error}")
            return (self.ledger.path / "summary.json").exists()
        if stored is None:
            return False
        known = {key: value for key, value in stored.items() if key in found and key != "warnings"}
        found.pop("warnings")
        if isinstance(known.get("cost"), dict):
            known["cost"] = {k: v for k, v in known["cost"].items() if k in found["cost"]}
        file = self.ledger.path / "summary.json"
        for name, there, here in differences(known, found):
            if name == "manifest_sha256":
                told = f"{self.ledger.path / 'manifest.json'} was changed after {file} was written"
            else:
                told = f"{file} says that {name} is {short(there)}, the parts give {short(here)}"
            self.problems.append(told)
        return bool(stored.get("finished", True))

    def outside(self, x: Tensor) -> Array:
        """Which inputs leave the box, or hold NaN."""
        lo, hi = self.box.bounds(x)
        inside: Array = ((x >= lo) & (x <= hi)).flatten(1).all(1).numpy()
        return ~inside

    def report(self, key: str, ids: Array, found: Array, what: str) -> None:
        """One line on all examples of a part that something is wrong with."""
        if found.any():
            several = f", and {int(found.sum()) - 1} more" if found.sum() > 1 else ""
            self.problems.append(f"part {key}: example {ids[found][0]}{several} {what}")


def _edge(value: Any) -> float | Tensor:
    """One bound of the box, as a manifest has it: a number, "inf", or nested lists of them."""
    if isinstance(value, list):
        return torch.from_numpy(np.array(value, dtype=np.float64))
    return float(value)


def _alike(recorded: Array, found: Array) -> Array:
    """Whether margins are equal, up to what another device or batch size may change."""
    return np.isclose(recorded, found, rtol=1e-3, atol=1e-3, equal_nan=True)
