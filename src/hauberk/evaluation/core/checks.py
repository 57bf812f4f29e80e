"""What :func:`hauberk.verify` looks at: clean inputs, recorded points, and what they add up to."""

from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from hauberk.data.examples import Examples
from hauberk.errors import InputError
from hauberk.evaluation.core.judge import CleanVerdict, Verdict
from hauberk.evaluation.core.prepare import Setting
from hauberk.evaluation.core.question import Question
from hauberk.evaluation.core.run import CLEAN, originals
from hauberk.evaluation.core.summary import ROUNDING
from hauberk.evaluation.core.task import Task, first
from hauberk.store.files import Columns, differences, plain, short
from hauberk.store.ledger import Ledger, places

Array = npt.NDArray[Any]


class Data(Protocol):
    """What :func:`verify` needs of a data set: images (N, ...), labels (N,), ids (N,) int64."""

    @property
    def images(self) -> Examples: ...
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


@dataclass(frozen=True)
class _Examples:
    """The examples of a clean part: ids, labels, inputs, and labels that the models can have."""

    ids: Tensor
    labels: Tensor
    x: Tensor
    y: Tensor
    place: Tensor
    """Among all examples of the run."""

    def of(self, ids: Array) -> "_Examples":
        """Those of them that have one of the ids."""
        rows = torch.from_numpy(np.isin(first(self.ids).numpy(), ids))
        return _Examples(*(getattr(self, f.name)[rows] for f in fields(self)))


class Checks:
    """Goes through a ledger block by block and collects what does not hold."""

    def __init__(
        self, ledger: Ledger, question: Question[Any], setting: Setting, data: Data | None,
        size: int,
    ) -> None:  # fmt: skip
        self.ledger, self.question, self.setting, self.data = ledger, question, setting, data
        self.tasks = list(question.tasks(setting))
        self.judge = question.judge(setting)
        self.size, self.many = size, -(-int(ledger.manifest["n"]) // size)
        self.confirmed = 0
        self.refuted: list[Point] = []
        self.unsettled: list[Point] = []
        self.problems: list[str] = []

    def blocks(self) -> None:
        """Check all parts."""
        keys = {key for key in self.ledger.keys("") if not self.question.owns(key)}
        across = self.guarded("", lambda: list(self.question.across(self.ledger))) or []
        wanted = self.ids([task.key for task in across if task.key in keys])
        drawn: list[_Examples] = []
        for number in range(self.many):
            clean = CLEAN.format(number)
            examples = self.guarded(clean, lambda: self.clean(clean)) if clean in keys else None  # noqa: B023
            keys.discard(clean)
            if examples is not None and len(wanted):
                drawn.append(examples.of(wanted))
            for task in self.tasks:
                for key in sorted(k for k in keys if task.owns(k, number)):
                    keys.discard(key)
                    self.guarded(key, lambda: self.part(key, task, examples))  # noqa: B023
        for task in across:
            if task.key in keys:
                keys.discard(task.key)
                self.guarded(task.key, lambda: self.part(task.key, task, _joined(drawn)))  # noqa: B023
        for key in sorted(keys):
            self.problems.append(f"part {key} belongs to nothing that the run asked")

    def ids(self, keys: list[str]) -> Array:
        """Ids of all rows of some parts."""
        parts = [self.guarded(key, lambda: self.ledger.part(key)["id"]) for key in keys]  # noqa: B023
        found = [part for part in parts if part is not None]
        return np.unique(np.concatenate(found)) if found else np.zeros(0, dtype=np.int64)

    def guarded(self, key: str, check: Callable[[], Any]) -> Any:
        """What a check of a part returns; None, and a line about it, if it fails."""
        try:
            return check()
        except KeyError as error:
            self.problems.append(f"part {key} lacks the column {error}")
        except InputError as error:
            self.problems.append(str(error))
        except (IndexError, RuntimeError, TypeError, ValueError) as error:  # columns of other types
            self.problems.append(f"part {key} cannot be checked: {' '.join(str(error).split())}")
        return None

    def clean(self, key: str) -> _Examples | None:
        """Check a clean part; its examples."""
        part, tensors = self.ledger.part(key), self.ledger.tensors(key)
        names = part["id"].astype(np.int64)
        held = len(tensors.get("originals", ()))
        if held != len(names):
            self.problems.append(f"part {key} holds {held} originals for {len(names)} rows")
            return None
        x, y, ids = originals(self.ledger, key)
        self.report(key, names, self.outside(x), "leaves the box")
        if self.data is not None:
            self.compare(
                key, ids.flatten().numpy(), y.flatten().numpy(), x.flatten(0, ids.dim() - 1)
            )
        known = ((y >= 0) & (y < self.setting.classes)).view(len(y), -1).all(1).numpy()
        self.report(key, names, ~known, "has a label that is no class of the model")
        place = torch.arange(len(y)) + int(key.rpartition("-")[2]) * self.size
        examples = _Examples(ids, y, x, y.clamp(0, self.setting.classes - 1), place)
        self.decisions(key, part, tensors, examples)
        return examples

    def decisions(
        self, key: str, part: Columns, tensors: dict[str, Tensor], examples: _Examples
    ) -> None:
        """Compare clean decisions with those recorded."""
        names = part["id"].astype(np.int64)
        clean = self.judge.clean(examples.x, examples.y, examples.ids)
        now = clean.margin.numpy()
        near = (np.abs(now) < ROUNDING) & (np.abs(part["margin"]) < ROUNDING)
        self.report(
            key, names, (part["correct"] != clean.correct.numpy()) & ~near,
            "is decided otherwise now: is this the same model, with the same weights?",
        )  # fmt: skip
        if clean.logits is not None:
            other = _other_prediction(part["prediction"], clean)
            self.report(key, names, other, "has another prediction than the one recorded")
        if "wrong" in clean.tensors:
            other = (clean.tensors["wrong"] != tensors["wrong"]).flatten(1).any(1).numpy()
            self.report(key, names, other & ~near, "is decided otherwise now behind some domain")
        self.report(key, names, ~_alike(part["margin"], now), "has another margin than recorded")

    def compare(self, key: str, ids: Array, labels: Array, x: Tensor) -> None:
        """Check clean inputs and labels against the data set."""
        assert self.data is not None
        place = places(self.data.ids.numpy(), ids)
        known = place >= 0
        self.report(key, ids, ~known, "is not in the data")
        where = torch.from_numpy(place[known])
        images, mine = self.data.images[where], x[torch.from_numpy(known)]
        if images.shape[1:] != mine.shape[1:]:
            self.problems.append(
                f"part {key} holds inputs of shape {tuple(mine.shape[1:])}, "
                f"the data {tuple(images.shape[1:])}: is this the same data set?"
            )
            return
        other = (self.setting.box.near(images.to(mine)) != mine).flatten(1).any(1).numpy()
        self.report(key, ids[known], other, "is not the data's input")
        other = self.data.labels[where].numpy() != labels[known]
        self.report(key, ids[known], other, "has another label than in the data")

    def part(self, key: str, task: Task, examples: _Examples | None) -> None:
        """Check a task's part: judge all points that it holds."""
        part, tensors = self.ledger.part(key), self.ledger.tensors(key)
        ids, broken, row = part["id"], part["broken"].astype(bool), part["row"]
        other = (part["threat"] != str(task.threat)) | (part["task"] != task.name)
        self.report(key, ids, other, f"is not recorded as {task.name} under {task.threat}")
        for mask, what in task.flaws(part):
            self.report(key, ids, mask, what)
        points = tensors.get("points", torch.zeros(0))
        kept = broken | task.keeps_all
        if sorted(row[kept].tolist()) != [*range(len(points))] or (row[~kept] != -1).any():
            self.problems.append(f"part {key}: its rows and its {len(points)} points do not match")
        at = places(first(examples.ids), ids) if examples else np.full(len(ids), -1)
        home = at >= 0
        if examples is not None:
            other = home.copy()
            other[home] = first(examples.labels).numpy()[at[home]] != part["label"][home]
            self.report(key, ids, other, "has another label than in its clean part")
        whole = examples is not None and task.fits(points, examples.x)
        held = (row >= 0) & (row < len(points)) & whole
        for i in np.flatnonzero(broken & ~(home & held)):
            lacks = "its point" if home[i] else "its clean input"
            self.refute(
                part, task, int(i), f"{lacks} is missing from the ledger, or has another shape"
            )
        some = np.flatnonzero(kept & home & held)
        if len(some) and examples is not None:
            pick, where = torch.from_numpy(row[some]), torch.from_numpy(at[some])
            threat = task.threat.take(examples.place[where])
            verdict = self.judge.look(
                threat, examples.x[where], points[pick],
                self.judge.aims(examples.y[where], examples.ids[where]),
                examples.ids[where], task.witness(self.ledger, key, pick),
            )  # fmt: skip
            self.weigh(key, task, {k: v[some] for k, v in part.items()}, verdict, points[pick])
            if verdict.domains is not None and verdict.domain_margins is not None:
                far = verdict.domain_margins.abs() >= ROUNDING
                other = ((verdict.domains != tensors["wrong"][pick].bool()) & far).flatten(1).any(1)
                self.report(key, ids[some], other.numpy(), "fools other domains than recorded")

    def weigh(self, key: str, task: Task, rows: Columns, verdict: Verdict, points: Tensor) -> None:
        """Compare verdicts with what is recorded, and sort what is called broken."""
        ids, broken = rows["id"], rows["broken"].astype(bool)
        margins, distances = verdict.margin.cpu().numpy(), verdict.distance.cpu().numpy()
        allowed, holds = verdict.allowed.cpu().numpy(), verdict.broken.cpu().numpy()
        near = (np.abs(margins) < ROUNDING) & (np.abs(rows["margin"]) < ROUNDING)
        outside = self.outside(points)
        self.confirmed += int((holds & broken).sum())
        for i in np.flatnonzero(broken & ~holds):
            reason = f"the model decides for its label, by {margins[i]:.3g}"
            if outside[i]:
                reason = f"it leaves the box {self.setting.box}"
            elif not allowed[i]:
                reason = f"it lies outside {task.threat}: its distance is {distances[i]:.9g}"
            self.refute(
                rows, task, int(i), reason, float(distances[i]), float(margins[i]),
                settled=not (allowed[i] and near[i]),
            )  # fmt: skip
        self.report(key, ids, holds & ~broken & ~near, "breaks now, and is not recorded as broken")
        same = holds == broken
        other = same & ~np.isclose(rows["distance"], distances, rtol=1e-6, atol=1e-9)
        self.report(key, ids, other, "has another distance than recorded")
        other = same & ~_alike(rows["margin"], margins)
        self.report(key, ids, other, "has another margin than recorded")

    def refute(
        self, rows: Columns, task: Task, i: int, reason: str, distance: float = np.nan,
        margin: float = np.nan, settled: bool = True,
    ) -> None:  # fmt: skip
        """Note a point that does not hold."""
        point = Point(
            int(rows["id"][i]), str(task.threat), task.author(rows, i), reason,
            distance=distance, margin=margin,
        )  # fmt: skip
        (self.refuted if settled else self.unsettled).append(point)

    def totals(self) -> bool:
        """Check what the parts add up to; whether the run was finished."""
        file = self.ledger.path / "summary.json"
        try:
            stored = self.ledger.summary()
            if stored is None:
                return False
            found = plain(self.question.again(stored).summarise(self.ledger))
        except (AttributeError, IndexError, KeyError, TypeError, ValueError) as error:
            self.problems.append(f"the parts do not add up: {error}")
            return file.exists()
        own = {name: value for name, value in stored.items() if name in found}
        for name, there, here in differences(own, found):
            line = f"{file} says that {name} is {short(there)}, the parts give {short(here)}"
            if name == "manifest_sha256":
                line = f"{self.ledger.path / 'manifest.json'} was changed after {file} was written"
            self.problems.append(line)
        return bool(stored.get("finished", True))

    def outside(self, x: Tensor) -> Array:
        """Which inputs leave the box, or hold NaN."""
        lo, hi = self.setting.box.bounds(x)
        inside: Array = ((x >= lo) & (x <= hi)).flatten(1).all(1).numpy()
        return ~inside

    def report(self, key: str, ids: Array, found: Array, what: str) -> None:
        """One line on all examples of a part that something is wrong with."""
        if found.any():
            among = f" (one of {int(found.sum())})" if found.sum() > 1 else ""
            self.problems.append(f"part {key}: example {ids[found][0]}{among} {what}")


def _joined(parts: list[_Examples]) -> _Examples | None:
    """Examples of several clean parts as those of one; None of none."""
    if not parts:
        return None
    names = [f.name for f in fields(_Examples)]
    return _Examples(*(torch.cat([getattr(part, name) for part in parts]) for name in names))


def _other_prediction(recorded: Array, clean: CleanVerdict) -> Array:
    """Examples whose recorded prediction is not, within rounding, the largest logit."""
    assert clean.logits is not None
    given = torch.from_numpy(recorded).to(clean.logits.device)
    known = (given >= 0) & (given < clean.logits.shape[1])
    chosen = clean.logits.gather(1, (given * known)[:, None])[:, 0]
    other: Array = (~known | (chosen < clean.logits.amax(1) - ROUNDING)).cpu().numpy()
    return other


def _alike(recorded: Array, found: Array) -> Array:
    """Whether margins are equal, up to what another device or batch size may change."""
    return np.isclose(recorded, found, rtol=1e-3, atol=1e-3, equal_nan=True)
