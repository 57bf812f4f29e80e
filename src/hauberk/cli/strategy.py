"""A training strategy from words: a name or an import path, threats, and fields of its own."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import MISSING, fields, is_dataclass
from inspect import isclass, signature
from typing import TYPE_CHECKING, Any

from hauberk.errors import InputError
from hauberk.spec.build import Reader, build
from hauberk.spec.numbers import as_number

if TYPE_CHECKING:
    from hauberk.attacks import Attack
    from hauberk.threats import Threat
    from hauberk.threats.metric import Metric
    from hauberk.train import Strategy

NAMES = {
    "standard": "Standard", "single": "Single", "pgdls": "PGDLS", "trades": "TRADES",
    "avg": "AVG", "max": "MAX", "msd": "MSD", "ampgd": "AMPGD", "mma": "MMA", "omma": "OMMA",
    "random-norm": "RandomNorm", "eat": "EAT", "ramp": "RAMP",
}  # fmt: skip
"""What ``--strategy`` knows, and the class in :mod:`hauberk.train`."""


def strategy_of(
    given: Any, threats: Sequence[str] = (), settings: Sequence[str] = (), d_max: str | None = None
) -> "Strategy":
    """The strategy that the words name.

    Args:
        given: a name of :data:`NAMES`, an import path, or a mapping with ``name`` and fields.
        threats: notations such as ``linf:0.3``; their union.
        settings: fields as ``name=value``; they outdo those of the mapping.
        d_max: the threat of ``mma`` and ``omma``, e.g. ``l2:6``.

    Raises:
        InputError: for what is no strategy, or does not suit it.
    """
    name, told = _named(given)
    told |= dict(map(_setting, settings))
    if d_max is not None:
        if name not in ("mma", "omma"):
            raise InputError("--d-max is the threshold of mma and omma: give a --threat instead")
        if threats:
            raise InputError("--d-max and --threat say the same thing here: give one of them")
        threats = [d_max]
    if threats:
        if "threat" in told:
            raise InputError(f"strategy {name} has a threat already: leave --threat out")
        told["threat"] = list(threats)
    kind = _kind(name)
    if isclass(kind) and is_dataclass(kind):
        return _checked(name, _made(name, kind, told))
    if not callable(kind):
        if told:
            raise InputError(
                f"strategy {name} is made already and takes no {', '.join(told)}: name its class, "
                "or a function that returns it"
            )
        return _checked(name, kind)
    if "threat" in told:
        told["threat"] = _threat(told["threat"])
    try:
        signature(kind).bind(**told)
    except (TypeError, ValueError) as error:
        raise InputError(
            f"strategy {name} cannot be called with {', '.join(told) or 'nothing'} ({error}): "
            "give what it takes by --threat and --set name=value"
        ) from error
    return _checked(name, _call(name, kind, told))


def several(given: Any) -> list[str]:
    """A word that may be repeated, as a list."""
    return [given] if isinstance(given, str) else [str(item) for item in given or ()]


def _named(given: Any) -> tuple[str, dict[str, Any]]:
    if given is None or given == "":
        raise InputError(f"no strategy: give --strategy, one of {', '.join(NAMES)}")
    told = {"name": given} if isinstance(given, str) else given
    if not isinstance(told, Mapping) or not isinstance(told.get("name"), str):
        raise InputError(
            f"strategy {told!r} has no name: write max, or {{name: max, steps: 10}} in YAML"
        )
    rest = {str(word): value for word, value in told.items() if word != "name"}
    name = told["name"].strip()
    return (name if ":" in name else name.lower().replace("_", "-")), rest


def _setting(text: str) -> tuple[str, Any]:
    import yaml

    name, sign, value = text.partition("=")
    if not sign or not name.strip().isidentifier():
        raise InputError(f"--set {text}: write name=value, e.g. --set steps=10")
    try:
        return name.strip(), as_number(yaml.safe_load(value))
    except yaml.YAMLError as error:
        raise InputError(
            f"--set {text}: the value cannot be read: quote it, or write it in a --config file"
        ) from error


def _kind(name: str) -> Any:
    from hauberk import train
    from hauberk.spec.imports import import_object

    if name in NAMES:
        return getattr(train, NAMES[name])
    known = f"one of {', '.join(NAMES)}, or package.module:name or file.py:name"
    if ":" not in name:
        raise InputError(f"unknown strategy '{name}': give {known}")
    return import_object(name, "strategy", known)


def _made(name: str, kind: type, told: dict[str, Any]) -> object:
    """An instance of a dataclass; every field checked against its type."""
    from hauberk.attacks import Attack
    from hauberk.train import MMA

    own = {field.name: field for field in fields(kind) if field.init}
    if "threat" in told and "threat" not in own:
        raise InputError(f"strategy {name} knows no threat: leave --threat out")
    if "threat" in own and own["threat"].default is MISSING and "threat" not in told:
        raise InputError(f"strategy {name} needs a threat: give --threat, e.g. --threat linf:0.3")
    if "threat" in told:
        told["threat"] = _threat(told["threat"], distances=issubclass(kind, MMA))
    readers: dict[type, Reader] = {
        Attack: Reader(
            _attack,
            one="an attack, such as {attack: PGD, steps: 10}",
            several="attacks by kind of threat, such as {l2: {attack: PGD, steps: 10}}",
        )
    }
    return build(kind, told, f"strategy {name}", readers=readers)


def _threat(given: Any, distances: bool = False) -> "Threat | Metric":
    from hauberk.threats import Threat, Union, metric, threat

    if isinstance(given, Threat):
        return given
    texts = several(given)
    if not texts:
        raise InputError("no threat: give at least one, e.g. --threat linf:0.3")
    if distances and len(texts) == 1 and ":" not in texts[0]:
        return metric(texts[0])
    return threat(texts[0]) if len(texts) == 1 else Union(*map(threat, texts))


def _call(name: str, kind: Callable[..., object], values: dict[str, Any]) -> object:
    from hauberk.spec.imports import one_line

    try:
        return kind(**values)
    except InputError as error:
        raise InputError(f"strategy {name}: {error}") from error
    except Exception as error:
        raise InputError(f"strategy {name} failed: {one_line(error, place=True)}") from error


def _checked(name: str, made: object) -> "Strategy":
    from hauberk.train import Strategy

    if not isinstance(made, Strategy):
        raise InputError(
            f"strategy {name} gave a {type(made).__name__}: name a hauberk.train.Strategy, "
            "or a function that returns one"
        )
    return made


def _attack(where: str, row: Mapping[str, object]) -> "Attack":
    from hauberk.evaluation.accuracy.suites import Stage, read_row

    stage = read_row(where, row)
    if stage != Stage(attack=stage.attack):
        raise InputError(f"{where}: give settings of the attack alone, not those of a suite's row")
    return stage.attack
