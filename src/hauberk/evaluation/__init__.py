"""Suites, scheduler, judge, ledger and metrics: what turns attacks into numbers to believe."""

from hauberk.attacks.transfer import Transfer
from hauberk.evaluation.accuracy.catalogue import SUITES
from hauberk.evaluation.accuracy.evaluate import evaluate
from hauberk.evaluation.accuracy.result import Result
from hauberk.evaluation.accuracy.sizes import SizesResult, at_sizes
from hauberk.evaluation.accuracy.suites import Stage, Suite
from hauberk.evaluation.core.findings import Finding
from hauberk.evaluation.core.judge import Verdict, judge
from hauberk.evaluation.core.progress import Progress
from hauberk.evaluation.core.verify import Verification, verify
from hauberk.evaluation.export import export
from hauberk.evaluation.load import load
from hauberk.evaluation.merge import merge
from hauberk.evaluation.minmax.minmax import minmax
from hauberk.evaluation.radii.radius import radius
from hauberk.evaluation.transfer import TransferReport, TransferReports, transfer
from hauberk.evaluation.universal.universal import universal
from hauberk.store.ledger import Ledger

__all__ = [
    "SUITES",
    "Finding",
    "Ledger",
    "Progress",
    "Result",
    "SizesResult",
    "Stage",
    "Suite",
    "Transfer",
    "TransferReport",
    "TransferReports",
    "Verdict",
    "Verification",
    "at_sizes",
    "evaluate",
    "export",
    "judge",
    "load",
    "merge",
    "minmax",
    "radius",
    "transfer",
    "universal",
    "verify",
]
