"""A training strategy from words: a name or an import path, threats, and fields of its own."""

from collections.abc import Mapping, Sequence
from dataclasses import MISSING, fields, is_dataclass
from inspect import isclass
from typing import Any

from hauberk import train
from hauberk.attacks import Attack
from hauberk.cli.load import threat_of
from hauberk.cli.settings import setting
from hauberk.engine.method import Method
from hauberk.errors import InputError
from hauberk.evaluation.accuracy.reading import read_row
from hauberk.evaluation.accuracy.suites import Stage
from hauberk.solvers import solver_class
from hauberk.solvers.base import Solver
from hauberk.spec.build import Reader, build, did_you_mean
from hauberk.spec.imports import called, import_object
from hauberk.threats import Metric, Threat, metric
from hauberk.train import Strategy

NAMES = {name: kind.__name__ for name, kind in train.named_strategies().items()}
"""What ``--strategy`` may say, and the class of that name in :mod:`hauberk.train`."""


def strategy_of(
    given: str | Mapping[str, Any] | None,
    threats: Sequence[str] = (),
    settings: Sequence[str] = (),
    d_max: str | None = None,
) -> Strategy:
    """The strategy that the words name.

    Args:
        given: a name of :data:`NAMES`, an import path, or a mapping with ``name`` and fields.
        threats: notations such as ``linf:0.3``; their union.
        settings: fields as ``name=value``; they replace those of the mapping.
        d_max: the threat of ``mma`` and ``omma``, e.g. ``l2:6``.

    Raises:
        InputError: for what is no strategy, or does not suit it.

    Example:
        >>> strategy_of("max", ["linf:0.3", "l2:2"], ["steps=10"]).steps
        10
    """
    name, values = _named(given)
    values |= dict(map(setting, settings))
    if d_max is not None:
        if name not in ("mma", "omma"):
            raise InputError("--d-max is the threshold of mma and omma: give a --threat instead")
        if threats:
            raise InputError("--d-max and --threat say the same thing here: give one of them")
        threats = [d_max]
    if threats:
        if "threat" in values:
            raise InputError(f"strategy {name} has a threat already: leave --threat out")
        values["threat"] = list(threats)
    kind = _kind(name)
    if isclass(kind) and is_dataclass(kind):
        made = _built(name, kind, values)
    elif callable(kind):
        if "threat" in values:
            values["threat"] = _threat(values["threat"])
        hint = "give what it takes by --threat and --set name=value"
        made = called(kind, values, f"strategy {name}", hint)
    elif values:
        raise InputError(
            f"strategy {name} is made already and takes no {', '.join(values)}: name its class, "
            "or a function that returns it"
        )
    else:
        made = kind
    if not isinstance(made, Strategy):
        raise InputError(
            f"strategy {name} gave a {type(made).__name__}: name a hauberk.train.Strategy, "
            "or a function that returns one"
        )
    return made


def _named(given: str | Mapping[str, Any] | None) -> tuple[str, dict[str, Any]]:
    """The name, and values of fields."""
    if given is None or given == "":
        raise InputError(f"no strategy: give --strategy, one of {', '.join(NAMES)}")
    row = {"name": given} if isinstance(given, str) else given
    if not isinstance(row, Mapping) or not isinstance(row.get("name"), str):
        raise InputError(
            f"strategy {row!r} has no name: write max, or {{name: max, steps: 10}} in YAML"
        )
    values = {str(word): value for word, value in row.items() if word != "name"}
    name = row["name"].strip()
    return (name if ":" in name else name.lower().replace("_", "-")), values


def _kind(name: str) -> object:
    """What the name stands for: a class, a function or a strategy."""
    named = train.named_strategies()
    if name in named:
        return named[name]
    known = f"one of {', '.join(named)}, or package.module:name or file.py:name"
    if ":" not in name:
        raise InputError(f"unknown strategy '{name}': give {known}{did_you_mean(name, named)}")
    return import_object(name, "strategy", known)


def _built(name: str, kind: type, values: dict[str, Any]) -> object:
    """An instance of a dataclass; every field checked against its type."""
    own = {field.name: field for field in fields(kind) if field.init}
    if "threat" in values and "threat" not in own:
        raise InputError(f"strategy {name} has no threat: leave --threat out")
    if "threat" in own and own["threat"].default is MISSING and "threat" not in values:
        raise InputError(f"strategy {name} needs a threat: give --threat, e.g. --threat linf:0.3")
    if "threat" in values:
        read = _threat_or_metric if "d_max" in own else _threat  # then the size is d_max
        values["threat"] = read(values["threat"])
    return build(kind, values, f"strategy {name}", readers=READERS)


def _threat(given: Threat | str | Sequence[str]) -> Threat:
    if isinstance(given, Threat):
        return given
    return threat_of([given] if isinstance(given, str) else list(map(str, given or ())))


def _threat_or_metric(given: Threat | str | Sequence[str]) -> Threat | Metric:
    """A threat, or a distance such as ``linf``, for strategies whose size is a field of its own."""
    text = given[0] if isinstance(given, list) and len(given) == 1 else given
    return metric(text) if isinstance(text, str) and ":" not in text else _threat(given)


def _attack(where: str, row: Mapping[str, object]) -> Method:
    stage = read_row(where, row)
    if stage != Stage(attack=stage.attack):
        raise InputError(f"{where}: give settings of the attack alone, not those of a suite's row")
    return stage.attack


def _solver(where: str, row: Mapping[str, object]) -> Solver:
    name = row.get("solver")
    if not isinstance(name, str):
        raise InputError(f"{where}: name the solver, e.g. {{solver: ddn, steps: 10}}")
    values = {word: value for word, value in row.items() if word != "solver"}
    return build(solver_class(name), values, where)


READERS: dict[type, Reader] = {
    Attack: Reader(
        _attack,
        one="an attack, such as {attack: PGD, steps: 10}",
        several="attacks by kind of threat, such as {l2: {attack: PGD, steps: 10}}",
    ),
    Solver: Reader(_solver, one="a solver, such as {solver: ddn, steps: 10}"),
}
"""How attacks and solvers are written within a strategy."""
