"""Objectives of a run: those compared, as the manifest records them, and again from it."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any

from torch import Tensor

from hauberk.engine.method import Method
from hauberk.errors import InputError
from hauberk.evaluation.core.recorded import rebuilt
from hauberk.objectives.combined import Combined, Weighing
from hauberk.objectives.domains import Domain
from hauberk.objectives.minmax import Average, Fixed, MinMax
from hauberk.threats.base import Threat
from hauberk.threats.each import Each

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*")
"""What objectives can be called: their names are those of files."""


def chosen(
    objectives: Mapping[str, Combined], attack: Method, domains: Sequence[Domain], threat: Threat,
    group: int | None,
) -> dict[str, Combined]:  # fmt: skip
    """The caller's objectives on the run's domains, refused while nothing is written yet."""
    members = group or (len(threat.parts) if isinstance(threat, Each) else 1)
    if not objectives:
        raise InputError("no objective: give at least one by name, or leave objectives out")
    for name, objective in objectives.items():
        if not isinstance(name, str) or not NAME.fullmatch(name):
            raise InputError(f"objective {name!r}: make its name of letters, digits, '-' and '_'")
        if not isinstance(objective, Combined):
            raise InputError(f"objective {name} is {objective!r}: give MinMax(), Average(), ...")
        weights = objective.weights if isinstance(objective, Fixed) else None
        if weights is not None and len(weights) != len(domains) * members:
            raise InputError(
                f"objective {name} has {len(weights)} weights: give {len(domains) * members}, "
                "one for each domain"
            )
        with_loss(attack, objective)  # refuses a loss that knows no targets
    return {name: replace(o, domains=domains) for name, o in objectives.items()}


def with_loss(attack: Method, objective: Combined) -> Method:
    """The attack on another loss.

    Raises:
        InputError: if it is a loss that the attack cannot take.
    """
    changed: Any = attack
    made: Method = replace(changed, loss=objective)
    return made


def described(objective: Combined) -> dict[str, Any]:
    """What the manifest records of an objective.

    Example:
        >>> described(MinMax(gamma=2.0))["gamma"]
        2.0
    """
    if isinstance(objective, RecordedObjective):
        return dict(objective.described)
    own = [f.name for f in fields(objective) if f.name != "domains"]
    return {"objective": type(objective).__name__} | {n: getattr(objective, n) for n in own}


@dataclass(frozen=True)
class RecordedObjective(Combined):
    """What stands in for an objective that text cannot rebuild; it describes itself alone.

    Args:
        described: what the manifest records of it.
    """

    described: Mapping[str, Any] = field(default_factory=dict, kw_only=True, hash=False)

    def weigh(self, state: Weighing, losses: Tensor) -> tuple[Tensor, Tensor]:
        """Refuses.

        Raises:
            InputError: always.
        """
        raise InputError("the objective stands in the manifest as text only: give it to run it")


def objective_from(facts: Mapping[str, Any]) -> Combined:
    """The objective that a manifest describes, or a :class:`RecordedObjective`.

    Example:
        >>> objective_from({"objective": "MinMax", "gamma": 1.0}).gamma
        1.0
    """
    kinds: dict[str, type[Combined]] = {k.__name__: k for k in (Average, Fixed, MinMax)}
    kind = kinds.get(str(facts.get("objective")))
    return rebuilt(kind, facts, described) or RecordedObjective(described=facts)
