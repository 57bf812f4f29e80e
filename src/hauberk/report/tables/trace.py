"""Loss per step of several attacks, as a table for a terminal."""

from collections.abc import Mapping, Sequence

from hauberk.report.tables.grid import Line, Summary, TextTable, fixed, percent


def table(panels: Mapping[str, Sequence[Summary]]) -> TextTable:
    """The loss of every curve at a few steps, and how many examples it has broken by its end.

    Args:
        panels: by model, curves as :meth:`hauberk.analysis.LossTrace.to_dict` gives them.
    """
    curves = [(name, curve) for name, some in panels.items() for curve in some]
    steps = sorted({places(curve["steps"])[i] for _, curve in curves for i in range(3)})
    some = steps if len(steps) <= 5 else [steps[0], steps[-1]]
    head = ["", *(f"step {step}" for step in some), "best", "broken", "examples"]
    rows: list[Line] = []
    for name, curve in curves:
        mean, last = curve["current"]["mean"], curve["steps"]
        cells = [fixed(mean[step]) if step <= last else fixed(None) for step in some]
        cells += [fixed(curve["best"]["mean"][-1]), percent(curve["broken"][-1])]
        rows.append(("", [_named(panels, name, curve["name"]), *cells, str(curve["examples"])]))
    losses = ", ".join(sorted({f"{curve['loss']} under {curve['threat']}" for _, curve in curves}))
    note = "best: mean of the largest loss so far; broken: share of examples fooled by then"
    return TextTable([(head, rows)], [f"mean loss of the iterate, {losses}", note])


def places(steps: int) -> list[int]:
    """The steps that the table shows: the first, a tenth of them, and the last.

    Example:
        >>> places(1000)
        [0, 100, 1000]
    """
    return [0, max(min(1, steps), steps // 10), steps]


def _named(panels: Mapping[str, Sequence[Summary]], model: str, curve: str) -> str:
    return curve if len(panels) == 1 else f"{model}: {curve}"
