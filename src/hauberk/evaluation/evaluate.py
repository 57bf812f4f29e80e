"""Evaluate a classifier against a union of threats."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from zlib import crc32

import numpy as np
import torch
from torch import Tensor, nn

from hauberk.__about__ import __version__
from hauberk.attacks.base import Attack
from hauberk.engine.loop import attack as run_attack
from hauberk.engine.victim import Victim
from hauberk.errors import InputError
from hauberk.evaluation.judge import decide, judge
from hauberk.evaluation.ledger import Ledger
from hauberk.evaluation.metrics import summarise
from hauberk.evaluation.result import Result
from hauberk.evaluation.screen import screen
from hauberk.evaluation.store import Memory
from hauberk.evaluation.suites import Suite, suite_of
from hauberk.maths.losses import margin
from hauberk.threats.base import Box, Threat

BLOCK = 1000
"""Examples that share the parts of the ledger: an interrupted run repeats at most one part."""


@dataclass(frozen=True)
class Progress:
    """Where a run stands: the share of its work done, what it is doing, and its cost so far."""

    done: float
    doing: str
    forwards: int
    backwards: int


def evaluate(
    model: nn.Module | Victim,
    images: Tensor,
    labels: Tensor,
    threats: Threat | Sequence[Threat],
    *,
    suite: str | Suite | Mapping[str, Attack] | Attack = "standard",
    box: Box | Sequence[Any] = (0.0, 1.0),
    seed: int = 0,
    ids: Tensor | None = None,
    out: str | Path | None = None,
    resume: bool = False,
    union_only: bool = False,
    all_attacks: bool = False,
    batch_size: int | None = None,
    progress: Callable[[Progress], None] | None = None,
    manifest: Mapping[str, Any] | None = None,
) -> Result:
    """Attack every example under every threat; what counts as broken is for the judge to say.

    Args:
        images: ``(N, ...)``, floats in the box; labels: ``(N,)`` integer classes.
        threats: a threat, a union, or several threats.
        suite: ``fast``, ``standard``, a Suite, an attack, or a dictionary of names and attacks.
        box: the valid range, ``(lo, hi)`` of numbers or tensors.
        ids: what the examples are called, (N,) integers, 0..N-1 by default; random numbers hang on
            them, so an example keeps its draws in another selection.
        out: folder of the ledger; nothing is written without it.
        resume: continue the run that ``out`` holds.
        union_only: a point broken under one threat is not attacked under the others: cheaper, and
            the accuracies per threat become upper bounds.
        all_attacks: run every attack on every point, to see what each breaks alone.
        batch_size: examples through the model at once; chosen, and halved if memory runs out.
        progress: called now and then with a :class:`Progress`.
        manifest: further facts to record (model, weights and data words).

    Raises:
        InputError: for bad input, before anything is written.
    """
    if union_only and all_attacks:
        raise InputError("union_only and all_attacks exclude each other: choose one")
    victim = Victim.of(model, batch_size)
    chosen, bounds = suite_of(suite), Box.of(box)
    parts = _parts(threats)
    x, y, warned = screen(victim, images, labels, bounds)
    names = _ids(ids, len(x))
    schedule = chosen.schedule(parts)
    facts = {
        "hauberk_version": __version__,
        "threats": [str(t) for t in parts],
        "suite": chosen.name,
        "suite_version": chosen.version,
        "attacks": chosen.describe(),
        "schedule": [{"threat": str(t), "attack": name} for t, name, _ in schedule],
        "seed": seed,
        "box": [v.tolist() if isinstance(v, Tensor) else v for v in (bounds.lo, bounds.hi)],
        "n": len(x),
        "block": BLOCK,
        "data_crc": crc32(
            x.detach().cpu().contiguous().numpy().tobytes(), crc32(y.cpu().numpy().tobytes())
        ),
        "union_only": union_only,
        "all_attacks": all_attacks,
        "torch_version": torch.__version__,
        "device": str(victim.device),
        "batch_size": batch_size,
        "warnings": warned,
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
        **(manifest or {}),
    }
    store = Memory(facts) if out is None else Ledger.create(out, facts, resume=resume)
    run = _Evaluation(victim, x, y, names, schedule, bounds, seed, store, progress)
    run(union_only, all_attacks)
    clean, attacks = store.rows("clean-"), store.rows("attack-")
    seconds = float(clean["seconds"].sum() + (attacks["seconds"].sum() if attacks else 0.0))
    summary = summarise(clean, attacks, store.manifest, seconds)
    store.write_summary(summary)
    return Result(summary=summary, store=store)


class _Evaluation:
    """The walk through blocks, threats and attacks."""

    def __init__(
        self, victim: Victim, x: Tensor, y: Tensor, ids: Tensor,
        schedule: list[tuple[Threat, str, Attack]], box: Box, seed: int, store: Ledger | Memory,
        progress: Callable[[Progress], None] | None,
    ) -> None:  # fmt: skip
        self.victim, self.x, self.y, self.ids = victim, x, y, ids
        self.schedule, self.box, self.seed, self.store = schedule, box, seed, store
        self.progress = progress
        self.first = victim.forwards, victim.backwards

    def __call__(self, union_only: bool, all_attacks: bool) -> None:
        blocks = range(0, len(self.x), BLOCK)
        # Later attacks mostly meet few points; what they can cost at most is their weight.
        weights = [attack.attempts(10) * attack.passes for _, _, attack in self.schedule]
        total, done = sum(weights) * len(self.x), 0.0
        for number, start in enumerate(blocks):
            rows = slice(start, start + BLOCK)
            logits, correct = self.clean(f"clean-{number:05d}", rows)
            standing = {str(t): correct.clone() for t, _, _ in self.schedule}
            robust = correct.clone()
            for stage, (threat, name, attack) in enumerate(self.schedule):
                due = correct if all_attacks else standing[str(threat)]
                due = due & robust if union_only else due
                key = f"attack-{number:05d}-{stage:03d}"
                share = weights[stage] * len(correct) / total

                def tell(settled: int, jobs: int, doing: str = f"{threat} {name}") -> None:
                    self.report(done + share * settled / max(1, jobs), doing)  # noqa: B023

                if not self.store.has(key):
                    self.stage(key, rows, due, logits, threat, name, attack, tell)
                part = self.store.part(key)
                broken = torch.zeros_like(correct)
                place = {int(i): k for k, i in enumerate(self.ids[rows])}
                lost = part["id"][part["broken"].astype(bool)]
                broken[[place[int(i)] for i in lost]] = True
                standing[str(threat)] &= ~broken
                robust &= ~broken
                done += share
                self.report(done, f"{threat} {name}")

    def report(self, done: float, doing: str) -> None:
        if self.progress is not None:
            forwards = self.victim.forwards - self.first[0]
            backwards = self.victim.backwards - self.first[1]
            self.progress(Progress(min(done, 1.0), doing, forwards, backwards))

    def clean(self, key: str, rows: slice) -> tuple[Tensor | None, Tensor]:
        """Clean logits (None on resuming) and decisions of a block."""
        if self.store.has(key):
            return None, torch.from_numpy(self.store.part(key)["correct"].astype(bool))
        x, y = self.x[rows], self.y[rows]
        begun = time.perf_counter()
        logits, wrong = decide(self.victim, x.to(self.victim.device), y.to(self.victim.device))
        if bool(logits.isnan().any()):
            bad = int(self.ids[rows][logits.isnan().any(1).cpu()][0])
            raise InputError(f"the model returns NaN logits on clean input {bad}: repair it first")
        columns = {
            "id": self.ids[rows].numpy(),
            "label": y.cpu().numpy(),
            "prediction": logits.argmax(1).cpu().numpy(),
            "margin": -margin(logits.double(), y.to(logits.device)).cpu().numpy(),
            "correct": (~wrong).cpu().numpy(),
            "seconds": np.full(len(y), (time.perf_counter() - begun) / max(1, len(y))),
        }
        self.store.write(key, columns, {"originals": x.detach().cpu().contiguous()})
        return logits, ~wrong.cpu()

    def stage(
        self, key: str, rows: slice, due: Tensor, logits: Tensor | None, threat: Threat, name: str,
        attack: Attack, tell: Callable[[int, int], None],
    ) -> None:  # fmt: skip
        """Run one attack on a block's due points, judge what it found, write it down."""
        index = due.nonzero().squeeze(1)
        x, y, ids = self.x[rows][index], self.y[rows][index], self.ids[rows][index]
        begun = time.perf_counter()
        found = run_attack(
            attack, self.victim, threat, x, y, box=self.box, seed=self.seed, ids=ids,
            stream=crc32(f"{threat} {name}".encode()), progress=tell,
            clean_logits=None if logits is None else logits[index.to(logits.device)],
        )  # fmt: skip
        verdict = judge(self.victim, threat, x, found.points, y, self.box, found.witness)
        seconds = (time.perf_counter() - begun) / max(1, len(index))
        broken = verdict.broken.cpu().numpy()
        columns = {
            "id": ids.numpy(),
            "label": y.cpu().numpy(),
            "threat": np.full(len(index), str(threat)),
            "attack": np.full(len(index), name),
            "attacked": np.ones(len(index), dtype=bool),
            "claimed": (found.fooled | verdict.broken).cpu().numpy(),
            "broken": broken,
            "margin": verdict.margin.cpu().numpy(),
            "distance": verdict.distance.cpu().numpy(),
            "attempt": found.attempt.cpu().numpy(),
            "forwards": found.forwards.numpy(),
            "backwards": found.backwards.numpy(),
            "row": np.where(broken, np.cumsum(broken) - 1, -1),
            "seconds": np.full(len(index), seconds),
        }
        tensors = {"points": found.points[verdict.broken].cpu().contiguous()}
        if found.witness is not None:
            tensors["witness"] = found.witness[verdict.broken].cpu().contiguous()
        self.store.write(key, columns, tensors)


def _parts(threats: Threat | Sequence[Threat]) -> tuple[Threat, ...]:
    from hauberk.threats.union import Union

    given = (threats,) if isinstance(threats, Threat) else tuple(threats)
    if not given or not all(isinstance(threat, Threat) for threat in given):
        raise InputError("give a threat such as hauberk.Linf(0.3), a Union, or several threats")
    return Union(*given).parts


def _ids(ids: Tensor | None, n: int) -> Tensor:
    if ids is None:
        return torch.arange(n)
    ids = torch.as_tensor(ids).cpu().long()
    if ids.shape != (n,) or len(ids.unique()) != n:
        raise InputError(f"ids must be {n} different integers, one per example")
    return ids
