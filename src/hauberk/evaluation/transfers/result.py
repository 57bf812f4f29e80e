"""What a transfer run returns: a report for each threat, and averages over several."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from statistics import fmean
from typing import Any

from hauberk.evaluation.core.summary import RunResult
from hauberk.report.tables import transfers
from hauberk.report.tables.transfer import table
from hauberk.store.ledger import Store

Shares = dict[str, float]


@dataclass(frozen=True)
class TransferReport(RunResult):
    """What each model withstands alone, and with the others' points. Shares of all examples.

    Source: Ding et al. 2020, section 3.2 and appendix D.

    Attributes:
        threat: its notation.
        clean: accuracy on the clean inputs, per model.
        whitebox: accuracy on the points crafted on the model itself.
        combined: accuracy on these and on all points crafted on the other models.
        broke: ``broke[source][target]``: share of examples that the target gets right when clean
            and wrong at a point crafted on the source.
        forwards, backwards: passes spent in all, the judge's not counted.

    Example:
        >>> one = {"net": 0.5}
        >>> TransferReport("l2:1", {"net": 0.9}, one, one, {"net": {"net": 0.4}}, 60, 50).gap
        {'net': 0.0}
    """

    threat: str
    clean: Shares
    whitebox: Shares
    combined: Shares
    broke: dict[str, Shares]
    forwards: int
    backwards: int
    summary: dict[str, Any] = field(default_factory=dict, repr=False, compare=False)
    store: Store | None = field(default=None, repr=False, compare=False)

    @property
    def gap(self) -> Shares:
        """TransferGap, white-box less combined accuracy, per model; large if gradients mislead."""
        return transfer_gap(self.whitebox, self.combined)

    def table(self) -> str:
        """The report as text (:func:`hauberk.report.tables.transfer.table`)."""
        names = ("threat", "clean", "whitebox", "combined", "broke", "gap")
        return table({name: getattr(self, name) for name in names})

    def __str__(self) -> str:
        return self.table()


class TransferReports(dict[str, TransferReport], RunResult):
    """The reports of one run by threat, and their averages.

    Attributes:
        summary: everything that ``summary.json`` holds.

    Example:
        >>> def one(combined):
        ...     share = {"net": combined}
        ...     return TransferReport("", {"net": 1.0}, share, share, {}, 0, 0)
        >>> found = TransferReports({"l2:1": one(0.75), "l2:2": one(0.25)}, {})
        >>> found.average_accuracy, found.average_robust_accuracy
        ({'net': 0.6666666666666666}, {'net': 0.5})
    """

    tabulate = staticmethod(transfers.table)

    def __init__(
        self,
        reports: Mapping[str, TransferReport],
        summary: dict[str, Any],
        store: Store | None = None,
    ) -> None:
        super().__init__(reports)
        self.summary, self.store = summary, store

    @property
    def clean(self) -> Shares:
        """Accuracy on the clean inputs, per model."""
        return next(iter(self.values())).clean

    @property
    def average_accuracy(self) -> Shares:
        """AvgAcc: mean of the clean accuracy and the combined ones, per model."""
        return averages(self.clean, [report.combined for report in self.values()])[0]

    @property
    def average_robust_accuracy(self) -> Shares:
        """AvgRobAcc: mean of the combined accuracies, per model."""
        return averages(self.clean, [report.combined for report in self.values()])[1]


def transfer_gap(whitebox: Mapping[str, float], combined: Mapping[str, float]) -> Shares:
    """TransferGap: white-box less combined accuracy, per model (Ding et al. 2020, appendix E).

    Example:
        >>> transfer_gap({"net": 0.75}, {"net": 0.5})
        {'net': 0.25}
    """
    return {name: whitebox[name] - combined[name] for name in whitebox}


def averages(
    clean: Mapping[str, float], robust: Sequence[Mapping[str, float]]
) -> tuple[Shares, Shares]:
    """AvgAcc and AvgRobAcc, per model: means over the threats, with and without clean accuracy.

    Source: Ding et al. 2020, section 3.2.

    Example:
        >>> averages({"net": 1.0}, [{"net": 0.75}, {"net": 0.25}])
        ({'net': 0.6666666666666666}, {'net': 0.5})
    """
    rows = {name: [row[name] for row in robust] for name in clean}
    means = {name: fmean([clean[name], *row]) for name, row in rows.items()}
    return means, {name: fmean(row) for name, row in rows.items()}
