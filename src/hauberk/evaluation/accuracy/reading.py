"""Suites by name, and from YAML files."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from math import isfinite
from pathlib import Path
from typing import Any

from hauberk import attacks
from hauberk.attacks.base import Attack
from hauberk.engine.method import Method
from hauberk.errors import InputError
from hauberk.evaluation.accuracy.catalogue import SUITES
from hauberk.evaluation.accuracy.suites import PRICE, Stage, Suite
from hauberk.solvers.as_attack import AsAttack
from hauberk.solvers.base import Solver
from hauberk.solvers.registry import solver_class
from hauberk.spec.build import build, require_known
from hauberk.threats.notation import is_kind


def suite_of(suite: "str | Path | Suite | Mapping[str, Method | Stage] | Method | Stage") -> Suite:
    """A suite by name, from a YAML file, as it is, or one made of the given attacks.

    Raises:
        InputError: for an unknown name or something that is no attack.
    """
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

        about: two runs, and an expensive one for the points nearest to the boundary
        attacks:
          first: {attack: APGD, steps: 20, loss: margin}
          second: {attack: APGD, steps: 50, soften: 0.3}
          last: {attack: APGD, steps: 100, targets: 9, portion: 0.05}

    A row holds settings of its attack and of its :class:`Stage`. Beside ``about`` may stand
    ``name``, ``version``, and ``price``, which adaptive stages go by.

    Raises:
        InputError: if the file cannot be read or says something that hauberk does not know.
    """
    import yaml

    path = Path(path)
    try:
        found = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        why = " ".join(str(getattr(error, "strerror", None) or error).split())
        raise InputError(f"suite {path} cannot be read: {why}") from error
    if not isinstance(found, dict) or not isinstance(found.get("attacks"), dict):
        raise InputError(f"suite {path} has no 'attacks:', a table of names and attacks")
    if unknown := sorted(
        {str(word) for word in found} - {"name", "version", "about", "attacks", "price"}
    ):
        raise InputError(
            f"suite {path} has an unknown word '{unknown[0]}': it may say name, version, about, "
            "price and attacks"
        )
    own = {"name": path.stem, "version": 0, "about": f"read from {path}"}
    own |= {word: value for word, value in found.items() if word != "attacks"}
    head = build(_Head, own, f"suite {path}")
    attacks = {str(name): read_row(f"suite {path}, {name}", row)
               for name, row in found["attacks"].items()}  # fmt: skip
    if not attacks:
        raise InputError(f"suite {path} names no attack: add one under 'attacks:'")
    return Suite(**vars(head), attacks=attacks)


def read_row(where: str, row: object) -> Stage:
    """A stage from a mapping: its attack's name, and settings of attack and stage.

    Args:
        where: the start of every error message.
        row: such as ``{"attack": "APGD", "steps": 50, "when": "masked"}``; or, of a radius solver
            whose point counts where it lies in the ball, ``{"solver": "cw", "steps": 50}``.

    Raises:
        InputError: for what is no such mapping, and for unknown or wrong settings.

    Example:
        >>> read_row("row 1", {"attack": "APGD", "steps": 50}).attack.steps
        50
    """
    if not isinstance(row, Mapping) or ("attack" in row) == ("solver" in row):
        raise InputError(
            f"{where}: write {{attack: APGD, steps: 50}} or the like, or {{solver: cw, steps: 50}}"
        )
    given = {str(word): value for word, value in row.items()}
    kind: type[Attack[Any]] | type[Solver]
    if "attack" in given:
        kind = _attack_class(where, given.pop("attack"))
    else:
        try:
            kind = solver_class(str(given.pop("solver")))
        except InputError as error:
            raise InputError(f"{where}: {error}") from error
    settings = {f.name for f in fields(kind)}
    words = {f.name for f in fields(Stage)} - {"attack"}
    require_known(f"{where}: {kind.__name__}", given, sorted(settings | words))
    for word, value in given.items():
        if isinstance(value, float) and not isfinite(value):
            raise InputError(f"{where}: {word} is {value}: give a number that is finite")
    own = {word: value for word, value in given.items() if word in settings}
    built = build(kind, own, where)
    attack = AsAttack(solver=built) if isinstance(built, Solver) else built
    special = {word: value for word, value in given.items() if word in words}
    if "threats" in special:
        special["threats"] = _kinds(where, special["threats"])
    return build(Stage, {"attack": attack, **special}, where)


def _attack_class(where: str, name: object) -> type[Attack[Any]]:
    kind = getattr(attacks, str(name), None) if name in attacks.__all__ else None
    if kind is None or kind is Attack:
        known = ", ".join(k for k in attacks.__all__ if k != "Attack")
        raise InputError(f"{where}: unknown attack '{name}': choose one of {known}")
    found: type[Attack[Any]] = kind
    return found


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
    price: float = PRICE
