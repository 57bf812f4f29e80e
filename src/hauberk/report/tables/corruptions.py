"""Accuracies on common corruptions as tables for a terminal, in 80 columns."""

from collections.abc import Sequence

from hauberk.report.tables.grid import (
    Grid,
    Line,
    Summary,
    TextTable,
    between,
    fixed,
    origin,
    percent,
    remarks,
)

_BESIDE = 4
"""Models whose accuracies fit side by side."""


def table(summary: Summary) -> TextTable:
    """A table of corruptions: of one model by kind and severity, of several by kind.

    Args:
        summary: as ``summary.json`` of :func:`hauberk.analysis.corruption_table` holds it.

    Example:
        >>> kind = {"mean": 0.5, "ce": None, "severities": {"3": 0.5}}
        >>> net = {"clean_accuracy": 0.9, "clean_interval": None, "mean": 0.5, "interval": None}
        >>> net |= {"mce": None, "kinds": {"fog": kind}}
        >>> summary = {"n": 10, "kinds": ["fog"], "severities": [3], "models": {"net": net}}
        >>> summary |= {"baseline": None, "images": "files", "cost": {"seconds": 1.0}, "seed": 0}
        >>> print(str(table(summary)).splitlines()[2].split())
        ['fog', '50.0%', '50.0%']
    """
    names = list(summary["models"])
    if len(names) == 1:
        grids = [_by_severity(summary, names[0])]
    else:
        beside = [names[start : start + _BESIDE] for start in range(0, len(names), _BESIDE)]
        grids = [_by_model(summary, some) for some in beside]
    return TextTable(grids, _about(summary))


def _by_severity(summary: Summary, name: str) -> Grid:
    n, model = summary["n"], summary["models"][name]
    severities = [str(severity) for severity in summary["severities"]]
    rows: list[Line] = [
        (
            "",
            [
                kind,
                *(percent(found["severities"][severity], n) for severity in severities),
                percent(found["mean"], n),
            ],
        )
        for kind, found in model["kinds"].items()
    ]
    kinds = model["kinds"].values()
    means = [sum(kind["severities"][s] for kind in kinds) / len(kinds) for s in severities]
    rows.append(("bold", ["mean", *(percent(mean, n) for mean in [*means, model["mean"]])]))
    return ["severity", *severities, "mean"], rows


def _by_model(summary: Summary, names: Sequence[str]) -> Grid:
    n, models = summary["n"], [summary["models"][name] for name in names]
    rows: list[Line] = [("", ["clean", *(percent(m["clean_accuracy"], n) for m in models)])]
    rows += [
        ("", [kind, *(percent(m["kinds"][kind]["mean"], n) for m in models)])
        for kind in summary["kinds"]
    ]
    rows.append(("bold", ["mean", *(percent(m["mean"], n) for m in models)]))
    rows.append(("", ["  95% interval", *(between(m["interval"]) for m in models)]))
    if summary["baseline"] is not None:
        cells = [fixed(None if m["mce"] is None else 100 * m["mce"], ".1f") for m in models]
        rows.append(("bold", ["mCE", *cells]))
    return ["mean over severities", *names], rows


def _about(summary: Summary) -> list[str]:
    models, n = summary["models"], summary["n"]
    source = (
        "the files of CIFAR-10-C"
        if summary["images"] == "files"
        else "made here with the settings of CIFAR-10-C"
    )
    notes = [f"{n} examples, corruptions: {source}, {origin(summary)}"]
    if len(models) == 1:
        (model,) = models.values()
        inside = between(model["interval"])
        notes.append(
            f"clean {percent(model['clean_accuracy'], n)}; mean {percent(model['mean'], n)}"
            + (f", 95% interval {inside}" if inside else "")
        )
    if summary["images"] != "files" and "frost" in summary["kinds"]:
        notes.append("frost is a texture made here, not the published photographs")
    if summary["baseline"] is not None:
        notes.append(f"mCE: mean error beside that of {summary['baseline']}, which is 100")
    return notes + remarks(summary)
