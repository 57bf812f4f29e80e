"""What makes numbers doubtful: one finding each, with its figures and what to do."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from hauberk.errors import warn


@dataclass(frozen=True)
class Finding:
    """One sign that a number may mislead.

    Attributes:
        code: what kind of sign; the same words in every run.
        threat: the threat's notation; empty if it is about model or data.
        masked: whether it speaks for masked gradients (a suite escalates then).
        observed: the evidence, in words and figures.
        remedy: what to do.

    Example:
        >>> print(Finding("zero gradients", "l2:1", True, "on 3 of 9 points", "Look for rounding"))
        l2:1: on 3 of 9 points. Look for rounding
        >>> print(Finding.of("few classes", "all 9 labels are 0", "Draw at random"))
        all 9 labels are 0. Draw at random
    """

    code: str
    threat: str
    masked: bool
    observed: str
    remedy: str

    @classmethod
    def of(cls, code: str, observed: str, remedy: str, threat: str = "") -> "Finding":
        """A finding that says nothing about gradients."""
        return cls(code, threat, False, observed, remedy)

    def __str__(self) -> str:
        head = f"{self.threat}: " if self.threat else ""
        end = "" if self.observed.endswith((":", "?")) else "."
        return f"{head}{self.observed}{end} {self.remedy}"

    def plain(self) -> dict[str, Any]:
        """For the summary and the manifest."""
        return {
            "code": self.code, "threat": self.threat, "masked": self.masked,
            "told": self.observed, "remedy": self.remedy,
        }  # fmt: skip

    def under(self, name: str) -> "Finding":
        """The same finding about the model of a name, where there are several."""
        return Finding(self.code, self.threat, self.masked, f"{name}: {self.observed}", self.remedy)


def tell(found: Iterable[Finding]) -> None:
    """Warn of each, once."""
    for text in dict.fromkeys(map(str, found)):
        warn(text)
