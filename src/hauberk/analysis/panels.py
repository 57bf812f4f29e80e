"""Curves of accuracy against eps as pictures have them: by norm, with intervals."""

from collections.abc import Mapping
from typing import Any

from hauberk.analysis.by_size import Panel
from hauberk.errors import InputError
from hauberk.report.plots.curves import MOST, Series
from hauberk.threats.ball import Ball
from hauberk.threats.metric import Metric
from hauberk.threats.notation import threat as read_threat


def transferred(summary: Mapping[str, Any]) -> dict[str, list[Series]]:
    """Of a transfer run, by norm: each model's combined accuracies, and dashed its white-box ones.

    Only balls have a place on an axis of sizes; other threats are left out. Every curve begins with
    the clean accuracy at 0.

    Args:
        summary: as its ``summary.json`` holds it.

    Source: Ding et al. 2020, tables 8 to 11 as curves.

    Example:
        >>> share = {"net": 0.5}
        >>> case = {"whitebox": share, "combined": share, "combined_interval": {"net": [0.4, 0.6]}}
        >>> case["whitebox_interval"] = case["combined_interval"]
        >>> clean = {"clean": {"net": 1.0}, "clean_intervals": {"net": [0.8, 1.0]}}
        >>> made = transferred({**clean, "threats": {"l2:1": case}})
        >>> made["l2"][0].eps, made["l2"][0].accuracy
        ([0.0, 1.0], [1.0, 0.5])
    """
    sizes: dict[str, dict[float, Any]] = {}
    for name, case in summary["threats"].items():
        place = axis(name)
        if place is not None:
            sizes.setdefault(place[0], {})[place[1]] = case
    return {
        norm: [
            _series(summary, cases, kind, model, number)
            for number, model in enumerate(summary["clean"])
            for kind in _KINDS
        ]
        for norm, cases in sizes.items()
    }


_KINDS = {"combined": "combined", "whitebox": "white-box"}


def _series(
    summary: Mapping[str, Any], cases: Mapping[float, Any], kind: str, model: str, number: int
) -> Series:
    """One model's accuracies at 0 and at all sizes; the combined ones with their intervals."""
    eps, dashed = sorted(cases), kind == "whitebox"
    ends = [summary["clean_intervals"][model]]
    ends += [cases[size][f"{kind}_interval"][model] for size in eps]
    return Series(
        f"{model}, {_KINDS[kind]}",
        [0.0, *eps],
        [summary["clean"][model], *(cases[size][kind][model] for size in eps)],
        low=None if dashed else [low for low, _ in ends],
        high=None if dashed else [high for _, high in ends],
        colour=number,
        dashed=dashed,
    )


def drawn(panel: Panel) -> list[Series]:
    """The curves of a panel with their 95% intervals: stairs of radii, points of attacks.

    Example:
        >>> import torch
        >>> from hauberk.analysis.curves import curves
        >>> radii = {"net": torch.tensor([1.0, 2.0])}
        >>> drawn(Panel("l2", "radius", 4.0, (), curves(radii)))[0].eps
        [0.0, 1.0, 2.0, 4.0]
    """
    sizes = panel.grid()
    if panel.by == "radius":
        known = [eps for eps in panel.curves.eps.tolist() if eps < panel.end]
        step = max(1, len(known) // MOST)
        sizes = [*known[::step], panel.end]
    rows = list(panel.rows(sizes))

    def column(model: str, key: str) -> list[float]:
        return [row[key] for row in rows if row["model"] == model]

    return [
        Series(
            model,
            sizes,
            column(model, "accuracy"),
            low=column(model, "low"),
            high=column(model, "high"),
            steps=panel.by == "radius",
            colour=number,
        )
        for number, model in enumerate(panel.curves.accuracy)
    ]


def axis(notation: str) -> tuple[str, float] | None:
    """The norm and the size of a ball, by its notation; None for any other threat.

    Example:
        >>> axis("l2:0.5"), axis("rt:30,3")
        (('l2', 0.5), None)
    """
    try:
        threat = read_threat(notation)
    except InputError:
        return None
    return (str(Metric.of(threat)), threat.eps) if isinstance(threat, Ball) else None
