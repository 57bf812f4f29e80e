"""What landscapes show, as tables for a terminal."""

from collections.abc import Mapping

from hauberk.report.tables.grid import NONE, Line, Summary, TextTable, fixed

Panels = Mapping[tuple[str, str], Summary]
"""By model and threat."""


def planes(panels: Panels, loss: str = "ce") -> TextTable:
    """The loss at the ends of planes, and how much like a step it is along their axes.

    Args:
        panels: what :meth:`hauberk.analysis.Plane.to_dict` gives.
        loss: ``ce`` or ``margin``.
    """
    head = ["", "example", "clean", "gradient", "free", "cosine", "jump", "jump free"]
    rows: list[Line] = []
    for names, found in panels.items():
        ends = [
            fixed(value) + ("*" if fooled else "")
            for value, fooled in zip(found["ends"][loss], found["fooled"], strict=True)
        ]
        jump = found["jump"][loss]
        more = [
            fixed(found["cosine"], ".2f"),
            *(fixed(jump[k], ".2f") for k in ("gradient", "free")),
        ]
        rows.append(("", [", ".join(filter(None, names)), str(found["example"]), *ends, *more]))
    return TextTable(
        [(head, rows)],
        [
            f"{loss} loss at the example and at the attacks' points; * where the model is wrong",
            "jump: the largest change between neighbours on the way to a point, as a share of all",
        ],
    )


def segments(panels: Panels) -> TextTable:
    """How flat the margin is on the way to points that failed.

    Args:
        panels: what :meth:`hauberk.analysis.Segment.to_dict` gives.
    """
    head = ["", "examples", "correct", "failed", "rise", "share", "bend"]
    rows: list[Line] = []
    for names, found in panels.items():
        failed = len(found["rows"])
        counts = [str(found["given"]), str(found["correct"]), str(failed)]
        cells = [fixed(found[k]) if failed else NONE for k in ("rise", "share", "bend")]
        rows.append(("", [", ".join(filter(None, names)), *counts, *cells]))
    return TextTable(
        [(head, rows)],
        [
            "medians over the failed points; rise: of the logit margin from the example to the "
            "point; share: of the way to a wrong decision, 0 if flat; bend: largest distance from "
            "a straight line",
        ],
    )
