"""The floor: how far an accuracy could still fall, from points drawn among those that stand.

What a suite left standing it left at one budget. A sample of these points, drawn at random whatever
their margin, gets a budget several times as large; the share of it that falls bounds, at a stated
confidence, the share of all standing points that would (Clopper & Pearson 1934).
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Protocol, TypeAlias
from zlib import crc32

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from hauberk.engine.method import Job, Method
from hauberk.errors import InputError
from hauberk.evaluation.accuracy.floor_searches import LEAST, SEARCHES, TIMES, fitting, sized
from hauberk.evaluation.accuracy.floor_searches import Search as FloorSearch
from hauberk.evaluation.accuracy.suites import Suite
from hauberk.evaluation.core.judge import Judge
from hauberk.evaluation.core.prepare import Setting
from hauberk.evaluation.core.progress import Reporter
from hauberk.evaluation.core.recorded import attack_from
from hauberk.evaluation.core.run import take
from hauberk.evaluation.core.task import Block, Portion, Report, Search, Task, outcomes
from hauberk.maths.rng import Draws
from hauberk.store.files import Columns, plain
from hauberk.store.ledger import Store, places
from hauberk.threats.base import Threat

PLAN = "plan-floor"
"""Key of the part that says which searches the floor is made of."""
PARTS = "floor-"
"""How the keys of the floor's own parts start."""

Ids: TypeAlias = npt.NDArray[np.int64]

_STREAM = crc32(b"floor")


class Floored(Protocol):
    """What the floor needs of a question: its threats, its suite, and how many points to draw."""

    @property
    def threats(self) -> tuple[Threat, ...]: ...
    @property
    def suite(self) -> Suite: ...
    @property
    def floor(self) -> int: ...


@dataclass(frozen=True, kw_only=True)
class FloorTask(Task):
    """One search of the floor under one threat, on the drawn points that nothing broke yet.

    Args:
        attack: what is run.
    """

    attack: Method

    def method(self) -> Method:
        return self.attack

    def due(self, block: Block) -> Tensor:
        stands = block.correct
        for _, _, part in block.taken:
            stands[torch.from_numpy(block.at(part)[part["broken"].astype(bool)])] = False
        return stands.nonzero().squeeze(1)

    def search(self, block: Block, index: Tensor, report: Report) -> Search:
        logits = block.clean.logits
        job = replace(
            block.job(self.threat, index, report),
            stream=crc32(f"{self.threat} {self.name}".encode()),
            clean_logits=None if logits is None else logits[index.to(logits.device)],
        )
        yield index, self.attack.run(block.setting.victim, job)

    def columns(self, found: Sequence[Portion]) -> Columns:
        return {
            "attempt": outcomes(found, "attempt", np.int64),
            "loss": outcomes(found, "loss", np.float64),
        }


def require_searches(asked: Floored, setting: Setting) -> None:
    """Refuse before any work what the floor could not be estimated under.

    Raises:
        InputError: if no search fits a threat, or the suite has a stage of the floor's name.
    """
    if "floor" in asked.suite.stages:
        raise InputError("a stage of the suite is called floor, as the floor's row is: rename it")
    for threat in asked.threats:
        if not _fitting(threat, setting):
            raise InputError(f"the floor has no search for {threat}: leave floor out")


def explore(
    asked: Floored, setting: Setting, store: Store, judge: Judge, reporter: Reporter
) -> None:
    """Draw the points, once the whole suite is done, and do every search on them.

    What the store holds already is taken as it is, so an interrupted floor goes on.
    """
    clean, attacks = store.rows("clean-"), store.rows("attack-")
    left = standing(clean, attacks)
    drawn = draw(left, asked.floor, setting.seed)
    if len(drawn):
        if not store.has(PLAN):
            store.write(PLAN, plan(asked, setting, attacks, left))
        rows, ids = places(clean["id"], drawn), torch.from_numpy(drawn)
        index = torch.from_numpy(places(setting.ids.numpy(), drawn))
        x = setting.x[index]
        verdict = judge.clean(x, setting.y[index], ids)
        recorded = {name: column[rows] for name, column in clean.items()}
        block = Block(setting, store, 0, index, x, verdict, recorded)
        with reporter.share(weight(asked, setting)):
            for task in tasks(asked, store):
                much = task.weight * len(drawn)
                take(task, block, judge, reporter.within(much, task.label))
                reporter.finish(much, task.label)
    else:
        reporter.finish(weight(asked, setting), "floor")


def standing(clean: Columns, attacks: Columns) -> Ids:
    """Ids of the examples that the suite left standing under every threat, in the data's order."""
    lost = attacks["id"][attacks["broken"].astype(bool)] if attacks else ()
    found: Ids = clean["id"][clean["correct"].astype(bool) & ~np.isin(clean["id"], lost)]
    return found.astype(np.int64)


def draw(ids: Ids, n: int, seed: int) -> Ids:
    """``n`` of the ids, or all of them, in their order: each subset is as likely as any other.

    Only the seed and the ids decide, not their order nor anything that was found; a larger draw
    holds the smaller ones.

    Example:
        >>> len(draw(np.arange(100), 60, seed=0)), draw(np.arange(3), 60, seed=0).tolist()
        (60, [0, 1, 2])
    """
    ranks = Draws.of(seed, torch.from_numpy(ids), _STREAM).bits(0, ())
    return ids[np.sort(np.argsort(ranks.numpy(), kind="stable")[:n])]


def plan(asked: Floored, setting: Setting, attacks: Columns, left: Ids) -> Columns:
    """The searches, one row each: threat, name, attack, and its most passes on a point.

    A threat gets :data:`TIMES` what the suite spent under it on a standing point in the mean.

    Args:
        attacks: columns of the suite's parts; left: ids of the standing points.
    """
    rows: list[tuple[Threat, str, Method]] = []
    for threat in asked.threats:
        spent = spent_on(attacks, left, str(threat)) / max(
            v.draws for v in setting.victims.values()
        )
        fits = _fitting(threat, setting)
        made = sized(fits, threat, max(LEAST, TIMES * spent), setting.classes)
        rows += [(threat, name, attack) for name, attack in made.items()]
    order = list(SEARCHES)
    rows.sort(key=lambda row: order.index(row[1]))  # each under every threat before the next
    return {
        "threat": np.array([str(threat) for threat, _, _ in rows]),
        "task": np.array([name for _, name, _ in rows]),
        "attack": np.array([json.dumps(plain(attack.describe())) for _, _, attack in rows]),
        "passes": np.array(
            [
                attack.passes_on(threat) * attack.attempts(setting.classes) * threat.variants
                for threat, _, attack in rows
            ]
        ),
    }


def spent_on(rows: Columns, ids: Ids, threat: str | None = None) -> float:
    """Passes of the rows, of one threat or all, for each of the ids (M,), in the mean."""
    mine = np.isin(rows["id"], ids)
    if threat is not None:
        mine &= rows["threat"] == threat
    return float((rows["forwards"][mine] + rows["backwards"][mine]).sum()) / max(1, len(ids))


def tasks(asked: Floored, store: Store) -> list[FloorTask]:
    """The searches of the plan that the store holds, in order; none without a plan.

    Raises:
        InputError: if it names a threat that the run does not have.
    """
    rows = store.part(PLAN) if asked.floor and store.has(PLAN) else {}
    threats = {str(threat): threat for threat in asked.threats}
    if unknown := [name for name in rows.get("threat", ()) if name not in threats]:
        raise InputError(f"part {PLAN} has the threat {unknown[0]}, which the run does not name")
    return [
        FloorTask(
            key=f"{PARTS}{k:03d}", name=str(rows["task"][k]), threat=threats[rows["threat"][k]],
            attack=attack_from(json.loads(rows["attack"][k])), weight=float(rows["passes"][k]),
        )
        for k in range(len(rows.get("threat", ())))
    ]  # fmt: skip


def weight(asked: Floored, setting: Setting) -> float:
    """Passes that the floor takes in all, as far as the suite says beforehand; for progress."""
    return min(asked.floor, len(setting.x)) * passes(asked, setting.classes)[0]


def passes(asked: Floored, classes: int) -> tuple[int, int]:
    """Passes on a drawn point that stands, as a suite says beforehand what it costs.

    Usually, and at most if the gradients seem masked; what the run has spent decides.
    """
    usual = [asked.suite.usual((threat,), classes) for threat in asked.threats]
    masked = [asked.suite.passes((threat,), classes)[1] for threat in asked.threats]
    most = [sum(max(LEAST, TIMES * cost) for cost in costs) for costs in (usual, masked)]
    return most[0], most[1]


def _fitting(threat: Threat, setting: Setting) -> dict[str, FloorSearch]:
    x, y = setting.x[:1].detach(), setting.y[:1].cpu()
    job = Job(threat=threat.take(torch.arange(1)), x=x.cpu(), y=y, box=setting.box)
    victim, u = setting.victim, x.to(setting.victim.device).requires_grad_(True)
    with victim.held(), torch.enable_grad():
        gradients = victim.logits(u).requires_grad

    def fits(attack: Method) -> bool:
        try:
            attack.check(job)
        except InputError:
            return False
        return True

    return fitting(threat, fits, gradients)
