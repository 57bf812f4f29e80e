"""Suites: named, versioned schedules of attacks, and how to write one's own."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, Literal

from hauberk.engine.method import Method
from hauberk.errors import InputError
from hauberk.evaluation.core.recorded import attack_from
from hauberk.threats.base import Threat

PRICE = 20_000.0
"""Passes that one more broken point may cost in suites that do not say so."""


USUAL = 0.025
"""Share of the most that adaptive stages can cost which they usually do, measured on networks
whose gradients are not masked."""


@dataclass(frozen=True, kw_only=True)
class Stage:
    """One row of a suite: an attack, and the points and threats that it is for.

    Args:
        attack: what is run, under every threat, on the points that still stand.
        when: ``always``, or only if by then the run has evidence of ``masked`` gradients, or has
            none (``unmasked``).
        portion: below 1, go through the standing points from the one nearest to the decision
            boundary on, in portions of this share of them, until a portion holds none that breaks.
        carry: only points broken under another threat, starting from what broke them there.
        adaptive: only where it pays: adaptive stages that follow each other are dealt portions of
            the points that stand by the :class:`~hauberk.evaluation.accuracy.scheduler.Scheduler`.
        odds: of an adaptive stage: log-odds, before the run has seen any, that it breaks a point
            on which other searches have left an eighth of what they took from the margin.
        threats: kinds of threat that it is for, e.g. ``("l1", "l0")``, or traits,
            ``("ball",)`` (:class:`hauberk.threats.Trait`), or all but some, ``("-l1",)``; all by
            default.

    Example:
        >>> from hauberk.attacks import APGD
        >>> Stage(attack=APGD(steps=100), when="masked", threats=("l1",)).whole
        False
    """

    attack: Method
    when: Literal["always", "masked", "unmasked"] = "always"
    portion: float = 1.0
    carry: bool = False
    adaptive: bool = False
    odds: float = -3.0
    threats: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not isinstance(self.attack, Method):
            raise InputError(f"attack is {self.attack!r}: give an attack such as hauberk.APGD()")
        if isinstance(self.threats, str):  # one word; as a tuple it would be read letter by letter
            object.__setattr__(self, "threats", (self.threats,))
        if self.when not in ("always", "masked", "unmasked"):
            raise InputError(f"when is '{self.when}': choose always, masked or unmasked")
        if not 0 < self.portion <= 1:
            raise InputError(f"portion is {self.portion}: give a share of the examples in (0, 1]")
        if self.adaptive and (self.carry or self.portion < 1):
            raise InputError("an adaptive stage takes no portion and carries no points: choose one")

    @property
    def whole(self) -> bool:
        """Whether every standing point is attacked."""
        some = self.portion < 1 or self.carry or self.adaptive
        return self.when == "always" and not some

    def fits(self, threat: Threat) -> bool:
        """Whether the stage is for such a threat."""
        words = {threat.kind, *(trait.value for trait in threat.traits)}
        return not any(f"-{word}" in self.threats for word in words) and (
            not words.isdisjoint(self.threats) or all(w.startswith("-") for w in self.threats)
        )

    def passes(self, classes: int = 10) -> float:
        """Most passes that a point costs that nothing breaks; with ``portion``, for one portion."""
        if self.carry:
            return 0.0
        attack = self.attack
        most = attack.attempts(classes) * attack.passes + attack.aiming(classes)
        return self.portion * most

    def about(self) -> str:
        """The attack's settings that are not its defaults, and what the stage is for."""
        attack = self.attack
        set_ = [
            f"{f.name}={getattr(attack, f.name)}"
            for f in fields(attack)
            if f.name == "steps" or getattr(attack, f.name) != f.default
        ]
        parts = [f"{type(attack).__name__}({', '.join(set_)})"]
        if self.threats:
            parts.append(f"for {', '.join(self.threats)}")
        if self.carry:
            parts.append("from points that broke under another threat")
        if self.adaptive:
            parts.append("where it pays")
        if self.portion < 1:
            parts.append(f"nearest {100 * self.portion:g}% first, until none of a portion breaks")
        if self.when != "always":
            parts.append(f"if gradients seem {self.when}")
        return "; ".join(parts)

    def describe(self) -> dict[str, Any]:
        """What the manifest records: the attack's settings, and what makes the stage special."""
        special = {
            f.name: getattr(self, f.name)
            for f in fields(self)
            if f.name != "attack" and getattr(self, f.name) != f.default
        }
        return self.attack.describe() | special


@dataclass(frozen=True)
class Suite:
    """Stages by name, run in order: each under every threat before the next.

    Attributes:
        name, version: what the manifest records; the version changes when a number could.
        about: one line.
        attacks: the stages; an attack alone is a stage that is always run on all points.
        price: passes that adaptive stages may spend on one more broken point, as they expect it.

    Example:
        >>> from hauberk import Linf
        >>> from hauberk.attacks import APGD, FGSM
        >>> suite = Suite("mine", 1, "two attacks", {"fgsm": FGSM(), "apgd": APGD(steps=10)})
        >>> suite.passes((Linf(0.1),))
        (24, 24)
    """

    name: str
    version: int
    about: str
    attacks: Mapping[str, Method | Stage]
    price: float = PRICE

    def __post_init__(self) -> None:
        if not self.price > 0:
            raise InputError(f"price is {self.price}: give passes above 0")

    @property
    def stages(self) -> dict[str, Stage]:
        """The stages by name."""
        return {
            name: row if isinstance(row, Stage) else Stage(attack=row)
            for name, row in self.attacks.items()
        }

    def schedule(self, threats: tuple[Threat, ...]) -> list[tuple[Threat, str, Stage]]:
        """(threat, name, stage) in the order in which they are run.

        Raises:
            InputError: if no stage is for one of the threats.
        """
        rows = [
            (t, name, stage)
            for name, stage in self.stages.items()
            for t in threats
            if stage.fits(t)
        ]
        for threat in threats:
            if not any(t == threat and stage.when == "always" for t, _, stage in rows):
                raise InputError(f"suite {self.name} holds no attack for {threat}: add one to it")
        return rows

    def passes(self, threats: tuple[Threat, ...], classes: int = 10) -> tuple[int, int]:
        """Most passes that a point costs which nothing breaks: ordinarily, and with escalation."""
        rows = [(stage.when, stage.passes(classes) * t.variants)
                for t, _, stage in self.schedule(threats)]  # fmt: skip
        cost = {way: sum(c for when, c in rows if when == way) for way, _ in rows}
        always = cost.get("always", 0)
        return round(always + cost.get("unmasked", 0)), round(always + cost.get("masked", 0))

    def usual(self, threats: tuple[Threat, ...], classes: int = 10) -> int:
        """Passes that a point usually costs which nothing breaks, as adaptive stages turn out."""
        rows = [stage.passes(classes) * t.variants * (USUAL if stage.adaptive else 1)
                for t, _, stage in self.schedule(threats) if stage.when != "masked"]  # fmt: skip
        return round(sum(rows))

    def describe(self) -> dict[str, Any]:
        """What the manifest records."""
        return {name: stage.describe() for name, stage in self.stages.items()}


def suite_from(manifest: Mapping[str, Any], objects: Mapping[str, Any]) -> Suite:
    """The suite that a manifest describes; attacks of the user's own may stand in ``objects``."""
    stages: dict[str, Method | Stage] = {}
    words = [f.name for f in fields(Stage) if f.name != "attack"]
    for name, row in manifest["attacks"].items():
        own = {word: row[word] for word in words if word in row}
        if "threats" in own:
            own["threats"] = tuple(own["threats"])
        described = {word: value for word, value in row.items() if word not in own}
        stages[name] = Stage(attack=objects.get(name) or attack_from(described), **own)
    name, version = str(manifest["suite"]), int(manifest["suite_version"])
    return Suite(name, version, "recorded", stages, float(manifest.get("suite_price", PRICE)))
