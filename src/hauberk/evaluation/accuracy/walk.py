"""The walk of a run through blocks of examples, stages and threats."""

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from zlib import crc32

import numpy as np
import torch
from torch import Tensor

from hauberk.attacks.base import Attack
from hauberk.engine.method import Job, Method, WarmStart
from hauberk.engine.outcome import Outcome
from hauberk.errors import InputError
from hauberk.evaluation.accuracy.evidence import evidence
from hauberk.evaluation.accuracy.suites import Stage
from hauberk.evaluation.core.judge import Verdict, decide, judge
from hauberk.evaluation.core.same import require_same_decisions
from hauberk.maths.losses import margin
from hauberk.store.ledger import Ledger, MemoryLedger
from hauberk.threats.base import Box, Threat
from hauberk.victims.victim import Victim

BLOCK = 1000
"""Examples that share the parts of the ledger: an interrupted run repeats at most one part."""


@dataclass(frozen=True)
class Progress:
    """Where a run stands: the share of its work done, what it is doing, and its cost so far."""

    done: float
    doing: str
    forwards: int
    backwards: int


@dataclass(frozen=True)
class Walk:
    """All that a run is made of; calling it runs whatever the store does not hold yet."""

    victim: Victim
    x: Tensor
    y: Tensor
    ids: Tensor
    schedule: list[tuple[Threat, str, Stage]]
    box: Box
    seed: int
    store: Ledger | MemoryLedger
    progress: Callable[[Progress], None] | None = None
    union_only: bool = False
    all_attacks: bool = False

    def __call__(self) -> None:
        first = self.victim.forwards, self.victim.backwards
        # Later stages mostly meet few points; what they can cost at most is their weight.
        weights = [1e-9 + stage.passes() * t.variants for t, _, stage in self.schedule]
        total, done = sum(weights) * len(self.x), 0.0

        def report(share: float, doing: str) -> None:
            if self.progress is not None:
                spent = self.victim.forwards - first[0], self.victim.backwards - first[1]
                self.progress(Progress(min(share, 1.0), doing, *spent))

        for number, start in enumerate(range(0, len(self.x), BLOCK)):
            block = _Block(self, number, slice(start, start + BLOCK))
            for k, (threat, name, _) in enumerate(self.schedule):
                share = weights[k] * len(block.x) / total

                def tell(settled: int, jobs: int, doing: str = f"{threat} {name}") -> None:
                    report(done + share * settled / max(1, jobs), doing)  # noqa: B023

                block.stage(k, tell)
                done += share
                report(done, f"{threat} {name}")


class _Block:
    """Up to a thousand examples, and where they stand."""

    def __init__(self, walk: Walk, number: int, rows: slice) -> None:
        self.walk, self.number = walk, number
        self.x, self.y, self.ids = walk.x[rows], walk.y[rows], walk.ids[rows]
        self.place = {int(i): k for k, i in enumerate(self.ids)}
        self.logits, self.correct = self.clean(f"clean-{number:05d}")
        self.standing = {str(t): self.correct.clone() for t, _, _ in walk.schedule}
        self.nearest: dict[str, np.ndarray] = {}
        self.keys: dict[str, list[str]] = {}
        self.signs: str | None = None

    def clean(self, key: str) -> tuple[Tensor, Tensor]:
        """Clean logits and decisions; on resuming, the decisions that the store holds."""
        walk = self.walk
        begun = time.perf_counter()
        device = walk.victim.device
        logits, wrong = decide(walk.victim, self.x.to(device), self.y.to(device))
        margins = -margin(logits.double(), self.y.to(device)).cpu()
        if walk.store.has(key):
            part = walk.store.part(key)
            require_same_decisions(part, self.ids, margins, ~wrong, logits)
            return logits, torch.from_numpy(part["correct"].astype(bool))
        if bool(logits.isnan().any()):
            bad = int(self.ids[logits.isnan().any(1).cpu()][0])
            raise InputError(f"the model returns NaN logits on clean input {bad}: repair it first")
        columns = {
            "id": self.ids.numpy(),
            "label": self.y.cpu().numpy(),
            "prediction": logits.argmax(1).cpu().numpy(),
            "margin": margins.numpy(),
            "correct": (~wrong).cpu().numpy(),
            "seconds": np.full(len(self.y), (time.perf_counter() - begun) / max(1, len(self.y))),
        }
        walk.store.write(key, columns, {"originals": self.x.detach().cpu().contiguous()})
        return logits, ~wrong.cpu()

    def stage(self, k: int, tell: Callable[[int, int], None]) -> None:
        """Run one stage under one threat, or read what the store holds of it."""
        walk = self.walk
        threat, name, stage = walk.schedule[k]
        key = f"attack-{self.number:05d}-{k:03d}"
        if not walk.store.has(key):
            if not walk.all_attacks and stage.when not in ("always", self.state()):
                return
            self.run(key, threat, name, stage, self.due(threat), tell)
        part = walk.store.part(key)
        self.keys.setdefault(str(threat), []).append(key)
        if stage.when == "always":
            self.signs = None  # there is more to go by
        at = np.array([self.place[int(i)] for i in part["id"]], dtype=np.int64)
        broken = torch.zeros(len(self.ids), dtype=torch.bool)
        broken[torch.from_numpy(at[part["broken"].astype(bool)])] = True
        self.standing[str(threat)] &= ~broken
        near = self.nearest.setdefault(str(threat), np.full(len(self.ids), np.inf))
        near[at] = np.fmin(near[at], part["margin"])

    def due(self, threat: Threat) -> Tensor:
        """Which points a stage is for."""
        if self.walk.all_attacks:
            return self.correct
        due = self.standing[str(threat)]
        if self.walk.union_only:
            due = torch.stack([due, *self.standing.values()]).all(0)
        return due

    def state(self) -> str:
        """Whether the block's rows so far speak for ``masked`` gradients, or not (``unmasked``)."""
        if self.signs is None:
            self.signs = self._state()
        return self.signs

    def _state(self) -> str:
        store, walk = self.walk.store, self.walk
        parts = [store.part(key) for keys in self.keys.values() for key in keys]
        always = {name for _, name, stage in walk.schedule if stage.when == "always"}
        parts = [p for p in parts if len(p["id"]) and p["attack"][0] in always]
        if not parts:
            return "unmasked"
        rows = {name: np.concatenate([p[name] for p in parts]) for name in parts[0]}
        clean = store.part(f"clean-{self.number:05d}")
        signs = evidence(clean, rows, store.manifest)
        return "masked" if any(sign.masked for sign in signs) else "unmasked"

    def run(
        self, key: str, threat: Threat, name: str, stage: Stage, due: Tensor,
        tell: Callable[[int, int], None],
    ) -> None:  # fmt: skip
        """Attack the points that are due, judge what was found, write it down."""
        begun = time.perf_counter()
        index = due.nonzero().squeeze(1)
        warm: Tensor | None = None
        if stage.carry:
            warm, has_warm = self.carried(threat, index)
            if not self.walk.all_attacks:
                rows = has_warm.any(1)
                index, warm, has_warm = index[rows], warm[rows], has_warm[rows]
        portions = [torch.arange(len(index))]
        if stage.share < 1 and not self.walk.all_attacks:
            portions = self.by_nearness(threat, index, stage.share)
        done: list[tuple[Tensor, Outcome, Verdict]] = []
        for rows in portions:
            attack, start = stage.attack, None
            if warm is not None:
                most = int(has_warm[rows].sum(1).max()) if len(rows) else 1
                if isinstance(attack, Attack):
                    attack = replace(attack, restarts=max(attack.restarts, most))
                start = WarmStart(warm[rows], has_warm[rows])
            done.append(self.attack(attack, threat, name, index[rows], tell, start))
            if not bool(done[-1][2].broken.any()):
                break
        self.write(key, threat, name, done, time.perf_counter() - begun)

    def attack(
        self, attack: Method, threat: Threat, name: str, index: Tensor,
        tell: Callable[[int, int], None], warm: WarmStart | None,
    ) -> tuple[Tensor, Outcome, Verdict]:  # fmt: skip
        walk, logits = self.walk, self.logits
        x, y = self.x[index], self.y[index]
        job = Job(
            threat=threat, x=x, y=y, ids=self.ids[index], box=walk.box, seed=walk.seed,
            stream=crc32(f"{threat} {name}".encode()), progress=tell, warm=warm,
            clean_logits=logits[index.to(logits.device)],
        )  # fmt: skip
        found = attack.run(walk.victim, job)
        verdict = judge(walk.victim, threat, x, found.points, y, walk.box, found.witness)
        return index, found, verdict

    def by_nearness(self, threat: Threat, index: Tensor, share: float) -> list[Tensor]:
        """Rows of ``index`` in portions, those nearest to the decision boundary first."""
        clean = self.walk.store.part(f"clean-{self.number:05d}")["margin"]
        near = np.fmin(self.nearest.get(str(threat), clean), clean)[index.numpy()]
        order = torch.from_numpy(np.argsort(near, kind="stable"))
        size = max(1, round(share * len(index)))
        return list(order.split(size)) or [order]

    def carried(self, threat: Threat, index: Tensor) -> tuple[Tensor, Tensor]:
        """What broke the examples ``index`` (M,) under other threats, ``(M, W, ...)``, if it did.

        A point for each other threat at most; which places of the W are taken is ``(M, W)`` bool.
        """
        store = self.walk.store
        row_of = {int(i): row for row, i in enumerate(self.ids[index])}
        width = max(1, len({of for of in self.keys if of != str(threat)}))
        x = self.x[index].cpu()
        warm = x[:, None].repeat(1, width, *[1] * (x.dim() - 1))
        filled = torch.zeros(len(index), dtype=torch.long)
        for key in [key for of, keys in self.keys.items() if of != str(threat) for key in keys]:
            part = store.part(key)
            mine = part["broken"].astype(bool) & np.isin(part["id"], list(row_of))
            if not mine.any():
                continue
            at = torch.tensor([row_of[int(i)] for i in part["id"][mine]])
            points = store.tensors(key)["points"][part["row"][mine]].to(warm.dtype)
            room = filled[at] < width  # with --all-attacks, a threat may break a point repeatedly
            at, points = at[room], points[room]
            warm[at, filled[at]] = points
            filled[at] += 1
        return warm, torch.arange(width) < filled[:, None]

    def write(
        self, key: str, threat: Threat, name: str, done: list[tuple[Tensor, Outcome, Verdict]],
        seconds: float,
    ) -> None:  # fmt: skip
        index = torch.cat([i for i, _, _ in done])
        m = len(index)

        def column(of: str, kind: type) -> np.ndarray:
            parts = [getattr(found, of) for _, found, _ in done]
            missing = np.full(m, np.nan)
            if any(part is None for part in parts):
                return missing
            return np.concatenate([part.cpu().numpy() for part in parts]).astype(kind)

        def verdict(of: str) -> Tensor:
            return torch.cat([getattr(v, of).cpu() for _, _, v in done])

        broken = verdict("broken")
        fooled = torch.cat([found.fooled.cpu() for _, found, _ in done])
        columns = {
            "id": self.ids[index].numpy(),
            "label": self.y[index].cpu().numpy(),
            "threat": np.full(m, str(threat)),
            "attack": np.full(m, name),
            "attacked": np.ones(m, dtype=bool),
            "claimed": (fooled | broken).numpy(),
            "broken": broken.numpy(),
            "margin": verdict("margin").numpy(),
            "distance": verdict("distance").numpy(),
            "attempt": column("attempt", np.int64),
            "forwards": column("forwards", np.int64),
            "backwards": column("backwards", np.int64),
            "row": np.where(broken.numpy(), np.cumsum(broken.numpy()) - 1, -1),
            "loss": column("loss", np.float64),
            "worst": column("worst", np.float64),
            "zero": column("zero", np.float64),
            "huge": column("huge", np.float64),
            "seconds": np.full(m, seconds / max(1, m)),
        }
        kept = [v.broken.to(found.points.device) for _, found, v in done]
        points = [found.points[rows].cpu() for (_, found, _), rows in zip(done, kept, strict=True)]
        tensors = {"points": torch.cat(points).contiguous()}
        if done[0][1].witness is not None:
            some = [(found.witness, rows) for (_, found, _), rows in zip(done, kept, strict=True)]
            tensors["witness"] = torch.cat([w[r].cpu() for w, r in some if w is not None])
        self.walk.store.write(key, columns, tensors)
