"""Accuracies under several threats as tables for a terminal: one run, or several side by side."""

from collections.abc import Mapping
from typing import Any

from hauberk.report.tables.grid import (
    NONE,
    Line,
    Summary,
    TextTable,
    between,
    cost,
    number,
    origin,
    per_example,
    percent,
    remarks,
)

UPPER = "≤ upper bound: not every point was attacked under this threat"
_COMPARABLE = {"n": "numbers of examples", "suite": "suites", "seed": "seeds"}


def table(summary: Summary) -> TextTable:
    """One run's summary.

    Args:
        summary: as ``summary.json`` of :func:`hauberk.evaluate` holds it.

    Example:
        >>> under = {"accuracy": 0.5, "interval": (0.4, 0.6), "attacks": {}}
        >>> cost = {"forwards": 300, "backwards": 200, "seconds": 1.5}
        >>> accuracies = {"clean_accuracy": 0.9, "union_accuracy": 0.5, "average_accuracy": 0.5}
        >>> made = table({"n": 100, **accuracies, "threats": {"linf:0.1": under}, "cost": cost})
        >>> print(str(made).splitlines()[-1])
        cost: 3 F + 2 B passes per example, 1.5 s
    """
    every, n = bool(summary.get("all_attacks")), summary["n"]
    head = ["", "accuracy", "95% interval", "broke", *(["alone"] if every else [])]

    def whole(name: str, mark: str = "") -> Line:
        accuracy = mark + percent(summary[f"{name}_accuracy"], n)
        return "bold", [name, accuracy, between(summary.get(f"{name}_interval"))]

    rows, outside = [whole("clean")], []
    for notation, threat in summary["threats"].items():
        accuracy = _mark(threat) + percent(threat["accuracy"], n)
        rows.append(("bold", [notation, accuracy, between(threat["interval"])]))
        for name, attack in threat["attacks"].items():
            if not attack.get("attacked", 1):
                continue  # nobody was left for it, or it was not called for
            after = percent(attack["accuracy_after"], n)
            alone = [str(attack["broke_alone"])] if every else []
            rows.append(("", [f"  {name}", after, "", str(attack["broke"]), *alone]))
            if ended := attack.get("violated"):
                outside.append(f"{name} under {notation}: {ended} of {attack['attacked']}")
    bounds = _bounds(summary)
    rows += [whole("union"), whole("average", "≤ " if bounds else "")]
    notes = [_about(summary), f"cost: {cost(summary)}", *([UPPER] if bounds else [])]
    notes += _floor(summary.get("floor"), n)
    notes += [f"searches that ended outside the threat: {text}" for text in outside]
    return TextTable([(head, rows)], notes + remarks(summary))


def compare(summaries: Mapping[str, Summary]) -> TextTable:
    """Several runs' summaries, one column for each run.

    Args:
        summaries: by the name that heads the run's column.

    Example:
        >>> under = {"accuracy": 0.5, "interval": (0.4, 0.6), "attacks": {}}
        >>> cost = {"forwards": 300, "backwards": 200, "seconds": 1.5}
        >>> accuracies = {"clean_accuracy": 0.9, "union_accuracy": 0.5, "average_accuracy": 0.5}
        >>> run = {"n": 100, **accuracies, "threats": {"linf:0.1": under}, "cost": cost}
        >>> print(str(compare({"plain": run, "hardened": run})).splitlines()[2])
        clean                     90.0%              90.0%
    """
    runs = list(summaries.values())
    wide = len(runs) <= 3  # that many intervals fit into 80 columns

    def cell(run: Summary, accuracy: Any, interval: Any, mark: str = "") -> str:
        text = mark + percent(accuracy, run["n"])
        return f"{text} ({between(interval)})" if wide and interval is not None else text

    def row(name: str) -> Line:
        key = f"{name}_accuracy"
        return "bold", [name, *(cell(r, r[key], r.get(f"{name}_interval")) for r in runs)]

    def under(notation: str) -> Line:
        found = [(run, run["threats"].get(notation)) for run in runs]
        return "", [notation, *(cell(run, t["accuracy"], t["interval"], _mark(t)) if t else NONE
                                for run, t in found)]  # fmt: skip

    threats = dict.fromkeys(notation for run in runs for notation in run["threats"])
    rows = [row("clean"), *map(under, threats), row("union"), row("average")]
    for name, short in (("forwards", "F"), ("backwards", "B")):
        passes = [number(per_example(run, name)) for run in runs]
        rows.append(("", [f"{short} per example", *passes]))
    rows.append(("", ["seconds", *(number(run["cost"]["seconds"]) for run in runs)]))
    notes = []
    for key, what in _COMPARABLE.items():
        if len({run.get(key) for run in runs}) > 1:
            values = ", ".join(f"{name}: {run.get(key)}" for name, run in summaries.items())
            notes.append(f"{what} differ ({values}): these runs are not comparable")
    notes = notes or [_about(run) for run in runs[:1]]
    for name, run in summaries.items():
        notes += [f"{name}: {text}" for text in remarks(run)]
    if any(map(_bounds, runs)):
        notes.append(UPPER)
    return TextTable([(["", *summaries], rows)], notes)


def _floor(floor: Summary | None, n: int) -> list[str]:
    """What the search for the floor of the union accuracy found, and its cost."""
    if not floor:
        return []
    fell, drawn = floor["broken"], floor["drawn"]
    if not drawn:
        return ["floor: no point stands"]
    suite, spent = floor["passes"]["suite"], floor["passes"]["floor"]
    budget = f" {spent / suite:.1f} times the passes" if suite and spent else " more passes"
    all_ = f"all {drawn}" if floor["exact"] else f"{drawn} of {floor['standing']}"
    found = f"floor: {fell} of {all_} standing points fell to{budget}"
    if floor["exact"]:
        found += ", so "
    else:
        confidence, bound = f"{100 * floor['confidence']:g}%", percent(floor["bound"], n)
        found += f" (drawn at random): with {confidence} confidence at most {bound} would, and "
    found += f"the union is at least {percent(floor['lowest'], n)}"
    return [found, f"floor's cost: {cost({**floor, 'n': drawn})}".replace("example", "drawn point")]


def _mark(threat: Summary) -> str:
    return "≤ " if threat.get("upper_bound") else ""


def _bounds(summary: Summary) -> bool:
    """Whether some accuracy of a run is an upper bound only."""
    return any(threat.get("upper_bound") for threat in summary["threats"].values())


def _about(summary: Summary) -> str:
    return f"{summary['n']} examples, suite {summary.get('suite')}, {origin(summary)}"
