"""Threats that name layers, bound to the model that these are of."""

from collections.abc import Mapping
from dataclasses import fields, is_dataclass, replace
from typing import Any, TypeVar, cast

from torch import nn

from hauberk.threats.base import Threat
from hauberk.victims.victim import Victim

T = TypeVar("T")


def of_models(threat: Threat, victims: Mapping[str, Victim]) -> Threat:
    """A threat for the models of a run.

    Raises:
        InputError: if it names a layer that the network has not, or the model where there are
            several.
    """
    (first, *others) = victims.values()
    return threat.of_model(None if others else first.model)


def with_model(settings: T, model: nn.Module) -> T:
    """A dataclass with those of its fields that are threats bound to a model.

    Raises:
        InputError: as :func:`of_models` does.

    Example:
        >>> import hauberk as hb
        >>> model = nn.Sequential(nn.Flatten(), nn.Linear(4, 2))
        >>> threat = hb.threat("perceptual(1):0.2")
        >>> type(with_model(hb.train.Single(threat, attack=hb.attacks.FastLPA()), model).threat)
        <class 'hauberk.threats.perceptual.Perceptual'>
    """
    given: Any = settings
    if not is_dataclass(given):
        return settings
    bound = {
        f.name: getattr(given, f.name).of_model(model)
        for f in fields(given)
        if f.init and isinstance(getattr(given, f.name), Threat)
    }
    changed = {name: value for name, value in bound.items() if value is not getattr(given, name)}
    return cast(T, replace(cast(Any, given), **changed)) if changed else settings
