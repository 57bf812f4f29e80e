"""What the floor adds up to: how far the union accuracy could still fall, and what that took."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from hauberk.errors import InputError
from hauberk.evaluation.accuracy.floor import PARTS, PLAN, draw, spent_on, standing
from hauberk.evaluation.core.summary import clopper_pearson, cost, interval, share
from hauberk.store.files import Columns
from hauberk.store.ledger import Store

CONFIDENCE = 0.95


def with_floor(found: Mapping[str, Any], store: Store) -> dict[str, Any]:
    """A run's summary with ``floor``; what the floor broke is broken in all accuracies.

    ==================  ============================================================
    ``asked``           points that were to be drawn
    ``standing``        points that the suite left standing under every threat
    ``drawn``           points drawn among them: all, if there were fewer than asked
    ``broken``          drawn points that fell
    ``threats``         how many of them under each threat
    ``confidence``      of the bound, one-sided
    ``bound``           for the share of the standing points that would fall
    ``exact``           whether all were drawn: then ``bound`` is that share itself
    ``loss``            the bound in terms of all examples
    ``suite_accuracy``  union accuracy that the suite left
    ``lowest``          the least union accuracy to be believed, ``suite_accuracy - loss``
    ``passes``          mean passes on a point that stands: the suite's, and the floor's
    ``cost``            the floor's, which the run's ``cost`` leaves out
    ==================  ============================================================

    Args:
        found: the summary of the suite alone.

    Raises:
        InputError: if the floor's rows contradict the draw or its plan.
    """
    clean, attacks, rows = (store.rows(key) for key in ("clean-", "attack-", PARTS))
    asked, n = int(store.manifest["floor"]), len(clean["id"])
    left = standing(clean, attacks)
    drawn = draw(left, asked, int(store.manifest["seed"]))
    lost, undone = _fallen(rows, drawn, store)
    broken, every = len(lost), len(drawn) == len(left)
    # A point that not every search has been tried on might fall: it counts as fallen.
    fallen = broken + undone
    bound = clopper_pearson(fallen, len(drawn), CONFIDENCE)
    if every:  # nothing is left to estimate
        bound = fallen / max(1, len(drawn))
    before = len(left) / n
    stood = drawn[~np.isin(drawn, lost)]
    draws = int(store.manifest.get("draws", 1))
    floor = {
        "asked": asked,
        "standing": len(left),
        "drawn": len(drawn),
        "broken": broken,
        "threats": {name: len(_lost(rows, name)) for name in found["threats"]},
        "confidence": CONFIDENCE,
        "bound": bound,
        "exact": every,
        "loss": bound * before,
        "suite_accuracy": before,
        "lowest": before * (1 - bound),
        "passes": {
            "suite": spent_on(attacks, left) if attacks else 0.0,
            "floor": spent_on(rows, stood) if rows else 0.0,
        },
        "cost": cost([rows], draws * len(drawn), draws * len(rows.get("id", ()))),
    }
    return _counted(found, clean, attacks, rows) | {
        "finished": bool(found["finished"]) and not undone,
        "floor": floor,
    }


def _fallen(rows: Columns, drawn: Any, store: Store) -> tuple[Any, int]:
    """Ids of the drawn points that fell, and how many others were not searched to the end.

    Raises:
        InputError: for rows of points that were not drawn, or that no search of the plan made.
    """
    if not rows:
        return np.zeros(0, dtype=np.int64), len(drawn)
    if len(strange := rows["id"][~np.isin(rows["id"], drawn)]):
        raise InputError(f"the floor holds example {strange[0]}, which was not drawn")
    named = store.part(PLAN)
    planned = set(zip(named["threat"], named["task"], strict=True))
    done = list(zip(rows["threat"], rows["task"], rows["id"], strict=True))
    if made := {row[:2] for row in done} - planned:
        threat, task = sorted(made)[0]
        raise InputError(f"the floor holds rows of {task} under {threat}, which its plan does not")
    lost = _lost(rows)
    often = dict.fromkeys(drawn[~np.isin(drawn, lost)].tolist(), 0)
    for _, _, id_ in set(done):
        if id_ in often:
            often[id_] += 1
    return lost, sum(many < len(planned) for many in often.values())


def _lost(rows: Columns, threat: str | None = None) -> Any:
    """Ids that rows hold as broken, under one threat or any."""
    if not rows:
        return np.zeros(0, dtype=np.int64)
    mine = rows["broken"].astype(bool)
    return np.unique(rows["id"][mine if threat is None else mine & (rows["threat"] == threat)])


def _counted(
    found: Mapping[str, Any], clean: Columns, attacks: Columns, rows: Columns
) -> dict[str, Any]:
    """The summary with the floor's broken points in its accuracies, as one attack more."""
    correct, every = clean["correct"].astype(bool), bool(found["all_attacks"])
    threats: dict[str, Any] = {}
    for name, threat in found["threats"].items():
        new = _lost(rows, name)
        stands = correct & ~np.isin(clean["id"], np.union1d(_lost(attacks, name), new))
        tried = rows["id"][rows["threat"] == name] if rows else []
        row = {
            "accuracy_after": share(stands),
            "broke": len(new),
            "broke_alone": len(new) if every else None,
            "attacked": len(np.unique(tried)),
        }
        threats[name] = threat | {
            "accuracy": share(stands),
            "interval": interval(stands),
            "attacks": threat["attacks"] | {"floor": row},
        }
    robust = correct & ~np.isin(clean["id"], np.union1d(_lost(attacks), _lost(rows)))
    accuracies = [threat["accuracy"] for threat in threats.values()]
    return dict(found) | {
        "union_accuracy": share(robust),
        "union_interval": interval(robust),
        "average_accuracy": float(np.mean(accuracies)),
        "threats": threats,
    }
