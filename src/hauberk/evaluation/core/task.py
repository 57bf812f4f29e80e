"""What a run does to a block of examples, task by task: each writes one part of the ledger."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, field
from time import perf_counter
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from hauberk.engine.method import Job, Method
from hauberk.engine.outcome import Outcome
from hauberk.errors import InputError
from hauberk.evaluation.core.judge import CleanVerdict, Judge, Verdict
from hauberk.evaluation.core.prepare import Setting
from hauberk.store.files import Columns
from hauberk.store.ledger import Store, places
from hauberk.threats.base import Threat

Report = Callable[[int, int], None]


@dataclass(frozen=True)
class Portion:
    """A portion of a task's work: the examples ``index`` (M,) of the block, what the search
    returned for them, and what the judge says of it.
    """

    index: Tensor
    outcome: Outcome
    verdict: Verdict


Search = Generator[tuple[Tensor, Outcome], Verdict, None]
"""Yields portions of a block's rows with their outcomes; is sent the judge's verdict of each."""


@dataclass
class Block:
    """Examples whose results are written together, and where they stand.

    Attributes:
        setting, store: of the run.
        number: of the block, from 0.
        rows: its place among the examples; of examples of several blocks, their rows.
        x: clean inputs, ``(B, ...)``.
        clean: what the judge found on the clean inputs now.
        recorded: columns of the clean part, as the ledger has them.
        taken: tasks done so far, in order, each with the key and the columns of its part.
        notes: what tasks of a question keep for each other.
    """

    setting: Setting
    store: Store
    number: int
    rows: slice | Tensor
    x: Tensor = field(repr=False)
    clean: CleanVerdict
    recorded: Columns
    taken: list[tuple["Task", str, Columns]] = field(default_factory=list)
    notes: dict[str, Any] = field(default_factory=dict)

    @property
    def start(self) -> int:
        """The place of its first example among all."""
        return int(self.rows.start if isinstance(self.rows, slice) else self.rows[0])

    @property
    def y(self) -> Tensor:
        """Labels, ``(B,)``; of groups ``(B, M)``."""
        return self.setting.y[self.rows]

    @property
    def ids(self) -> Tensor:
        """Ids of the examples, like the labels."""
        return self.setting.ids[self.rows]

    @property
    def correct(self) -> Tensor:
        """Which clean inputs are recorded as right, ``(B,)`` bool."""
        return torch.from_numpy(self.recorded["correct"].astype(bool))

    def job(self, threat: Threat, index: Tensor, report: Report) -> Job:
        """The search for points of the examples ``index`` (M,) inside a threat."""
        return Job(
            threat=self.bound(threat, index), x=self.x[index], y=self.aims(index),
            ids=first(self.ids[index]), box=self.setting.box, seed=self.setting.seed,
            progress=report,
        )  # fmt: skip

    def aims(self, index: Tensor) -> Tensor:
        """The labels of the examples ``index`` (M,), or what the goal makes of them."""
        goal, y = self.setting.victim.goal, self.y[index]
        return y if goal is None else goal.aims(y, self.ids[index].to(y.device))

    def bound(self, threat: Threat, index: Tensor) -> Threat:
        """The threat to the examples ``index`` (M,) of the block, which may differ from others'."""
        return threat.take(self.places(index))

    def places(self, index: Tensor) -> Tensor:
        """The places of the block's examples ``index`` (M,) among all, ``(M,)`` int64."""
        return index + self.start if isinstance(self.rows, slice) else self.rows[index]

    def at(self, part: Columns) -> npt.NDArray[np.int64]:
        """The block's row of each row of a part."""
        return places(self.recorded["id"], part["id"])

    def broken(self, threat: str) -> Tensor:
        """Which examples some task broke under a threat, ``(B,)`` bool."""
        found = torch.zeros(len(self.recorded["id"]), dtype=torch.bool)
        for task, _, part in self.taken:
            if str(task.threat) == threat:
                found[torch.from_numpy(self.at(part)[part["broken"].astype(bool)])] = True
        return found

    def nearest(self, threat: str) -> npt.NDArray[np.float64]:
        """The least margin of each example, clean or under a threat, ``(B,)``."""
        found = self.recorded["margin"].astype(np.float64)
        for task, _, part in self.taken:
            if str(task.threat) == threat:
                at = self.at(part)
                found[at] = np.fmin(found[at], part["margin"])
        return found


@dataclass(frozen=True)
class Task(ABC):
    """One thing done to the examples of a block, which makes one part of the ledger.

    Args:
        key: of its parts, with ``{}`` where the block's number stands.
        name: what its rows are recorded as, in the column ``task``.
        threat: what points may be; it measures their distance.
        weight: share of the run's work, relative to other tasks.
    """

    key: str
    name: str
    threat: Threat
    weight: float = field(default=1.0, kw_only=True)

    keeps_all: ClassVar[bool] = False
    """Whether the points of all examples are written down."""
    on_all: ClassVar[bool] = False
    """Whether it is for those as well that the models get wrong when clean."""

    @property
    def label(self) -> str:
        """What progress shows."""
        return f"{self.threat} {self.name}"

    def part(self, block: int) -> str:
        """The key of the part of a block."""
        return self.key.format(f"{block:05d}")

    def owns(self, key: str, block: int) -> bool:
        """Whether it is the key of the task's part of a block, or of one of several."""
        return key == self.part(block) or key.startswith(f"{self.part(block)}-")

    def method(self) -> Method | None:
        """What searches, if one method does."""
        return None

    def check(self, setting: Setting) -> None:
        """Refuse before anything is written what would fail later, without passes.

        Raises:
            InputError: if the task cannot be done on such examples.
        """
        method = self.method()
        if method is not None and setting.y.dim() == 1:
            x, y = setting.few(1).detach().cpu(), setting.y[:1].cpu()
            try:
                first_one = self.threat.take(torch.arange(1))
                method.check(Job(threat=first_one, x=x, y=y, box=setting.box))
            except InputError as error:
                raise InputError(f"{self.name} under {self.threat}: {error}") from error

    def due(self, block: Block) -> Tensor | None:
        """Which rows of the block it is for, ``(M,)`` int64; None if it is not called for."""
        return torch.arange(len(block.x)) if self.on_all else block.correct.nonzero().squeeze(1)

    @abstractmethod
    def search(self, block: Block, index: Tensor, report: Report) -> Search:
        """Look for points, portion by portion."""

    def kept(self, verdict: Verdict) -> Tensor:
        """Rows whose points are written down, ``(M,)`` bool: of those that broke, or of all."""
        return verdict.broken | self.keeps_all

    def flaws(self, part: Columns) -> list[tuple[npt.NDArray[Any], str]]:
        """What cannot be true of a recorded part: which rows, and what is wrong with them."""
        return []

    def columns(self, found: Sequence[Portion]) -> Columns:
        """Columns of its own, beside the common ones."""
        return {}

    def tensors(self, found: Sequence[Portion]) -> dict[str, Tensor]:
        """Tensors of its own, beside ``points``, ``witness`` and, of several domains, ``wrong``."""
        return {}

    def fits(self, points: Tensor, x: Tensor) -> bool:
        """Whether recorded points have the shape that goes with inputs ``x`` (B, ...)."""
        return points.shape[1:] == x.shape[1:]

    def author(self, part: Columns, row: int) -> str:
        """What found the point of a row: the task, unless it has several searchers."""
        return self.name

    def witness(self, store: Store, key: str, rows: Tensor) -> Tensor | None:
        """Witnesses of the points ``rows`` of a part; None without."""
        held = store.tensors(key).get("witness")
        return None if held is None else held[rows]


def do(task: Task, block: Block, index: Tensor, judge: Judge, report: Report) -> None:
    """Search, judge, and write the part: the one place where this happens."""
    begun = perf_counter()
    x, y, ids = block.x, block.y, block.ids
    found: list[Portion] = []
    search = task.search(block, index, report)
    try:
        rows, outcome = next(search)
        while True:
            threat = block.bound(task.threat, rows)
            aims = judge.aims(y[rows], ids[rows])
            outcome, verdict = judge(threat, x[rows], outcome, aims, ids[rows])
            found.append(Portion(rows, outcome, verdict))
            rows, outcome = search.send(verdict)
    except StopIteration:
        pass
    columns = {**_common(task, block, found), **task.columns(found)}
    many = len(columns["id"])
    columns["seconds"] = np.full(many, (perf_counter() - begun) / max(1, many))
    block.store.write(task.part(block.number), columns, _points(task, block, found))


def _common(task: Task, block: Block, found: Sequence[Portion]) -> Columns:
    """The columns that every part has."""
    index = torch.cat([f.index for f in found]) if found else torch.zeros(0, dtype=torch.int64)
    broken = verdicts(found, "broken").astype(bool)
    kept = np.concatenate([task.kept(f.verdict).cpu().numpy() for f in found] or [broken])
    many = len(index)
    return {
        "id": first(block.ids[index]).numpy(),
        "label": first(block.y[index.to(block.y.device)]).cpu().numpy(),
        "threat": np.full(many, str(task.threat)),
        "task": np.full(many, task.name),
        "claimed": outcomes(found, "fooled", bool) | broken,
        "broken": broken,
        "margin": verdicts(found, "margin"),
        "distance": verdicts(found, "distance"),
        "forwards": outcomes(found, "forwards", np.int64),
        "backwards": outcomes(found, "backwards", np.int64),
        "row": np.where(kept, np.cumsum(kept) - 1, -1),
    }


def _points(task: Task, block: Block, found: Sequence[Portion]) -> dict[str, Tensor]:
    if not found:
        x = block.x[:0].detach().cpu()
        return {"points": x if x.dtype == torch.float64 else x.float()}
    rows = [task.kept(f.verdict) for f in found]

    def chosen(values: Sequence[Tensor]) -> Tensor:
        picked = [v[r.to(v.device)].cpu() for v, r in zip(values, rows, strict=True)]
        return torch.cat(picked).contiguous()

    tensors = {"points": chosen([f.outcome.points for f in found])}
    witnesses = [f.outcome.witness for f in found if f.outcome.witness is not None]
    if witnesses:
        tensors["witness"] = chosen(witnesses)
    domains = [f.verdict.domains for f in found if f.verdict.domains is not None]
    if domains:
        tensors["wrong"] = torch.cat(domains).to(torch.uint8)
    return tensors | task.tensors(found)


def outcomes(found: Sequence[Portion], name: str, kind: Any) -> npt.NDArray[Any]:
    """What the outcomes say under a name, one row each; NaN where one does not say."""
    parts = [getattr(f.outcome, name) for f in found]
    if any(part is None for part in parts):
        return np.full(sum(len(f.index) for f in found), np.nan)
    return np.concatenate([part.cpu().numpy() for part in parts] or [np.zeros(0)]).astype(kind)


def verdicts(found: Sequence[Portion], name: str) -> npt.NDArray[Any]:
    """What the verdicts say under a name, one row each."""
    return np.concatenate([getattr(f.verdict, name).cpu().numpy() for f in found] or [np.zeros(0)])


def first(values: Tensor) -> Tensor:
    """One value an example: of a group, that of its first member."""
    return values if values.dim() == 1 else values[:, 0]
