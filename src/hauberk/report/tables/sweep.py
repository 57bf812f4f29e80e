"""A search as a table for a terminal: what its models keep, and the shares above thresholds."""

from collections.abc import Mapping, Sequence

from hauberk.report.tables.grid import Line, Summary, TextTable, percent

MOST = 30
"""Models that are listed one by one; of more, the best of each group."""


def table(
    models: Sequence[Summary], above: Mapping[str, Sequence[float]], thresholds: Sequence[float]
) -> TextTable:
    """The models, and one row a group.

    Args:
        models: ``group``, ``settings``, ``accuracy`` by name (``union`` among them), ``n``.
        above: share of the models above each threshold, by group.
        thresholds: shares in [0, 1].
    """
    listed = list(models) if len(models) <= MOST else [_best(models, group) for group in above]
    names = list(dict.fromkeys(name for model in models for name in model["accuracy"]))
    rows: list[Line] = []
    for model in listed:
        cells = [percent(model["accuracy"].get(name), model["n"]) for name in names]
        rows.append(("", [" ".join([model["group"], *_words(model["settings"])]), *cells]))
    shares: list[Line] = [("", [g, *(f"{100 * v:.0f}%" for v in vs)]) for g, vs in above.items()]
    head = "models" if len(models) <= MOST else f"best of {len(models)} models, by union"
    return TextTable(
        [
            ([head, *names], rows),
            (["models whose union is above", *(f"{100 * t:g}%" for t in thresholds)], shares),
        ],
        [f"accuracies on {models[0]['n']} examples"],
    )


def _best(models: Sequence[Summary], group: str) -> Summary:
    own = [model for model in models if model["group"] == group]
    return max(own, key=lambda model: float(model["accuracy"]["union"]))


def _words(settings: Summary) -> list[str]:
    """``step_l2=0.05``: the last word of each path, and its value."""
    return [f"{path.rpartition('.')[2]}={_short(value)}" for path, value in settings.items()]


def _short(value: object) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)
