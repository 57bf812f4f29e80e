"""Suites: named, versioned schedules of attacks."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from hauberk.attacks import APGD
from hauberk.attacks.base import Attack
from hauberk.errors import InputError
from hauberk.threats.base import Threat


@dataclass(frozen=True)
class Suite:
    """Attacks by name, run in order on the points that still stand.

    Attributes:
        name, version: what the manifest records; the version changes when a number could.
        about: one line.
        attacks: the schedule, the same for every threat.
    """

    name: str
    version: int
    about: str
    attacks: Mapping[str, Attack]

    def schedule(self, threats: tuple[Threat, ...]) -> list[tuple[Threat, str, Attack]]:
        """(threat, name, attack) in the order in which they are run."""
        return [(t, name, attack) for t in threats for name, attack in self.attacks.items()]

    def passes(self, classes: int = 10) -> int:
        """Most passes that one point costs under one threat when nothing breaks it."""
        return sum(a.attempts(classes) * a.passes for a in self.attacks.values())

    def describe(self) -> dict[str, Any]:
        """What the manifest records."""
        return {name: attack.describe() for name, attack in self.attacks.items()}


SUITES = {
    suite.name: suite
    for suite in (
        Suite(
            name="fast",
            version=1,
            about="a first look: one APGD run on the logit margin",
            attacks={"apgd-margin": APGD(steps=50, loss="margin")},
        ),
        Suite(
            name="standard",
            version=1,
            about="to quote: APGD on cross-entropy, then on the nine best-ranked targets",
            attacks={
                "apgd-ce": APGD(steps=100, loss="ce"),
                "apgd-t": APGD(steps=100, loss="dlr", targets=9),
            },
        ),
    )
}


def suite_of(suite: "str | Suite | Mapping[str, Attack] | Attack") -> Suite:
    """A suite by name, a suite as it is, or one made of the given attacks.

    Raises:
        InputError: for an unknown name or something that is no attack.
    """
    if isinstance(suite, Suite):
        return suite
    if isinstance(suite, str):
        if suite not in SUITES:
            raise InputError(f"unknown suite '{suite}': choose one of {', '.join(SUITES)}")
        return SUITES[suite]
    if isinstance(suite, Attack):
        suite = {type(suite).__name__.lower(): suite}
    if not suite or not all(isinstance(attack, Attack) for attack in suite.values()):
        raise InputError("a suite is a name, an attack, or a dictionary of names and attacks")
    return Suite(name="custom", version=0, about="the caller's own", attacks=dict(suite))
