"""The generalisation gap as a table for a terminal, in 80 columns."""

from hauberk.report.tables.grid import Line, Summary, TextTable, between, percent


def table(gaps: Summary, n: int, m: int) -> TextTable:
    """Training accuracy, test accuracy and their difference.

    Args:
        gaps: by name (``clean``, a threat, ``union``): ``train``, ``test``, ``gap`` and
            ``interval``, as :class:`hauberk.analysis.Gap` has them.
        n: training examples; m: test examples.

    Example:
        >>> row = {"train": 1.0, "test": 0.75, "gap": 0.25, "interval": (0.1, 0.4)}
        >>> str(table({"clean": row}, 100, 100)).splitlines()[2].split()
        ['clean', '100.0%', '75.0%', '25.0%', '10.0–40.0']
    """
    rows: list[Line] = [
        (
            "",
            [
                name,
                percent(row["train"], n),
                percent(row["test"], m),
                percent(row["gap"], max(n, m)),
                between(row["interval"]),
            ],
        )
        for name, row in gaps.items()
    ]
    head = ["accuracy on", "training", "test", "gap", "95% interval"]
    return TextTable([(head, rows)], [f"generalisation gap: {n} training and {m} test examples"])
