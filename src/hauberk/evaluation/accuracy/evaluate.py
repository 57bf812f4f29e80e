"""Evaluate a classifier against a union of threats."""

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from zlib import crc32

import torch
from torch import Tensor, nn

from hauberk.__about__ import __version__
from hauberk.attacks.base import Attack
from hauberk.errors import InputError
from hauberk.evaluation.accuracy.result import Result
from hauberk.evaluation.accuracy.suites import Stage, Suite, suite_of, try_on
from hauberk.evaluation.accuracy.summary import summarise
from hauberk.evaluation.accuracy.walk import BLOCK, Progress, Walk
from hauberk.evaluation.core.identity import fingerprints
from hauberk.evaluation.core.preflight import screen
from hauberk.store.ledger import Ledger, MemoryLedger
from hauberk.threats.base import Box, Threat
from hauberk.victims.victim import Victim


def evaluate(
    model: nn.Module | Victim,
    images: Tensor,
    labels: Tensor,
    threats: Threat | Sequence[Threat],
    *,
    suite: str | Suite | Mapping[str, Attack | Stage] | Attack = "standard",
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
        suite: a name of :data:`hauberk.evaluation.SUITES`, a YAML file, a Suite, an attack, or a
            dictionary of names and attacks or stages.
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
    if resume and out is None:
        raise InputError("resume continues the run that out= holds: give out=, or leave it out")
    parts = _parts(threats)
    x, y, warned, victim = screen(victim, images, labels, bounds, seed)
    names = _ids(ids, len(x))
    schedule = chosen.schedule(parts)
    for threat, name, stage in schedule:
        try_on(threat, name, stage, x[:1], y[:1], bounds)
    facts = {
        "threats": [str(t) for t in parts],
        "suite": chosen.name,
        "suite_version": chosen.version,
        "attacks": chosen.describe(),
        "schedule": [
            {"threat": str(t), "attack": name} | ({} if stage.whole else {"optional": True})
            for t, name, stage in schedule
        ],
        "union_only": union_only,
        "all_attacks": all_attacks,
        "block": BLOCK,
        "models": fingerprints({"model": victim}, {"suite": chosen.stages, "threats": parts}),
        **facts_of(victim, x, y, names, bounds, seed, batch_size, warned),
        **(manifest or {}),
    }
    store = MemoryLedger(facts) if out is None else Ledger.create(out, facts, resume=resume)
    Walk(
        victim, x, y, names, schedule, bounds, seed, store, progress, union_only, all_attacks
    )()  # fmt: skip
    clean, attacks = store.rows("clean-"), store.rows("attack-")
    seconds = float(clean["seconds"].sum() + (attacks["seconds"].sum() if attacks else 0.0))
    summary = summarise(clean, attacks, store.manifest, seconds)
    store.write_summary(summary)
    return Result(summary=summary, store=store)


def _parts(threats: Threat | Sequence[Threat]) -> tuple[Threat, ...]:
    from hauberk.threats.base import Union

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


def facts_of(
    victim: Victim, x: Tensor, y: Tensor, ids: Tensor, box: Box, seed: int,
    batch_size: int | None, warned: list[str],
) -> dict[str, Any]:  # fmt: skip
    """What the manifest of every run records of its data, its model and its surroundings."""
    return {
        "hauberk_version": __version__,
        "seed": seed,
        "box": [v.tolist() if isinstance(v, Tensor) else v for v in (box.lo, box.hi)],
        "n": len(x),
        "images_crc": _crc(x),
        "labels_crc": _crc(y),
        "ids_crc": _crc(ids),
        "torch_version": torch.__version__,
        "device": str(victim.device),
        "batch_size": batch_size,
        "draws": victim.draws,
        "warnings": warned,
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def _crc(values: Tensor) -> int:
    return crc32(values.detach().cpu().contiguous().numpy().tobytes())
