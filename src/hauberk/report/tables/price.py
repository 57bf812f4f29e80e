"""The price of multi-robustness, as a table for a terminal."""

from hauberk.report.tables.grid import Line, Summary, TextTable, percent


def table(found: Summary) -> TextTable:
    """Accuracies of the runs and the optimum, then what each run pays, in points.

    Args:
        found: as :meth:`hauberk.analysis.Price.to_dict` gives it.
    """
    threats = list(found["best"])
    head = ["accuracy", "clean", *threats, "union", "average"]
    rows: list[Line] = []
    for name, run in found["runs"].items():
        own, n = run["threats"], run["n"]
        cells = [run["clean_accuracy"], *(own.get(threat) for threat in threats)]
        whole = set(own) == set(threats)
        cells += [run["union_accuracy"], run["average_accuracy"]] if whole else [None, None]
        rows.append(("", [name, *(percent(cell, n) for cell in cells)]))
    n = max(run["n"] for run in found["runs"].values())
    best = [None, *found["best"].values(), found["optimum_union"], found["optimum_average"]]
    rows.append(("bold", ["OPT", *(percent(cell, n) for cell in best)]))
    paid: list[Line] = [
        ("", [name, "", *(_points(own["threats"][threat]) for threat in threats),
              _points(own["union"]), _points(own["average"])])
        for name, own in found["price"].items()
    ]  # fmt: skip
    best_of = ", ".join(f"{threat} by {name}" for threat, name in found["best_of"].items())
    notes = [
        f"OPT: the best under each threat ({best_of}), their least and their mean",
        "price: OPT less the model's accuracy, in points",
        f"{n} examples",
        *found["notes"],
    ]
    return TextTable([(head, rows), (["price", "", *threats, "union", "average"], paid)], notes)


def _points(value: float) -> str:
    return f"{100 * value:.1f}"
