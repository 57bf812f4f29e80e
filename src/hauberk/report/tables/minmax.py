"""The summary of an attack on several domains as a table for a terminal, in 80 columns."""

from typing import TYPE_CHECKING, Any

from hauberk.report.tables.accuracy import _NONE, Summary, _grid, _notes, _print, _text

if TYPE_CHECKING:
    from rich.console import Console

_MOST = 24
"""Parts that are told one by one."""


def table(summary: Summary) -> str:
    """One run's summary as text, at most 80 columns wide."""
    return _text(lambda console: print_table(summary, console))


def print_table(summary: Summary, console: "Console | None" = None) -> None:
    """Print one run's summary with rich; to standard output if no console is given."""
    sides = summary["sides"]
    grouped = summary["group"] is not None
    binding = summary.get("binding")
    head = ["accuracy of", "clean", *sides, *(["weight", "hardest"] if binding else [])]
    rows = []
    for part in summary["parts"][:_MOST]:
        cells = [part, _percent(summary["clean_accuracy"][part])]
        cells += [_percent(side["accuracy"][part]) for side in sides.values()]
        if binding:
            cells += [f"{sides['minmax']['mean_weights'][part]:.3f}", _percent(binding[part])]
        rows.append(("", cells))
    if len(summary["parts"]) > _MOST:
        rows.append(("", [f"{len(summary['parts']) - _MOST} more"]))
    told = [("ASR_all", "asr_all"), ("ASR_avg", "asr_avg")]
    told += [("ASR_gp", "asr_group")] if grouped else []
    several = summary["threat"].startswith("each")
    told += [("ASR_any", "asr_any")] if several else []
    gain = summary.get("lift", {})
    # A perturbation for each threat aims at one success, not at several.
    gain = {key: value for key, value in gain.items() if not several or key == "asr_any"}
    for label, key in told:
        cells = [label, "", *(_percent(side[key]) for side in sides.values())]
        if key in gain:
            cells.append(f"lift {_lift(gain[key])}")
        rows.append(("bold", cells))
    passes = [f"{side['cost']['passes_per_example']:,.0f}" for side in sides.values()]
    rows.append(("", ["passes", "", *passes]))
    _print(_grid(head, rows), _about(summary), console)


def _percent(value: float) -> str:
    return f"{100 * value:.1f}%"


def _lift(value: Any) -> str:
    return _NONE if value is None or float(value) == float("inf") else f"{100 * value:+.1f}%"


def _about(summary: Summary) -> list[str]:
    what = f"{summary['n']} examples under {summary['threat']}"
    if summary["group"] is not None:
        what += f" in {summary['perturbations']} groups of {summary['group']}"
    attack = summary["attack"]
    told = [
        f"{what}, {attack['attack']} of {attack['steps']} steps, seed {summary['seed']}, hauberk "
        f"{summary['hauberk_version']}"
    ]
    strong = summary["threat"].startswith("each")
    told.append(
        "weight: mean domain weight of min-max; hardest: share of perturbations in which the domain"
        f" holds the most weight, the one {'that breaks most' if strong else 'hardest to fool'}"
    )
    told.append("ASR: share fooled, as the judge found; all: every domain at once; passes: per "
                "perturbation")  # fmt: skip
    seconds = sum(side["cost"]["seconds"] for side in summary["sides"].values())
    refused = sum(side["refused"] for side in summary["sides"].values())
    told.append(f"{seconds:.1f} seconds" + (f", {refused} points refused" if refused else ""))
    return told + _notes(summary, bounds=False)
