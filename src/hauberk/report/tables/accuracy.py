"""Summaries as tables for a terminal: readable in 80 columns, without colours, and when piped."""

from collections.abc import Callable, Mapping, Sequence
from io import StringIO
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

Summary = Mapping[str, Any]

_NONE = "–"


def table(summary: Summary) -> str:
    """One run's summary as text, at most 80 columns wide."""
    return _text(lambda console: print_table(summary, console))


def print_table(summary: Summary, console: "Console | None" = None) -> None:
    """Print one run's summary with rich; to standard output if no console is given."""
    every = bool(summary.get("all_attacks"))
    head = ["", "accuracy", "95% interval", "broke", *(["alone"] if every else [])]
    rows: list[tuple[str, list[str]]] = [
        ("bold", ["clean", _percent(summary, "clean_accuracy"), _interval(summary, "clean")])
    ]
    bounds = False
    for notation, threat in summary["threats"].items():
        bounds |= bool(threat.get("upper_bound"))
        mark = "≤ " if threat.get("upper_bound") else ""
        accuracy = mark + _share(threat["accuracy"], summary["n"])
        rows.append(("bold", [notation, accuracy, _between(threat["interval"])]))
        for name, attack in threat["attacks"].items():
            if not attack.get("attacked", 1):
                continue  # nobody was left for it, or it was not called for
            after = _share(attack["accuracy_after"], summary["n"])
            alone = [str(attack["broke_alone"])] if every else []
            rows.append(("", [f"  {name}", after, "", str(attack["broke"]), *alone]))
    rows.append(
        ("bold", ["union", _percent(summary, "union_accuracy"), _interval(summary, "union")])
    )
    mark = "≤ " if bounds else ""
    rows.append(("bold", ["average", mark + _percent(summary, "average_accuracy")]))
    notes = [_about(summary), f"cost: {_cost(summary)}", *_notes(summary, bounds)]
    _print(_grid(head, rows), notes, console)


def compare(summaries: Mapping[str, Summary]) -> str:
    """Several runs' summaries as text, one column per run."""
    return _text(lambda console: print_comparison(summaries, console))


def print_comparison(summaries: Mapping[str, Summary], console: "Console | None" = None) -> None:
    """Print several runs' summaries with rich, one column per run (name -> summary)."""
    runs = list(summaries.values())
    wide = len(runs) <= 3  # that many intervals fit into 80 columns

    def cell(run: Summary, accuracy: Any, interval: Any, mark: str = "") -> str:
        told = mark + _share(accuracy, run["n"])
        return f"{told} ({_between(interval)})" if wide and interval is not None else told

    def row(name: str) -> list[str]:
        key = f"{name}_accuracy"
        return [name, *(cell(r, r[key], r.get(f"{name}_interval")) for r in runs)]

    rows = [("bold", row("clean"))]
    for notation in dict.fromkeys(t for run in runs for t in run["threats"]):
        cells = [notation]
        for run in runs:
            found = run["threats"].get(notation)
            mark = "≤ " if found and found.get("upper_bound") else ""
            cells.append(cell(run, found["accuracy"], found["interval"], mark) if found else _NONE)
        rows.append(("", cells))
    rows += [("bold", row("union")), ("bold", row("average"))]
    for name, short in (("forwards", "F"), ("backwards", "B")):
        told = [_number(_per_example(run, name)) for run in runs]
        rows.append(("", [f"{short} per example", *told]))
    rows.append(("", ["seconds", *(_number(run["cost"]["seconds"]) for run in runs)]))
    notes = [
        f"{what} differ ({', '.join(values)}): these runs are not comparable"
        for what, values in _disagreements(summaries)
    ] or [_about(run) for run in runs[:1]]
    for name, run in summaries.items():
        notes += [f"{name}: {text}" for text in _notes(run, bounds=False)]
    if any(t.get("upper_bound") for run in runs for t in run["threats"].values()):
        notes.append(_UPPER)
    _print(_grid(["", *summaries], rows), notes, console)


_UPPER = "≤ upper bound: not every point was attacked under this threat"


def _about(summary: Summary) -> str:
    told = [f"{summary['n']} examples", f"suite {summary.get('suite')}"]
    told += [f"seed {summary.get('seed')}", f"hauberk {summary.get('hauberk_version')}"]
    return ", ".join(told)


def _cost(summary: Summary) -> str:
    forwards, backwards = (_number(_per_example(summary, k)) for k in ("forwards", "backwards"))
    seconds = summary["cost"]["seconds"]
    time = "" if seconds is None else f", {_number(seconds)} s"
    return f"{forwards} F + {backwards} B passes per example{time}"


def _notes(summary: Summary, bounds: bool) -> list[str]:
    notes = [_UPPER] if bounds else []
    if summary.get("escalated"):
        notes.append("escalated: the gradients seem masked, so the suite ran its further attacks")
    if not summary.get("finished", True):
        notes.append("unfinished: run again with --resume; until then accuracies can only fall")
    if near := len(summary.get("near_boundary") or ()):
        notes.append(f"attacked points within rounding of the decision boundary: {near}")
    if rejected := summary.get("rejected"):
        notes.append(f"points that an attack called broken and the judge did not: {rejected}")
    return notes + [f"warning: {text}" for text in summary.get("warnings") or ()]


def _disagreements(summaries: Mapping[str, Summary]) -> list[tuple[str, list[str]]]:
    found = []
    for key, what in (("n", "numbers of examples"), ("suite", "suites"), ("seed", "seeds")):
        values = {name: run.get(key) for name, run in summaries.items()}
        if len(set(values.values())) > 1:
            found.append((what, [f"{name}: {value}" for name, value in values.items()]))
    return found


def _per_example(summary: Summary, name: str) -> float | None:
    return float(summary["cost"][name]) / summary["n"] if summary["n"] else None


def _number(value: float | None) -> str:
    if value is None:
        return _NONE
    return f"{value:,.0f}" if value >= 1000 or value == int(value) else f"{value:,.1f}"


def _percent(summary: Summary, key: str) -> str:
    return _share(summary[key], summary["n"])


def _share(value: float | None, n: int) -> str:
    """A fraction in percent, with no more digits than ``n`` examples can tell apart."""
    return _NONE if value is None else f"{100 * value:.{1 if n <= 1000 else 2}f}%"


def _interval(summary: Summary, name: str) -> str:
    return _between(summary.get(f"{name}_interval"))


def _between(interval: Sequence[float] | None) -> str:
    return "" if interval is None else f"{100 * interval[0]:.1f}–{100 * interval[1]:.1f}"


def _grid(head: list[str], rows: list[tuple[str, list[str]]]) -> "RenderableType":
    from rich import box
    from rich.table import Table
    from rich.text import Text

    grid = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False)
    for i, name in enumerate(head):
        # Text and not str: an attack's name may look like rich's markup.
        justify = "right" if i else "left"
        grid.add_column(Text(name), justify=justify, overflow="fold")  # type: ignore[arg-type]
    for style, cells in rows:
        padded = cells + [""] * (len(head) - len(cells))
        grid.add_row(*(Text(cell) for cell in padded), style=style)
    return grid


def _print(grid: "RenderableType", notes: list[str], console: "Console | None") -> None:
    from rich.console import Console, Group
    from rich.text import Text

    console = console or Console()
    with console.capture() as captured:
        console.print(Group(grid, "", *(Text(note) for note in notes)))
    told = captured.get()
    if not console.encoding.lower().startswith("utf"):
        told = told.replace("≤", "<=").replace("–", "-")
        told = told.encode(console.encoding, "replace").decode(console.encoding)
    console.file.write("\n".join(line.rstrip() for line in told.splitlines()) + "\n")


def _text(show: "Callable[[Console], None]") -> str:
    from rich.console import Console

    sink = StringIO()
    show(Console(file=sink, width=80, color_system=None, legacy_windows=False))
    return sink.getvalue().rstrip("\n")
