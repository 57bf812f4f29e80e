"""Suites, scheduler, judge, ledger and metrics: what turns attacks into numbers to believe."""

from hauberk.evaluation.catalogue import SUITES
from hauberk.evaluation.evaluate import evaluate
from hauberk.evaluation.evidence import Finding
from hauberk.evaluation.judge import Verdict, judge
from hauberk.evaluation.ledger import Ledger
from hauberk.evaluation.result import Result
from hauberk.evaluation.suites import Stage, Suite
from hauberk.evaluation.transfer import Transfer, TransferReport, transfer
from hauberk.evaluation.verify import Verification, verify
from hauberk.evaluation.walk import Progress

__all__ = [
    "SUITES",
    "Finding",
    "Ledger",
    "Progress",
    "Result",
    "Stage",
    "Suite",
    "Transfer",
    "TransferReport",
    "Verdict",
    "Verification",
    "evaluate",
    "judge",
    "transfer",
    "verify",
]
