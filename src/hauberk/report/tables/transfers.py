"""The summary of a transfer run as a table for a terminal, in 80 columns."""

from hauberk.report.tables.grid import (
    Grid,
    Line,
    Summary,
    TextTable,
    between,
    cost,
    origin,
    percent,
    remarks,
)


def table(summary: Summary) -> TextTable:
    """One run's summary: averages by model, then the accuracies of every case.

    Args:
        summary: as ``summary.json`` of a transfer run holds it.

    Source: Ding et al. 2020, tables 4 to 11.

    Example:
        >>> share = {"net": 0.5}
        >>> case = {"whitebox": share, "combined": share, "gap": {"net": 0.0}, "broke": {}}
        >>> case["combined_interval"] = {"net": [0.4, 0.6]}
        >>> told = {"n": 100, "clean": share, "avg_acc": share, "avg_rob_acc": share}
        >>> told |= {"threats": {"l2:1": case}, "cost": {"forwards": 1, "backwards": 1}}
        >>> told["cost"]["seconds"] = None
        >>> str(table(told)).splitlines()[-8].split()
        ['net', '50.0%', '50.0%', '40.0–60.0', '0.0%']
    """
    n = summary["n"]
    names = list(summary["clean"])
    means: list[Line] = [
        ("", [name, *(percent(summary[key][name], n) for key in _MEANS.values())]) for name in names
    ]
    grids: list[Grid] = [(["model", *_MEANS], means)]
    for threat, case in summary["threats"].items():
        rows: list[Line] = []
        for name in names:
            cells = [percent(case[key][name], n) for key in ("whitebox", "combined")]
            cells += [between(case["combined_interval"][name]), percent(case["gap"][name], n)]
            rows.append(("", [name, *cells]))
        grids.append(([threat, "white-box", "combined", "95% interval", "gap"], rows))
    return TextTable(grids, _about(summary))


_MEANS = {"clean": "clean", "AvgAcc": "avg_acc", "AvgRobAcc": "avg_rob_acc"}


def _about(summary: Summary) -> list[str]:
    notes = [
        f"{summary['n']} examples, {origin(summary)}",
        "combined: on the model's own points and on those of all others; gap: white-box less "
        "combined",
        "AvgRobAcc: mean of the combined accuracies; AvgAcc: mean of these and the clean one",
        cost(summary),
    ]
    if check := summary.get("check"):
        counts = [row for case in check["threats"].values() for row in case.values()]
        more = sum(row["broke_more"] for row in counts)
        notes.append(
            f"{check['attack']} on the first {check['n']} examples broke "
            f"{sum(row['broke'] for row in counts)}, of which white-box attacks did not {more}"
        )
    return notes + remarks(summary)
