"""What a run's rows add up to: the numbers of ``summary.json``, and nothing from outside."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from hauberk.errors import InputError
from hauberk.evaluation.accuracy.evidence import evidence
from hauberk.evaluation.core.summary import ROUNDING, head, interval, share
from hauberk.store.files import Columns
from hauberk.store.ledger import places

Mask = npt.NDArray[np.bool_]


def summarise(
    clean: Columns,
    attacks: Columns,
    manifest: Mapping[str, Any],
) -> dict[str, Any]:
    """The summary of a run, from the columns of its parts, whatever their order.

    An example is robust under a threat if the model is right on the clean input and no attack of
    that threat broke it, and under the union if no threat did. The accuracy after an attack counts
    the attacks of its threat up to it, in the order of ``manifest["schedule"]``.

    Args:
        clean: columns of all ``clean-`` parts, one row per example.
        attacks: columns of all ``attack-`` parts; examples not attacked may be left out.
        manifest: uses ``schedule``, ``threats``, ``n``, ``all_attacks``, ``union_only``,
            ``warnings``, ``suite``, ``seed`` and ``hauberk_version``.

    Raises:
        InputError: if the rows contradict each other or the schedule.
    """
    ids = np.asarray(clean.get("id", ()), dtype=np.int64)
    correct = np.asarray(clean.get("correct", ()), dtype=bool)
    n = len(ids)
    schedule = _schedule(manifest)
    required = [not s.get("optional") for s in manifest.get("schedule") or ()]
    findings = evidence(clean, attacks, manifest)
    attacked, broken = _grids(ids, correct, attacks, schedule)
    union_only, every = bool(manifest.get("union_only")), bool(manifest.get("all_attacks"))
    lost = broken.any(0)  # over an empty schedule: nobody
    whole = n == manifest.get("n", n)
    finished = whole

    threats: dict[str, Any] = {}
    for notation in manifest.get("threats") or dict.fromkeys(t for t, _ in schedule):
        mine = [k for k, (of, _) in enumerate(schedule) if of == notation]
        standing, after = correct.copy(), {}
        for k in mine:
            left = standing & ~broken[k]
            after[schedule[k][1]] = {
                "accuracy_after": share(left),
                "broke": int(standing.sum() - left.sum()),
                "broke_alone": int(broken[k].sum()) if every else None,
                "attacked": int(attacked[k].sum()),
                **_violated(attacks, *schedule[k]),
            }
            standing = left
        due = correct if every else standing & ~lost if union_only else standing
        whole_ones = [k for k in mine if required[k]]
        done = whole and bool(attacked[whole_ones][:, due].all())
        finished &= done
        threats[notation] = {
            "accuracy": share(standing),
            "interval": interval(standing),
            "upper_bound": union_only or not done,
            "attacks": after,
        }

    robust = correct & ~lost
    accuracies = [t["accuracy"] for t in threats.values()]
    top = head(manifest, clean, [attacks])
    looks = int(_mask(attacks, "attacked").sum())
    top["cost"]["judge_forwards"] = int(manifest.get("draws", 1)) * looks
    claimed = _mask(attacks, "claimed")
    return {
        **top,
        "union_accuracy": share(robust),
        "union_interval": interval(robust),
        "average_accuracy": float(np.mean(accuracies)) if n and accuracies else None,
        "threats": threats,
        "per_example": {k: top["cost"][k] / n if n else None for k in ("forwards", "backwards")},
        "suite": manifest.get("suite"),
        "union_only": union_only,
        "all_attacks": every,
        "finished": finished,
        "near_boundary": _near_boundary(attacks, list(threats)),
        "rejected": _examples(attacks, claimed & ~_mask(attacks, "broken")),
        "escalated": _escalated(attacks, manifest),
        "evidence": [found.plain() for found in findings],
        "warnings": [*top["warnings"], *map(str, findings)],
    }


def _escalated(attacks: Columns, manifest: Mapping[str, Any]) -> bool:
    """Whether stages were run that are for masked gradients only."""
    if manifest.get("all_attacks"):
        return False  # they were asked for
    stages = manifest.get("attacks") or {}
    masked = [name for name, stage in stages.items() if stage.get("when") == "masked"]
    return bool(np.isin(attacks["task"], masked).any()) if "task" in attacks else False


def _schedule(manifest: Mapping[str, Any]) -> list[tuple[str, str]]:
    schedule = [(str(s["threat"]), str(s["attack"])) for s in manifest.get("schedule") or ()]
    for k, (threat, attack) in enumerate(schedule):
        if (threat, attack) in schedule[:k]:
            raise InputError(f"the schedule runs {attack} under {threat} twice: name each once")
        if threat not in (manifest.get("threats") or [threat]):
            raise InputError(f"the schedule has the threat {threat}, which the run does not name")
    return schedule


def _grids(
    ids: npt.NDArray[np.int64],
    correct: Mask,
    attacks: Columns,
    schedule: list[tuple[str, str]],
) -> tuple[Mask, Mask]:
    """Whether each attack of the schedule (K) was run on, and broke, each example: (K, N) each."""
    each, counts = np.unique(ids, return_counts=True)
    if twice := each[counts > 1].tolist():
        raise InputError(f"the ledger holds example {twice[0]} twice: its clean parts overlap")
    attacked = np.zeros((len(schedule), len(ids)), dtype=bool)
    broken = np.zeros_like(attacked)
    rows = np.asarray(attacks.get("id", ()), dtype=np.int64)
    if not len(rows):
        return attacked, broken
    column = places(ids, rows)
    if (column < 0).any():
        raise InputError(f"example {rows[column < 0][0]} was attacked but is in no clean part")
    scheduled = np.zeros(len(rows), dtype=bool)
    for k, (threat, attack) in enumerate(schedule):
        mine = (attacks["threat"] == threat) & (attacks["task"] == attack)
        scheduled |= mine
        where = column[mine]
        counts = np.bincount(where, minlength=len(ids))
        if (counts > 1).any():
            raise InputError(
                f"the ledger holds {attack} under {threat} on example {ids[counts > 1][0]} twice"
            )
        attacked[k, where] = attacks["attacked"][mine]
        broken[k, where] = attacks["broken"][mine]
    if not scheduled.all():
        row = int(np.flatnonzero(~scheduled)[0])
        which = f"{attacks['task'][row]} under {attacks['threat'][row]}"
        raise InputError(f"the ledger holds rows of {which}, which the schedule does not name")
    for wrong, why in (
        (broken & ~attacked, "broken by an attack that was not run on it"),
        (attacked & ~correct, "attacked although the model was wrong on the clean input"),
    ):
        if wrong.any():
            k, i = (int(v[0]) for v in np.nonzero(wrong))
            raise InputError(f"example {ids[i]} is {why} ({schedule[k][1]} under {schedule[k][0]})")
    return attacked, broken


def _examples(attacks: Columns, rows: Mask) -> int:
    """How many examples some rows are of."""
    return len(np.unique(np.asarray(attacks.get("id", ()), dtype=np.int64)[rows]))


def _mask(attacks: Columns, name: str) -> Mask:
    """A flag of the rows that were attacked."""
    if name not in attacks:
        return np.zeros(len(attacks.get("id", ())), dtype=bool)
    flags: Mask = np.asarray(attacks[name], dtype=bool)
    attacked: Mask = np.asarray(attacks["attacked"], dtype=bool)
    return flags & attacked


def _violated(attacks: Columns, threat: str, attack: str) -> dict[str, int]:
    """How many searches of an attack ended outside the threat, if any did."""
    if "violation" not in attacks:
        return {}
    mine = (attacks["threat"] == threat) & (attacks["task"] == attack)
    outside = int((attacks["violation"][mine].astype(float) > 0).sum())
    return {"violated": outside} if outside else {}


def _near_boundary(attacks: Columns, threats: list[str]) -> list[dict[str, Any]]:
    """Attacked points whose decision depends on rounding, each example and threat once."""
    if "margin" not in attacks:
        return []
    near = _mask(attacks, "attacked") & (np.abs(attacks["margin"]) < ROUNDING)
    pairs = zip(attacks["id"][near].tolist(), attacks["threat"][near].tolist(), strict=True)
    found = sorted(set(pairs), key=lambda pair: (pair[0], threats.index(pair[1])))
    return [{"id": id_, "threat": threat} for id_, threat in found]
