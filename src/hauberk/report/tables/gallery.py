"""What attacks made of examples, as a table for a terminal."""

from statistics import median

from hauberk.report.tables.grid import NONE, Line, Summary, TextTable, fixed, percent


def table(found: Summary) -> TextTable:
    """How many examples each column breaks, and how far its points are.

    Args:
        found: what :meth:`hauberk.analysis.Gallery.to_dict` gives.
    """
    norms = list(found["columns"][0]["norms"]) if found["columns"] else []
    head = ["", "broken", "distance", *norms]
    rows: list[Line] = []
    for column in found["columns"]:
        hit = column["fooled"]
        far = [_middle(column["distance"], hit)]
        far += [_middle(column["norms"][name], hit) for name in norms]
        share = percent(sum(hit) / len(hit), len(hit)) if hit else NONE
        rows.append(("", [column["name"], share, *far]))
    notes = [
        f"{len(found['ids'])} examples; medians over the broken: distance in the threat's unit, "
        "norms of the difference"
    ]
    return TextTable([(head, rows)], notes)


def _middle(values: list[float | None], hit: list[bool]) -> str:
    known = [v for v, fooled in zip(values, hit, strict=True) if fooled and v is not None]
    return fixed(median(known)) if known else NONE
