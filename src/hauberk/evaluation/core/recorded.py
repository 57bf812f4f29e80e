"""Attacks and threats again from what a manifest records of them, to rebuild a run's question."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from typing import Any, NoReturn, TypeVar, cast

import torch
from torch import Tensor

from hauberk import attacks
from hauberk.attacks.unbounded import Unbounded
from hauberk.engine.method import Job, Method
from hauberk.errors import InputError
from hauberk.solvers.as_attack import AsAttack
from hauberk.solvers.registry import SOLVERS, solver_class
from hauberk.store.files import plain
from hauberk.threats.base import Box, Threat
from hauberk.threats.notation import threat as read_threat
from hauberk.victims.victim import Victim

T = TypeVar("T")


@dataclass(frozen=True)
class RecordedAttack(Method):
    """What stands in for an attack that text cannot rebuild: it describes itself, and cannot run.

    Args:
        described: what the manifest records of it.

    Example:
        >>> RecordedAttack({"attack": "Mine", "steps": 3}).describe()["attack"]
        'Mine'
    """

    described: Mapping[str, Any] = field(default_factory=dict, hash=False)

    @property
    def passes(self) -> int:
        return 0

    def describe(self) -> dict[str, Any]:
        """What was recorded."""
        return dict(self.described)

    def run(self, victim: Victim, job: Job) -> NoReturn:
        """Refuses.

        Raises:
            InputError: always.
        """
        raise InputError(
            f"the attack {self.described.get('attack')} stands in the manifest as text only: give "
            "the attack itself to run it"
        )


def attack_from(described: Mapping[str, Any]) -> Method:
    """The attack that a manifest describes, or a :class:`RecordedAttack` if it is the user's own.

    Example:
        >>> attack_from({"attack": "PGD", "kind": "gradient", "steps": 7}).steps
        7
    """
    classes: dict[str, type[Method]] = {name: getattr(attacks, name) for name in attacks.__all__}
    classes.update(AsAttack=AsAttack, Unbounded=Unbounded)
    classes |= {c.__name__: c for c in map(solver_class, SOLVERS) if c.__name__ not in classes}
    kind = classes.get(str(described.get("attack")))
    return rebuilt(kind, described, kind and kind.describe) or RecordedAttack(described)


def rebuilt(kind: type[T] | None, described: Mapping[str, Any], describe: Any) -> T | None:
    """An object of that class with the settings described; None if they do not describe it.

    Args:
        describe: what the manifest would record of it.
    """
    if kind is None:
        return None
    names = [f.name for f in fields(cast(Any, kind)) if f.init and f.name in described]
    try:
        made = kind(**{name: _setting(described[name]) for name in names})
    except (InputError, TypeError, ValueError):
        return None
    now, then = plain(describe(made)), plain(dict(described))
    return made if all(now.get(name) == value for name, value in then.items()) else None


def _setting(value: Any) -> Any:
    if isinstance(value, Mapping) and "attack" in value:
        return attack_from(value)
    if isinstance(value, list):
        return tuple(map(_setting, value))
    return float(value) if value in ("inf", "-inf") else value


class RecordedThreat(Threat):
    """What stands in for a threat that text cannot rebuild: it has a name, and measures nothing.

    Args:
        name: its notation in the manifest.
    """

    kind = "recorded"

    def __init__(self, name: str) -> None:
        self.name = name

    def at(self, x0: Tensor, box: Box = Box()) -> NoReturn:  # noqa: B008
        """Refuses.

        Raises:
            InputError: always.
        """
        raise InputError(
            f"the points of {self} were not judged: it is a Python object that text cannot say, so "
            f"verify it in Python, with objects={{'{self}': ...}}"
        )

    def scaled(self, factor: float) -> NoReturn:
        """Refuses, as :meth:`at` does."""
        self.at(torch.zeros(0))

    def __str__(self) -> str:
        return self.name


def threat_from(
    name: str, objects: Mapping[str, Any], read: Callable[[str], Threat] = read_threat
) -> Threat:
    """A threat from its notation, or from ``objects``; else a :class:`RecordedThreat`.

    Example:
        >>> threat_from("l2:0.5", {}), str(threat_from("mine:2", {}))
        (L2(0.5), 'mine:2')
    """
    if name in objects:
        found: Threat = objects[name]
        return found
    try:
        return read(name)
    except InputError:
        return RecordedThreat(name)
