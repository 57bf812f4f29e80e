"""How hard images are to attack, as tables for a terminal: by image, by threat, by pair."""

from collections.abc import Mapping, Sequence
from typing import Any

from hauberk.report.tables.grid import Line, TextTable, fixed

_NAMES = {"cw_l2": "C&W l2", "eps_linf": "eps linf"}
_SHARES = ("one", "even", "fooled")


def table(hardness: Mapping[str, Any]) -> str:
    """A row for each image, then for each threat, then for each pair of measures.

    At most 80 columns wide. The hardest image of its group by a measure is marked ``*``.

    Args:
        hardness: what :meth:`hauberk.analysis.Hardness.to_dict` holds.
    """
    parts = _images(hardness), _threats(hardness), _pairs(hardness)
    return "\n\n".join(map(str, parts))


def _images(hardness: Mapping[str, Any]) -> TextTable:
    measures = {key: hardness[key] for key in _NAMES}
    columns = {**hardness["weights"], **{_NAMES[key]: value for key, value in measures.items()}}
    rows: list[Line] = []
    for g, name in enumerate(hardness["groups"]):
        tops = {key: _top(values[g]) for key, values in columns.items()}
        for m, place in enumerate(hardness["index"][g]):
            mark = "" if hardness["correct"][g][m] else "!"
            cells = [name if m == 0 else "", f"{place}{mark}"]
            for key, values in columns.items():
                value = values[g][m]
                cells.append(fixed(value, ".3f") + ("*" if value == tops[key] else " "))
            rows.append(("", cells))
    notes = [
        _about(hardness),
        "group: class and letter; image: its place in the data, ! for one that the model gets "
        "wrong",
        "threats: domain weight; *: hardest of its group; –: no error found",
    ]
    return TextTable([(["group", "image", *columns], rows)], notes)


def _threats(hardness: Mapping[str, Any]) -> TextTable:
    rows: list[Line] = [
        ("", [name, f"{own['images']:.2f}", *(f"{100 * own[key]:.0f}%" for key in _SHARES)])
        for name, own in hardness["spread"].items()
    ]
    note = (
        "images: mean effective number that carry weight; one: groups in which one image has all; "
        "even: groups in which all have the same; fooled: images"
    )
    return TextTable([(["weights", "images", *_SHARES], rows)], [note])


def _pairs(hardness: Mapping[str, Any]) -> TextTable:
    rows: list[Line] = []
    for pair in hardness["correlations"]:
        names = [_NAMES.get(pair[key], pair[key]) for key in ("first", "second")]
        numbers = [fixed(pair[key], ".3f") for key in ("rho", "error")]
        rows.append(("", [*names, *numbers, f"{pair['top']}/{pair['groups']}", str(pair["tied"])]))
    note = (
        "rho: mean rank correlation within groups, and its standard error; same top: groups that "
        "agree on the hardest image; tied: groups left out, where one of the two is all equal"
    )
    head = ["measure", "and", "rho", "error", "same top", "tied"]
    return TextTable([(head, rows)], [note])


def _top(row: Sequence[float | None]) -> float | None:
    """The largest of a row; None, which stands for inf, is larger than all."""
    return None if None in row else max(value for value in row if value is not None)


def _about(hardness: Mapping[str, Any]) -> str:
    own, index = hardness["settings"], hardness["index"]
    size = len(index[0]) if index else 0
    # Infinite numbers are text in JSON.
    gamma, beta = float(own["gamma"]), float(own["beta"])
    text = f"{len(index)} groups of {size}, gamma {gamma:g}, beta {beta:g}"
    text += ", averaged over the steps" if own.get("weights") == "mean" else ""
    solver = own["l2_solver"]
    name = solver if isinstance(solver, str) else solver.get("solver", solver.get("attack"))
    return text + ("" if name in ("CW", "cw") else f"; l2 distances by {name}, not C&W")
