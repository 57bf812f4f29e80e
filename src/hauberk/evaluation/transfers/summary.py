"""What the parts of a transfer run add up to: accuracies by case and model."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from hauberk.evaluation.core.summary import head, interval
from hauberk.evaluation.transfers.result import averages, transfer_gap
from hauberk.store.ledger import Store, places

Mask = npt.NDArray[np.bool_]

Broken = dict[str, dict[str, Mask]]
"""By case and source, which examples (N, K) its points break on each of the K models."""


def summarise(
    store: Store, cases: Sequence[str], check: tuple[str, int] | None = None
) -> dict[str, Any]:
    """``summary.json``: by case, what each model withstands alone and with the others' points.

    Args:
        store: the run's ledger.
        cases: names of what has accuracies of its own.
        check: name of the further attack and how many examples it is for, if there is one.
    """
    clean = store.rows("clean-")
    names = list(store.manifest["model_draws"])
    wrong = [store.tensors(key)["wrong"][:, 0] for key in store.keys("clean-")]
    right = ~torch.cat(wrong).bool().numpy()
    fell = _broken(store, "craft-", cases, clean["id"], right)
    found = {case: _case(right, rows, names) for case, rows in fell.items()}
    accuracies = _shares(right, names)
    average, robust = averages(accuracies, [row["combined"] for row in found.values()])
    points = [rows for name in ("craft-", "check-") if (rows := store.rows(name))]
    summary = head(store.manifest, clean, points) | {
        "clean": accuracies,
        "clean_intervals": _intervals(right, names),
        "threats": found,
        "avg_acc": average,
        "avg_rob_acc": robust,
    }
    if check is not None:
        broken = _broken(store, "check-", cases, clean["id"], right)
        summary["check"] = _checked(check, broken, fell, names, len(right))
        summary["warnings"] += _doubts(summary["check"])
    return summary


def _broken(
    store: Store, prefix: str, cases: Sequence[str], ids: npt.NDArray[Any], right: Mask
) -> Broken:
    names = list(store.manifest["model_draws"])
    fell = {case: {source: np.zeros_like(right) for source in names} for case in cases}
    for key in store.keys(prefix):
        part = store.part(key)
        if not len(part["id"]):
            continue
        broke = store.tensors(key)["wrong"][:, 0].bool().numpy()
        at = places(ids, part["id"])
        case = str(part["case"][0]) if "case" in part else cases[0]
        fell[case][str(part["task"][0])][at] |= broke & right[at]
    return fell


def _case(right: Mask, fell: Mapping[str, Mask], names: Sequence[str]) -> dict[str, Any]:
    """The accuracies of one case."""
    own = np.stack([right[:, k] & ~fell[name][:, k] for k, name in enumerate(names)], 1)
    both = right & ~np.stack(list(fell.values())).any(0)
    whitebox, combined = _shares(own, names), _shares(both, names)
    return {
        "whitebox": whitebox,
        "whitebox_interval": _intervals(own, names),
        "combined": combined,
        "combined_interval": _intervals(both, names),
        "gap": transfer_gap(whitebox, combined),
        "broke": {source: _shares(rows, names) for source, rows in fell.items()},
    }


def _checked(
    check: tuple[str, int], broken: Broken, fell: Broken, names: Sequence[str], n: int
) -> dict[str, Any]:
    """What the check breaks on each model, and how much of it the model's own points do not."""
    threats: dict[str, Any] = {}
    for case, rows in broken.items():
        threats[case] = {}
        for k, name in enumerate(names):
            broke = rows[name][:, k]
            more = broke & ~fell[case][name][:, k]
            threats[case][name] = {"broke": int(broke.sum()), "broke_more": int(more.sum())}
    return {"attack": check[0], "n": min(check[1], n), "threats": threats}


def _doubts(check: Mapping[str, Any]) -> list[str]:
    return [
        f"{check['attack']} breaks {counts['broke_more']} of {check['n']} examples on {name} under "
        f"{case} that white-box attacks do not: its gradients may mislead"
        for case, models in check["threats"].items()
        for name, counts in models.items()
        if counts["broke_more"]
    ]


def _shares(mask: Mask, names: Sequence[str]) -> dict[str, float]:
    """Share of True in each column of ``(N, K)``, by the names of the columns."""
    shares = [int(column.sum()) / max(1, len(mask)) for column in mask.T]
    return dict(zip(names, shares, strict=True))


def _intervals(mask: Mask, names: Sequence[str]) -> dict[str, list[float] | None]:
    return {name: interval(mask[:, k]) for k, name in enumerate(names)}
