"""What several solvers' perturbations look like, as a table for a terminal."""

from hauberk.report.tables.grid import Line, Summary, TextTable, fixed, percent


def table(study: Summary) -> TextTable:
    """The runs of a study.

    Args:
        study: what ``patterns.json`` holds (:meth:`hauberk.analysis.Study.to_dict`).
    """
    head = ["", "sparsity", "quartiles", "unchanged", "distance", "examples"]
    rows: list[Line] = []
    for row in study["compared"]:
        quartiles = f"{fixed(row['lower'])}–{fixed(row['upper'])}"
        cells = [fixed(row["median"]), quartiles, percent(row["zeros"]), fixed(row["size"])]
        rows.append(("", [f"{row['name']} ({row['problem']})", *cells, str(row["examples"])]))
    notes = [
        f"{study['given']} examples, {study['correct']} correct; (1) most loss within eps, (2) "
        "least distance",
        "sparsity: median of the l1 norm by the l2 norm, 1 for one feature, its root for n alike; "
        "unchanged: mean share of features; distance: median",
    ]
    return TextTable([(head, rows)], notes + _diversity(study.get("diversity")))


def _diversity(found: Summary | None) -> list[str]:
    """How far the runs' patterns differ, and which two differ the least and the most."""
    pairs = [pair for pair in (found or {}).get("pairs", ()) if pair["examples"]]
    if found is None or not pairs:
        return []

    def two(pair: Summary) -> str:
        return f"{pair['one']} and {pair['other']} ({fixed(pair['cosine'])})"

    pairs.sort(key=lambda pair: pair["cosine"])
    lines = [
        f"diversity: mean cosine {fixed(found['cosine'])} between two runs' perturbations of an "
        f"example, their sparsities differ by a factor of {fixed(found['ratio'])}"
    ]
    if len(pairs) > 1:
        lines.append(f"most alike: {two(pairs[-1])}; least: {two(pairs[0])}")
    return lines
