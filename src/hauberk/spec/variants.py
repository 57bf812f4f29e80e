"""One file of options in several variants: settings varied, and one part of a list left out."""

from collections.abc import Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, field
from itertools import product
from typing import Any

from hauberk.errors import InputError
from hauberk.spec.numbers import as_number


@dataclass(frozen=True)
class Variant:
    """A variant of some options.

    Attributes:
        options: all of them.
        settings: those that were varied, by their path.
    """

    options: Mapping[str, Any]
    settings: Mapping[str, Any] = field(default_factory=dict)

    @property
    def label(self) -> str:
        """The settings in one line: the last two words of each path, and its value.

        Example:
            >>> Variant({}, {"strategy.attacks.l2.step_size": 0.1, "epochs": 3}).label
            'l2.step_size=0.1 epochs=3'
        """
        return " ".join(f"{_short(path)}={_text(value)}" for path, value in self.settings.items())


def setting(text: str) -> tuple[str, list[Any]]:
    """Path and values of a setting, from ``PATH=VALUE`` or ``PATH=VALUE,VALUE,...``.

    Raises:
        InputError: for text without a path or a value.

    Example:
        >>> setting("strategy.step_linf=1/4,0.5"), setting("threat=[l2:1, l1:5]")
        (('strategy.step_linf', [0.25, 0.5]), ('threat', [['l2:1', 'l1:5']]))
    """
    import yaml

    path, _, given = text.partition("=")
    try:
        values = yaml.safe_load(f"[{given}]")
    except yaml.YAMLError:
        values = []
    if not values or not all(part.isidentifier() for part in path.strip().split(".")):
        raise InputError(f"{text}: write path=value, e.g. strategy.steps=10 or epochs=2")
    return path.strip(), [as_number(value) for value in values]


def variants(options: Mapping[str, Any], vary: Mapping[str, Sequence[Any]]) -> list[Variant]:
    """Every combination of the values, the last setting fastest.

    Args:
        options: nested mappings, as a YAML file has them.
        vary: values by dotted path, such as ``strategy.attacks.l2.step_size``.

    Example:
        >>> made = variants({"a": {"b": 1}}, {"a.b": [1, 2], "c": [3]})
        >>> [(v.options, v.label) for v in made]
        [({'a': {'b': 1}, 'c': 3}, 'a.b=1 c=3'), ({'a': {'b': 2}, 'c': 3}, 'a.b=2 c=3')]
    """
    found = []
    for values in product(*vary.values()):
        settings = dict(zip(vary, values, strict=True))
        found.append(Variant(_with(options, settings), settings))
    return found


def concerning(
    vary: Mapping[str, Sequence[Any]], files: Sequence[Mapping[str, Any]]
) -> list[dict[str, Sequence[Any]]]:
    """What of the varied settings concerns each of several files of options.

    A setting that some of them name is varied in those; one that none names, in all.

    Example:
        >>> concerning({"a.b": [1], "c": [2]}, [{"a": {"b": 0}}, {"a": {}}])
        [{'a.b': [1], 'c': [2]}, {'c': [2]}]
    """
    named = [{path for path in vary if _has(options, path)} for options in files]
    anywhere = set[str]().union(*named)
    return [
        {path: values for path, values in vary.items() if path in own or path not in anywhere}
        for own in named
    ]


def without_one(variant: Variant) -> list[Variant]:
    """The variant, and it without each of its threats in turn, and without the attack on it.

    Example:
        >>> whole = Variant({"threat": ["l2:1", "l1:5"], "strategy": {"attacks": {"l2": {}}}})
        >>> [v.options["threat"] for v in without_one(whole)]
        [['l2:1', 'l1:5'], ['l1:5'], ['l2:1']]
    """
    threats = variant.options.get("threat")
    if not isinstance(threats, list) or len(threats) < 2:
        return [variant]
    found = [variant]
    for gone in threats:
        options = deepcopy(dict(variant.options))
        options["threat"] = [threat for threat in threats if threat != gone]
        strategy = options.get("strategy")
        attacks = strategy.get("attacks") if isinstance(strategy, dict) else None
        if isinstance(attacks, dict):
            attacks.pop(str(gone).partition(":")[0], None)
        found.append(Variant(options, {**variant.settings, "without": gone}))
    return found


def _has(options: Any, path: str) -> bool:
    for part in path.split("."):
        if not isinstance(options, Mapping) or part not in options:
            return False
        options = options[part]
    return True


def _with(options: Mapping[str, Any], settings: Mapping[str, Any]) -> dict[str, Any]:
    changed = deepcopy(dict(options))
    for path, value in settings.items():
        place: Any = changed
        *way, last = path.split(".")
        for part in way:
            place = place.setdefault(part, {})
            if not isinstance(place, dict):
                raise InputError(f"{path}: {part} holds no settings of its own")
        place[last] = value
    return changed


def _short(path: str) -> str:
    parts = [part for part in path.split(".") if part not in ("strategy", "attacks")]
    return ".".join(parts[-2:])


def _text(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.4g}"
    return str(value)
