"""Threats that name layers, bound to the networks that these are of."""

from collections.abc import Mapping
from dataclasses import fields, is_dataclass, replace
from functools import partial
from typing import Any, TypeVar, cast

from torch import nn

from hauberk.models.loading import load_model
from hauberk.models.saved import resolve_model
from hauberk.threats.base import Threat
from hauberk.victims.victim import Victim

T = TypeVar("T")


def of_models(threat: Threat, victims: Mapping[str, Victim]) -> Threat:
    """A threat for the models of a run.

    Raises:
        InputError: if it names a layer that the network has not, or the model where there are
            several.
    """
    first = next(iter(victims.values()))
    model = first.model if len(victims) == 1 else None
    return threat.of_model(model, partial(network, device=first.device))


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
    device = Victim(model).device
    bound = {
        f.name: getattr(given, f.name).of_model(model, partial(network, device=device))
        for f in fields(given)
        if f.init and isinstance(getattr(given, f.name), Threat)
    }
    changed = {name: value for name, value in bound.items() if value is not getattr(given, name)}
    return cast(T, replace(cast(Any, given), **changed)) if changed else settings


def network(text: str, device: Any = None) -> nn.Module:
    """A network by what ``--model`` takes, and after a comma a file of weights.

    Raises:
        InputError: if it cannot be loaded.
    """
    model, _, weights = text.partition(",")
    return load_model(*resolve_model(model, weights or None)).to(device).eval()
