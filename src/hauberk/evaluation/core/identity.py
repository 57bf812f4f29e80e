"""Fingerprints of models and of what a run's settings hold: what tells them from every other.

A run that is resumed, and the numbers it adds, are worth something only if they come from the model
that wrote the parts already there.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields, is_dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from hauberk.evaluation.core.digest import digest, is_own, traits, weights
from hauberk.threats.base import Threat
from hauberk.victims.alone import Alone
from hauberk.victims.averaged import Averaged
from hauberk.victims.victim import Victim

Fingerprint = dict[str, Any]


def fingerprints(
    models: Mapping[str, Any],
    settings: Any = (),
    *,
    before: Mapping[str, Mapping[str, str]] | None = None,
    recorded: Mapping[str, Any] | None = None,
    x: Tensor | None = None,
) -> dict[str, dict[str, Any]]:
    """What a manifest records of models, and of the functions and objects that settings hold.

    Args:
        models: the models under attack, by name.
        settings: attacks, threats and objectives, by name or in a list. Models inside them (source
            models of a transfer, feature networks) get the name of their place.
        before: :func:`snapshot` of the models before they were first run: attributes that differ
            from it merely change when the model runs, such as counters, and are left out.
        recorded: the manifest of the run that is resumed; what it left out is left out again, and
            nothing else.
        x: a few inputs, on which models inside the settings are run for the same purpose.

    Returns:
        Under ``models`` the :func:`fingerprint` of each; under ``objects``, by place, what it is
        and its digest.
    """
    found, seen = dict(models), {id(_inner(model)) for model in models.values()}
    objects: dict[str, str] = {}
    earlier = dict(before or {})
    for place, value in held_in(settings):
        if not isinstance(value, nn.Module | Victim):
            objects[place] = f"{_what(value)} {digest(value)}"
        elif id(_inner(value)) not in seen:
            seen.add(id(_inner(value)))
            found[place] = value
            if x is not None:
                earlier.update(snapshot({place: value}))
                _run(value, x)
    known = (recorded or {}).get("models") or {}
    prints = {}
    for name, model in found.items():
        known_name = known.get(name) if isinstance(known, Mapping) else None
        if isinstance(known_name, Mapping):
            varies = [str(key) for key in known_name.get("varies") or ()]
        else:
            was, now = earlier.get(name), _traits(model)
            changed = {} if was is None else {k for k in {*was, *now} if was.get(k) != now.get(k)}
            varies = sorted(changed)
        prints[name] = fingerprint(model, varies)
    return {"models": prints, "objects": objects}


def snapshot(models: Mapping[str, Any]) -> dict[str, dict[str, str]]:
    """What each of several models is now, besides its weights; for :func:`fingerprints`."""
    return {name: _traits(model) for name, model in models.items()}


def fingerprint(model: Any, varies: Sequence[str] = ()) -> Fingerprint:
    """The ``architecture`` and the ``weights`` of a model, each as a short hash.

    The architecture is the tree of modules: their names, classes, settings (``extra_repr``), hooks
    and attributes, and the code of every method and of the functions that they use; a comment or
    another layout of the code does not change it. The weights are every parameter and buffer: name,
    shape, dtype and values, on whatever device.

    Args:
        varies: attributes to leave out; the fingerprint names them.

    Example:
        >>> from torch import nn
        >>> layer = nn.Linear(2, 2)
        >>> one, other = (fingerprint(nn.Sequential(layer, act)) for act in (nn.ReLU(), nn.GELU()))
        >>> one["weights"] == other["weights"], one["architecture"] == other["architecture"]
        (True, False)
    """
    kind = ""
    if isinstance(model, Victim):
        # A stochastic model is averaged by the run itself: its draws are recorded apart.
        own = "" if type(model) in (Victim, Alone, Averaged) else digest(type(model))
        kind = f"{own} {model.mode} {_sureness(model)}"
    inner = _inner(model)
    held = [(name, value) for name, value in _traits(model).items() if name not in varies]
    found: Fingerprint = {
        "architecture": digest(kind, held),
        "weights": weights(inner) if isinstance(inner, nn.Module) else digest(),
    }
    return found | ({"varies": list(varies)} if varies else {})


def held_in(value: Any, place: str = "") -> Iterator[tuple[str, Any]]:
    """Every model, function, tensor, threat and object of an own class in settings, and its place.

    Looks into dataclasses, mappings, sequences and the attributes of threats.
    """
    if isinstance(value, nn.Module | Victim | Tensor | np.ndarray):
        yield place, value
    elif isinstance(value, Mapping):
        for key, inner in value.items():
            yield from held_in(inner, f"{place}.{key}" if place else str(key))
    elif isinstance(value, list | tuple):
        for number, inner in enumerate(value):
            yield from held_in(inner, f"{place}.{number}" if place else str(number))
    elif isinstance(value, Threat):
        yield place, value
        yield from held_in({k: v for k, v in vars(value).items() if not k.startswith("_")}, place)
    elif is_dataclass(value) and not isinstance(value, type):
        if is_own(type(value)):
            yield place, value
        held = {field.name: getattr(value, field.name, None) for field in fields(value)}
        yield from held_in(held, place)
    elif callable(value) or (hasattr(value, "__dict__") and is_own(type(value))):
        yield place, value


def _what(value: Any) -> str:
    if isinstance(value, Threat):
        return f"the threat '{value}'"
    if isinstance(value, Tensor | np.ndarray):
        return "the tensor"
    named = getattr(value, "__qualname__", None)
    return f"the function '{named}'" if named else f"the {type(value).__qualname__}"


def _run(model: Any, x: Tensor) -> None:
    """One pass that leaves the generators of torch as they were, whatever it raises."""
    victim = Victim.of(model)
    cards = [victim.device] if victim.device.type == "cuda" else []
    with torch.random.fork_rng(devices=cards), torch.no_grad(), victim.held():
        try:
            victim.model(x.to(victim.device, victim.dtype).clone())
        except Exception:  # noqa: BLE001  # not every model takes such inputs
            return


def _traits(model: Any) -> dict[str, str]:
    inner = _inner(model)
    return traits(inner) if isinstance(inner, nn.Module) else {"": digest(inner)}


def _sureness(victim: Victim) -> str:
    return f"{victim.sure} {victim.seed}" if isinstance(victim, Averaged) else ""


def _inner(model: Any) -> Any:
    """The module itself, not the victim that wraps it, nor what compiling made of it."""
    model = model.model if isinstance(model, Victim) else model
    return getattr(model, "_orig_mod", model)
