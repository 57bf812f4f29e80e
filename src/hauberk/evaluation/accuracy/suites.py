"""Suites: named, versioned schedules of attacks, and how to write one's own."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from math import isfinite
from pathlib import Path
from typing import Any, Literal

from torch import Tensor

from hauberk.attacks.base import Attack
from hauberk.engine.method import Job, Method
from hauberk.errors import InputError
from hauberk.evaluation.accuracy.evidence import NEAREST
from hauberk.spec.build import build, require_known
from hauberk.threats.base import Box, Threat
from hauberk.threats.notation import is_kind


@dataclass(frozen=True, kw_only=True)
class Stage:
    """One row of a suite: an attack, and whom it is for.

    Args:
        attack: what is run, under every threat, on the points that still stand.
        when: ``always``, or only if by then the run has evidence of ``masked`` gradients, or has
            none (``unmasked``).
        share: below 1, go through the standing points from the one nearest to the decision boundary
            on, in portions of this share of them, until a portion holds none that breaks.
        carry: only points broken under another threat, starting from what broke them there.
        threats: kinds of threat that it is for, e.g. ``("l1", "l0")``, or traits,
            ``("ball",)`` (:class:`hauberk.threats.Trait`), or all but some, ``("-l1",)``; all by
            default.
    """

    attack: Method
    when: Literal["always", "masked", "unmasked"] = "always"
    share: float = 1.0
    carry: bool = False
    threats: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not isinstance(self.attack, Method):
            raise InputError(f"attack is {self.attack!r}: give an attack such as hauberk.APGD()")
        if isinstance(self.threats, str):  # one word; as a tuple it would be read letter by letter
            object.__setattr__(self, "threats", (self.threats,))
        if self.when not in ("always", "masked", "unmasked"):
            raise InputError(f"when is '{self.when}': choose always, masked or unmasked")
        if not 0 < self.share <= 1:
            raise InputError(f"share is {self.share}: give a share of the examples in (0, 1]")

    @property
    def whole(self) -> bool:
        """Whether every standing point is attacked."""
        return self.when == "always" and self.share == 1 and not self.carry

    def fits(self, threat: Threat) -> bool:
        """Whether the stage is for such a threat."""
        words = {threat.kind, *(trait.value for trait in threat.traits)}
        return not any(f"-{word}" in self.threats for word in words) and (
            not words.isdisjoint(self.threats) or all(w.startswith("-") for w in self.threats)
        )

    def passes(self, classes: int = 10) -> float:
        """Most passes that a point costs that nothing breaks; with ``share``, for one portion."""
        if self.carry:
            return 0.0
        return self.share * self.attack.attempts(classes) * self.attack.passes

    def about(self) -> str:
        """The attack's settings that are not its defaults, and whom the stage is for."""
        attack = self.attack
        set_ = [
            f"{f.name}={getattr(attack, f.name)}"
            for f in fields(attack)
            if f.name == "steps" or getattr(attack, f.name) != f.default
        ]
        told = [f"{type(attack).__name__}({', '.join(set_)})"]
        if self.threats:
            told.append(f"for {', '.join(self.threats)}")
        if self.carry:
            told.append("from points that broke under another threat")
        if self.share < 1:
            told.append(f"nearest {100 * self.share:g}% first, until none of a portion breaks")
        if self.when != "always":
            told.append(f"if gradients seem {self.when}")
        return "; ".join(told)

    def describe(self) -> dict[str, Any]:
        """What the manifest records: the attack's settings, and what makes the stage special."""
        special = {
            # An attack may have a setting "share" of its own.
            NEAREST if f.name == "share" else f.name: getattr(self, f.name)
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
    """

    name: str
    version: int
    about: str
    attacks: Mapping[str, Method | Stage]

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

    def describe(self) -> dict[str, Any]:
        """What the manifest records."""
        return {name: stage.describe() for name, stage in self.stages.items()}


def try_on(threat: Threat, name: str, stage: Stage, x: Tensor, y: Tensor, box: Box) -> None:
    """Slot one example ``x`` (1, ...), ``y`` (1,), without a pass: refusals come before work.

    Raises:
        InputError: if the attack is not for such a threat.
    """
    try:
        stage.attack.check(Job(threat=threat, x=x.detach().cpu(), y=y.cpu(), box=box))
    except InputError as error:
        raise InputError(f"{name} under {threat}: {error}") from error


def suite_of(suite: "str | Path | Suite | Mapping[str, Method | Stage] | Method | Stage") -> Suite:
    """A suite by name, from a YAML file, as it is, or one made of the given attacks.

    Raises:
        InputError: for an unknown name or something that is no attack.
    """
    from hauberk.evaluation.accuracy.catalogue import SUITES

    if isinstance(suite, Suite):
        return suite
    if isinstance(suite, str | Path):
        if str(suite).endswith((".yaml", ".yml")):
            return read_suite(suite)
        if suite not in SUITES:
            known = ", ".join(SUITES)
            raise InputError(f"unknown suite '{suite}': choose one of {known}, or a .yaml file")
        return SUITES[str(suite)]
    if isinstance(suite, Method | Stage):
        attack = suite if isinstance(suite, Method) else suite.attack
        suite = {type(attack).__name__.lower(): suite}
    fine = isinstance(suite, Mapping) and len(suite) > 0
    if not fine or not all(isinstance(row, Method | Stage) for row in suite.values()):
        raise InputError("a suite is a name, an attack, or a dictionary of names and attacks")
    return Suite(name="custom", version=0, about="the caller's own", attacks=dict(suite))


def read_suite(path: str | Path) -> Suite:
    """A suite from a YAML file.

    ::

        about: two runs, and a dear one for the points nearest to the boundary
        attacks:
          first: {attack: APGD, steps: 20, loss: margin}
          second: {attack: APGD, steps: 50, soften: 0.3}
          last: {attack: APGD, steps: 100, targets: 9, nearest: 0.05}

    A row holds settings of its attack and of its :class:`Stage`. ``nearest`` is the stage's share;
    so is ``share``, but for attacks that have a setting of that name.

    Raises:
        InputError: if the file cannot be read or says something that hauberk does not know.
    """
    import yaml

    path = Path(path)
    try:
        told = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        why = " ".join(str(getattr(error, "strerror", None) or error).split())
        raise InputError(f"suite {path} cannot be read: {why}") from error
    if not isinstance(told, dict) or not isinstance(told.get("attacks"), dict):
        raise InputError(f"suite {path} has no 'attacks:', a table of names and attacks")
    if unknown := sorted({str(word) for word in told} - {"name", "version", "about", "attacks"}):
        raise InputError(
            f"suite {path} has an unknown word '{unknown[0]}': it may say name, version, about and "
            "attacks"
        )
    own = {"name": path.stem, "version": 0, "about": f"read from {path}"}
    own |= {word: value for word, value in told.items() if word != "attacks"}
    head = build(_Head, own, f"suite {path}")
    attacks = {str(name): read_row(f"suite {path}, {name}", row)
               for name, row in told["attacks"].items()}  # fmt: skip
    if not attacks:
        raise InputError(f"suite {path} names no attack: add one under 'attacks:'")
    return Suite(**vars(head), attacks=attacks)


def read_row(where: str, row: object) -> Stage:
    """A stage from a mapping: its attack's name, and settings of attack and stage.

    Args:
        where: the start of every error message.
        row: such as ``{"attack": "APGD", "steps": 50, "when": "masked"}``.

    Raises:
        InputError: for what is no such mapping, and for unknown or wrong settings.

    Example:
        >>> read_row("row 1", {"attack": "APGD", "steps": 50}).attack.steps
        50
    """
    from hauberk import attacks

    if not isinstance(row, Mapping) or "attack" not in row:
        raise InputError(f"{where}: write {{attack: APGD, steps: 50}} or the like")
    given = {str(word): value for word, value in row.items()}
    name = given.pop("attack")
    kind = getattr(attacks, str(name), None) if name in attacks.__all__ else None
    if kind is None or kind is Attack:
        known = ", ".join(k for k in attacks.__all__ if k != "Attack")
        raise InputError(f"{where}: unknown attack '{name}': choose one of {known}")
    settings = {f.name for f in fields(kind)}
    words = {f.name for f in fields(Stage)} - {"attack", "share"}
    if "share" in given and "share" not in settings:
        if NEAREST in given:
            raise InputError(f"{where}: share and {NEAREST} are the same thing here: give one")
        given[NEAREST] = given.pop("share")
    require_known(f"{where}: {name}", given, sorted(settings | words | {NEAREST}))
    for word, value in given.items():
        if isinstance(value, float) and not isfinite(value):
            raise InputError(f"{where}: {word} is {value}: give a number that is finite")
    attack = build(kind, {word: v for word, v in given.items() if word in settings}, where)
    special = {word: value for word, value in given.items() if word in words}
    if NEAREST in given:
        special["share"] = given[NEAREST]
    if "threats" in special:
        special["threats"] = _kinds(where, special["threats"])
    return build(Stage, {"attack": attack, **special}, where)


def _kinds(where: str, given: object) -> object:
    """Kinds of threat, of which one may stand for a list of one."""
    kinds = given if isinstance(given, list | dict) else [given]
    for kind in kinds if isinstance(kinds, list) else []:
        if not is_kind(str(kind).removeprefix("-")):
            raise InputError(
                f"{where}: threats has '{kind}': name kinds of threat such as l1, linf or rt, "
                "or traits such as ball, or with a minus those that the stage is not for"
            )
    return kinds


@dataclass(frozen=True)
class _Head:
    """What a suite's file says beside its attacks."""

    name: str
    version: int
    about: str
