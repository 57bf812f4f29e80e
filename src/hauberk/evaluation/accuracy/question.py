"""The question of :func:`hauberk.evaluate`: which examples stand under a union of threats?"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from itertools import count, groupby
from typing import Any, Self
from zlib import crc32

import numpy as np
import torch
from torch import Tensor

from hauberk.engine.method import Method, WarmStart
from hauberk.errors import InputError
from hauberk.evaluation.accuracy import floor
from hauberk.evaluation.accuracy.evidence import evidence
from hauberk.evaluation.accuracy.floor_summary import with_floor
from hauberk.evaluation.accuracy.result import Result
from hauberk.evaluation.accuracy.scheduler import Front, Scheduler
from hauberk.evaluation.accuracy.searched import copy_of, searched
from hauberk.evaluation.accuracy.suites import USUAL, Stage, Suite, suite_from
from hauberk.evaluation.accuracy.summary import summarise
from hauberk.evaluation.accuracy.targets import linear_targets
from hauberk.evaluation.core import goals
from hauberk.evaluation.core.bound import of_models
from hauberk.evaluation.core.judge import Judge, PointJudge
from hauberk.evaluation.core.prepare import Setting
from hauberk.evaluation.core.progress import Reporter
from hauberk.evaluation.core.question import Question
from hauberk.evaluation.core.recorded import threat_from
from hauberk.evaluation.core.task import Block, Portion, Report, Search, Task, outcomes
from hauberk.store.files import Columns
from hauberk.store.ledger import Store, joined, places
from hauberk.threats.base import Threat
from hauberk.victims.fast_copy import SearchOn
from hauberk.victims.goals import Goal

MASKED = 5.0
"""Where gradients seem masked, margins say little of what can break: a point may cost so much more.
"""


class Points(StrEnum):
    """Which points an attack is run on."""

    STANDING = "standing"
    """Those that still stand under its threat."""
    UNION = "union"
    """Those that still stand under every threat."""
    ALL = "all"
    """All that the model gets right when clean."""

    @classmethod
    def of(cls, union_only: bool, all_attacks: bool) -> "Points":
        """From the two flags of :func:`hauberk.evaluate`.

        Raises:
            InputError: if both are given.
        """
        if union_only and all_attacks:
            raise InputError("union_only and all_attacks exclude each other: choose one")
        return cls.UNION if union_only else cls.ALL if all_attacks else cls.STANDING


@dataclass(frozen=True)
class Accuracy(Question[Result]):
    """Which examples no attack of a suite breaks, under each threat and under their union.

    Args:
        threats: in the order of the run.
        suite: the attacks.
        points: which points an attack is run on.
        floor: how many standing points get about ten times the passes once the suite is done, to
            bound how far the union accuracy could still fall; 0 for none.
        on: what the attacks search on, if not on the model as it is.
        goal: what counts as broken, if not every wrong class.
        left_out: examples that are of the goal's class already.

    Example:
        >>> from hauberk import Linf
        >>> from hauberk.evaluation.accuracy.catalogue import SUITES
        >>> question = Accuracy((Linf(0.1),), SUITES["fast"])
        >>> Accuracy.of(question.facts()).facts() == question.facts()
        True
    """

    kind = "accuracy"
    block = 250

    threats: tuple[Threat, ...]
    suite: Suite
    points: Points = Points.STANDING
    floor: int = field(default=0, kw_only=True)
    on: SearchOn = field(default=SearchOn(), kw_only=True)
    goal: Goal | None = field(default=None, kw_only=True)
    left_out: int = field(default=0, kw_only=True)

    def __post_init__(self) -> None:
        if isinstance(self.floor, bool) or not isinstance(self.floor, int) or self.floor < 0:
            raise InputError(f"floor is {self.floor!r}: give a number of points, or 0 for none")

    @property
    def schedule(self) -> list[tuple[Threat, str, Stage]]:
        """Threat, name and stage in the order in which they are run."""
        return self.suite.schedule(self.threats)

    def facts(self) -> dict[str, Any]:
        return {
            "threats": [str(t) for t in self.threats],
            "suite": self.suite.name,
            "suite_version": self.suite.version,
            "suite_price": self.suite.price,
            "attacks": self.suite.describe(),
            "schedule": [
                {"threat": str(t), "attack": name} | ({} if stage.whole else {"optional": True})
                for t, name, stage in self.schedule
            ],
            "union_only": self.points is Points.UNION,
            "all_attacks": self.points is Points.ALL,
            **({"floor": self.floor} if self.floor else {}),
            **self.on.facts(),
            **goals.facts(self.goal, self.left_out),
        }

    @classmethod
    def of(cls, manifest: Mapping[str, Any], objects: Mapping[str, Any] = {}) -> Self:
        threats = tuple(threat_from(name, objects) for name in manifest["threats"])
        points = Points.of(bool(manifest["union_only"]), bool(manifest["all_attacks"]))
        floor, on = int(manifest.get("floor", 0)), SearchOn.of(manifest)
        return cls(
            threats, suite_from(manifest, objects), points, floor=floor, on=on,
            **goals.recorded(manifest),
        )  # fmt: skip

    def bind(self, setting: Setting) -> tuple[Self, Setting]:
        bound = self.recall(setting)
        if self.goal is not None:
            goal, setting, out = goals.settled(self.goal, setting, bound.threats)
            bound = replace(bound, goal=goal, left_out=out)
        if self.floor:
            floor.require_searches(bound, setting)
        if self.on:
            setting = replace(setting, copy=copy_of(setting, self.on))
        return bound, setting

    def recall(self, setting: Setting) -> Self:
        return replace(self, threats=tuple(of_models(t, setting.victims) for t in self.threats))

    @property
    def has_after(self) -> bool:
        return bool(self.floor)

    def parts(self) -> Any:
        return {"suite": self.suite.stages, "threats": self.threats}

    def tasks(self, setting: Setting) -> Sequence["AttackTask"]:
        schedule = self.schedule
        always = frozenset(name for _, name, stage in schedule if stage.when == "always")
        return [
            AttackTask(
                key=f"attack-{{}}-{k:03d}", name=name, threat=threat, stage=stage,
                points=self.points, always=always, classes=setting.classes, manifest=self.facts(),
                # Later stages mostly meet few points; what they can cost at most is their weight.
                weight=1e-9 + stage.passes(setting.classes) * threat.variants
                * (USUAL if stage.adaptive else 1),
            )
            for k, (threat, name, stage) in enumerate(schedule)
        ]  # fmt: skip

    def plan(self, block: Block, tasks: Sequence[Task]) -> Iterator[Task]:
        mine = [task for task in tasks if isinstance(task, AttackTask)]
        for adaptive, run in groupby(mine, key=lambda task: task.stage.adaptive):
            group = list(run)
            yield from self.where_it_pays(block, group) if adaptive else group

    def where_it_pays(self, block: Block, tasks: "Sequence[AttackTask]") -> "Iterator[AttackTask]":
        """Portions of adaptive stages, as the scheduler deals them."""
        due = {task.key: task.due(block) for task in tasks}
        arms = [task for task in tasks if due[task.key] is not None]
        if self.points is Points.ALL:
            yield from arms
            return
        fronts: dict[str, Front] = {}
        for arm in arms:
            if arm.group in fronts:  # all arms of a threat are for the same points
                continue
            stands = np.zeros(len(block.recorded["id"]), dtype=bool)
            stands[due[arm.key]] = True
            clean = block.recorded["margin"].astype(np.float64)
            fronts[arm.group] = Front(clean, block.nearest(arm.group), stands)
        masked = any(arm.stage.when == "masked" for arm in arms)
        scheduler = Scheduler(arms, fronts, self.suite.price * (MASKED if masked else 1))
        for number in count():
            if (dealt := scheduler.next()) is None:
                return
            arm, rows = dealt
            yield replace(
                arm, key=f"{arm.key}-{number:03d}", rows=torch.from_numpy(rows),
                weight=arm.cost * len(rows) / len(block.x),
            )  # fmt: skip
            part = block.taken[-1][2]
            scheduler.learn(arm, block.at(part), part["broken"].astype(bool), part["margin"])
            if self.points is Points.UNION:
                broken = block.at(part)[part["broken"].astype(bool)]
                for front in fronts.values():
                    front.stands[broken] = False

    def judge(self, setting: Setting) -> Judge:
        return PointJudge(setting.victim.aiming(self.goal), setting.box)

    def after(self, setting: Setting, store: Store, judge: Judge, reporter: Reporter) -> None:
        if self.floor:
            floor.explore(self, setting, store, judge, reporter)

    def across(self, store: Store) -> Sequence[Task]:
        return floor.tasks(self, store)

    def owns(self, key: str) -> bool:
        return key == floor.PLAN

    def extra_weight(self, setting: Setting) -> float:
        return floor.weight(self, setting) if self.floor else 0.0

    def summarise(self, store: Store) -> dict[str, Any]:
        found = summarise(store.rows("clean-"), store.rows("attack-"), store.manifest)
        return with_floor(found, store) if self.floor else found

    def result(self, store: Store, summary: dict[str, Any]) -> Result:
        return Result(summary=summary, store=store)


@dataclass(frozen=True, kw_only=True)
class AttackTask(Task):
    """One stage of a suite under one threat.

    Args:
        stage: the attack, and the points that it is for.
        points: which points attacks of the run are for.
        always: names of the stages that are always run, which evidence is taken from.
        classes: of the model.
        manifest: the question's facts, which evidence is read with.
        rows: the portion of a block that it is for, ``(M,)`` int64; None for all that stand.
    """

    stage: Stage
    points: Points
    always: frozenset[str]
    classes: int
    manifest: Mapping[str, Any] = field(repr=False)
    rows: Tensor | None = field(default=None, repr=False, compare=False)

    @property
    def group(self) -> str:
        """The threat's notation: what arms of a scheduler have in common."""
        return str(self.threat)

    @property
    def cost(self) -> float:
        """Most passes of a point that it does not break."""
        return self.stage.passes(self.classes) * self.threat.variants

    @property
    def odds(self) -> float:
        """Prior log-odds that it breaks a point."""
        return self.stage.odds

    def method(self) -> Method:
        return self.stage.attack

    def due(self, block: Block) -> Tensor | None:
        if self.rows is not None:
            return self.rows
        every = self.points is Points.ALL
        if not every and self.stage.when not in ("always", self.signs(block)):
            return None
        due = block.correct
        if not every:
            others = {str(task.threat) for task, _, _ in block.taken}
            for threat in {str(self.threat)} | (others if self.points is Points.UNION else set()):
                due = due & ~block.broken(threat)
        index = due.nonzero().squeeze(1)
        if self.stage.carry:  # of a point that broke nowhere else it would start from the clean one
            broke = [at[part["broken"].astype(bool)] for at, part, _ in self.elsewhere(block)]
            index = index[np.isin(index.numpy(), np.concatenate(broke) if broke else ())]
        return index

    def signs(self, block: Block) -> str:
        """Whether the block's rows so far speak for ``masked`` gradients, or not (``unmasked``)."""
        parts = [part for task, _, part in block.taken if task.name in self.always]
        parts = [part for part in parts if len(part["id"])]
        # Judged again only when there is more to judge by.
        if block.notes.get("parts") != len(parts):
            signs = evidence(block.recorded, joined(parts), self.manifest) if parts else []
            masked = any(sign.masked for sign in signs)
            block.notes |= {"parts": len(parts), "signs": "masked" if masked else "unmasked"}
        return str(block.notes.get("signs", "unmasked"))

    def search(self, block: Block, index: Tensor, report: Report) -> Search:
        warm = self.carried(block, index) if self.stage.carry else None
        for rows in self.portions(block, index):
            attack = self.stage.attack
            if warm is not None:
                most = int(warm.take(rows).mask.sum(1).max()) if len(rows) else 1
                attack = attack.beginning_at(most)
            at, logits = index[rows], block.clean.logits
            aims = linear_targets(block, self.threat, attack, at, self.manifest["threats"])
            job = replace(
                block.job(self.threat, at, report),
                stream=crc32(f"{self.threat} {self.name}".encode()),
                warm=None if warm is None else warm.take(rows),
                clean_logits=None if logits is None else logits[at.to(logits.device)],
                targets=aims.classes,
            )
            verdict = yield at, aims.counted(searched(block.setting, attack, job))
            if not bool(verdict.broken.any()):
                return

    def portions(self, block: Block, index: Tensor) -> Sequence[Tensor]:
        """Rows of ``index``: all at once, or those nearest to the decision boundary first."""
        if self.stage.portion == 1 or self.points is Points.ALL:
            return [torch.arange(len(index))]
        near = block.nearest(str(self.threat))[index.numpy()]
        order = torch.from_numpy(np.argsort(near, kind="stable"))
        size = max(1, round(self.stage.portion * len(index)))
        return list(order.split(size)) or [order]

    def elsewhere(self, block: Block) -> list[tuple[Any, Columns, str]]:
        """Rows of the block, columns and keys of all parts under other threats."""
        return [
            (block.at(part), part, key)
            for threat in dict.fromkeys(str(task.threat) for task, _, _ in block.taken)
            for task, key, part in block.taken
            if str(task.threat) == threat != str(self.threat)
        ]

    def carried(self, block: Block, index: Tensor) -> WarmStart:
        """What broke the examples ``index`` (M,) under other threats: a point for each at most."""
        width = max(1, len({str(task.threat) for task, _, _ in block.taken} - {str(self.threat)}))
        x = block.x[index].cpu()
        warm = x[:, None].repeat(1, width, *[1] * (x.dim() - 1))
        filled = torch.zeros(len(index), dtype=torch.long)
        seen: set[tuple[int, str]] = (
            set()
        )  # with all attacks, a threat may break a point repeatedly
        for rows, part, key in self.elsewhere(block):
            row = places(index.numpy(), rows)
            broke = np.flatnonzero(part["broken"].astype(bool) & (row >= 0))
            fresh = [k for k in broke if (int(row[k]), str(part["threat"][k])) not in seen]
            if not fresh:
                continue
            seen.update((int(row[k]), str(part["threat"][k])) for k in fresh)
            at = torch.from_numpy(row[fresh])
            points = block.store.tensors(key)["points"][part["row"][fresh]].to(warm.dtype)
            warm[at, filled[at]] = points
            filled[at] += 1
        return WarmStart(warm, torch.arange(width) < filled[:, None])

    def columns(self, found: Sequence[Portion]) -> Columns:
        many = sum(len(f.index) for f in found)
        names = ("worst", "zero", "huge", "violation")
        numbers = {name: outcomes(found, name, np.float64) for name in names}
        return {
            "attacked": np.ones(many, dtype=bool),
            "attempt": outcomes(found, "attempt", np.int64),
            "loss": outcomes(found, "loss", np.float64),
            **numbers,
        }
