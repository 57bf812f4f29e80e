"""Suites, scheduler, judge, ledger and metrics: what turns attacks into numbers to believe."""

from hauberk.evaluation.evaluate import Progress, evaluate
from hauberk.evaluation.judge import Verdict, judge
from hauberk.evaluation.ledger import Ledger
from hauberk.evaluation.result import Result
from hauberk.evaluation.suites import SUITES, Suite
from hauberk.evaluation.verify import Verification, verify

__all__ = [
    "SUITES",
    "Ledger",
    "Progress",
    "Result",
    "Suite",
    "Verdict",
    "Verification",
    "evaluate",
    "judge",
    "verify",
]
