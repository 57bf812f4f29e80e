"""The summary of an attack on several domains as a table for a terminal, in 80 columns."""

from typing import Any

from hauberk.report.tables.grid import NONE, Line, Summary, TextTable, origin, percent, remarks

_MOST = 24
"""Domains that have a row of their own."""


def table(summary: Summary) -> TextTable:
    """One run's summary.

    Args:
        summary: as ``summary.json`` of :func:`hauberk.minmax` holds it.
    """
    sides = summary["sides"]
    binding = summary.get("binding")
    head = ["accuracy of", "clean", *sides, *(["weight", "hardest"] if binding else [])]
    rows: list[Line] = []
    for part in summary["parts"][:_MOST]:
        cells = [part, percent(summary["clean_accuracy"][part])]
        cells += [percent(side["accuracy"][part]) for side in sides.values()]
        if binding:
            cells += [f"{sides['minmax']['mean_weights'][part]:.3f}", percent(binding[part])]
        rows.append(("", cells))
    if len(summary["parts"]) > _MOST:
        rows.append(("", [f"{len(summary['parts']) - _MOST} more"]))
    rates = [("ASR_all", "asr_all"), ("ASR_avg", "asr_avg")]
    rates += [("ASR_gp", "asr_group")] if summary["group"] is not None else []
    several = _several(summary)
    rates += [("ASR_any", "asr_any")] if several else []
    gain = summary.get("lift", {})
    # A perturbation for each threat aims at one success, not at several.
    gain = {key: value for key, value in gain.items() if not several or key == "asr_any"}
    for label, key in rates:
        cells = [label, "", *(percent(side[key]) for side in sides.values())]
        if key in gain:
            cells.append(f"lift {_lift(gain[key])}")
        rows.append(("bold", cells))
    passes = [f"{side['cost']['passes_per_example']:,.0f}" for side in sides.values()]
    rows.append(("", ["passes", "", *passes]))
    return TextTable([(head, rows)], _about(summary))


def _lift(value: Any) -> str:
    return NONE if value is None or float(value) == float("inf") else f"{100 * value:+.1f}%"


def _several(summary: Summary) -> bool:
    """Whether each threat has a perturbation of its own, so that one success is enough."""
    return str(summary["threat"]).startswith("each")


def _about(summary: Summary) -> list[str]:
    what = f"{summary['n']} examples under {summary['threat']}"
    if summary["group"] is not None:
        what += f" in {summary['perturbations']} groups of {summary['group']}"
    attack, sides = summary["attack"], summary["sides"].values()
    hardest = "that breaks most" if _several(summary) else "hardest to fool"
    seconds = sum(side["cost"]["seconds"] for side in sides)
    refused = sum(side["refused"] for side in sides)
    return [
        f"{what}, {attack['attack']} of {attack['steps']} steps, {origin(summary)}",
        "weight: mean domain weight of min-max; hardest: share of perturbations in which the domain"
        f" holds the most weight, the one {hardest}",
        "ASR: share fooled, as the judge found; all: every domain at once; passes: per "
        "perturbation",
        f"{seconds:.1f} seconds" + (f", {refused} points refused" if refused else ""),
        *remarks(summary),
    ]
