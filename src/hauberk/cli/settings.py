"""Attacks from words: ``--attack PGD --set steps=100 --vary q=0.8,0.95``."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from hauberk.errors import InputError

if TYPE_CHECKING:
    from hauberk.engine.method import Method


def setting(text: str, option: str = "--set") -> tuple[str, object]:
    """Name and value of ``name=value``; the value is read as YAML has it, or as a fraction.

    Args:
        text: such as ``steps=10`` or ``step_size=1/255``.
        option: where it stands, for the message.

    Raises:
        InputError: for another text.

    Example:
        >>> setting("steps=10"), setting("loss=dlr"), setting("step_size=1/4")
        (('steps', 10), ('loss', 'dlr'), ('step_size', 0.25))
    """
    import yaml

    from hauberk.spec.numbers import as_number

    name, sign, value = text.partition("=")
    if not sign or not name.strip().isidentifier():
        raise InputError(f"{option} {text}: write NAME=VALUE, e.g. {option} steps=10")
    try:
        return name.strip(), as_number(yaml.safe_load(value))
    except yaml.YAMLError as error:
        raise InputError(
            f"{option} {text}: the value cannot be read: quote it, or write it in a --config file"
        ) from error


def values(text: str, option: str = "--vary") -> tuple[str, list[object]]:
    """Name and values of ``name=one,two,...``; ``none`` is the setting's None.

    Args:
        text: such as ``step_size=0.01,0.1``.
        option: where it stands, for the message.

    Raises:
        InputError: for another text, or one value twice.

    Example:
        >>> values("q=0.8,0.95,none")
        ('q', [0.8, 0.95, None])
    """
    name, sign, rest = text.partition("=")
    parts = [part.strip() for part in rest.split(",")]
    if not sign or not all(parts) or not name.strip().isidentifier():
        raise InputError(f"{option} {text}: write NAME=ONE,TWO, e.g. {option} steps=10,100")
    if len(set(parts)) < len(parts):
        raise InputError(f"{option} {text}: one value stands there twice: give each once")
    read = [setting(f"{name}={part}", option)[1] for part in parts]
    return name.strip(), [None if v == "none" else v for v in read]


def attack_of(name: str, settings: Sequence[str] = (), option: str = "--attack") -> "Method":
    """The attack of a name, with settings of its own.

    Args:
        name: a class of :mod:`hauberk.attacks`, in capitals or not.
        settings: as ``name=value``.
        option: where the name stands, for the message.

    Raises:
        InputError: for no such attack or setting.

    Example:
        >>> attack_of("pgd", ["steps=7"]).steps
        7
    """
    from hauberk import attacks
    from hauberk.evaluation.accuracy.reading import read_row
    from hauberk.evaluation.accuracy.suites import Stage

    classes = {known.lower(): known for known in attacks.__all__}
    row: dict[str, Any] = {"attack": classes.get(name.strip().lower(), name)}
    stage = read_row(option, row | dict(setting(text) for text in settings))
    if stage != Stage(attack=stage.attack):
        raise InputError(f"{option} {name}: give settings of the attack alone, not of a suite")
    return stage.attack
