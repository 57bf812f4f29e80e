"""Models, domains and threat of an attack on several domains, checked before any work."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from torch import Tensor, nn

from hauberk.attacks.base import Attack
from hauberk.attacks.msd import MSD
from hauberk.errors import InputError
from hauberk.evaluation.core.preflight import screen
from hauberk.evaluation.minmax.domains import tried
from hauberk.objectives.combined import Combined
from hauberk.objectives.domains import Domain, product
from hauberk.objectives.minmax import Fixed
from hauberk.threats.base import Box, Threat
from hauberk.threats.each import Each
from hauberk.threats.shared import Shared
from hauberk.threats.union import Whole
from hauberk.transforms.base import Transform
from hauberk.victims.victim import Victim

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*")
"""What objectives can be called: their names are those of files."""

Models = nn.Module | Victim | Sequence[nn.Module | Victim] | Mapping[str, nn.Module | Victim]


def victims_of(
    models: Models, images: Tensor, labels: Tensor, box: Box, seed: int, batch_size: int | None
) -> tuple[dict[str, Victim], Tensor, Tensor, list[str]]:
    """The victims by name, checked one by one and against each other."""
    if isinstance(models, Mapping):
        named = {str(name): model for name, model in models.items()}
    else:
        several = list(models) if isinstance(models, Sequence) else [models]
        kinds = [type(getattr(m, "model", m)).__name__ for m in several]
        named = {
            f"{kind} {number}" if kinds.count(kind) > 1 else kind: model
            for number, (kind, model) in enumerate(zip(kinds, several, strict=True), start=1)
        }
    if not named:
        raise InputError("no model: give at least one")
    victims: dict[str, Victim] = {}
    warned: list[str] = []
    boxes: dict[str, Box] = {}
    x, y = images, labels
    for name, model in named.items():
        if not isinstance(model, nn.Module | Victim):
            raise InputError(f"model {name} is {model!r}: give a torch.nn.Module")
        own = getattr(model, "box", None)
        boxes[name] = box if own is None else Box.of(own)
        if str(boxes[name]) != str(box):
            raise InputError(
                f"model {name} takes inputs in {boxes[name]}, not {box}: one perturbation of one "
                "input needs one box for all models; put the scaling into the model"
            )
        x, y, told, victim = screen(Victim.of(model, batch_size), images, labels, box, seed)
        warned += [f"{name}: {text}" for text in told] if len(named) > 1 else told
        victims[name] = victim
    devices = {str(victim.device) for victim in victims.values()}
    if len(devices) > 1:
        raise InputError(f"the models are on {' and '.join(sorted(devices))}: move them together")
    return victims, x, y, warned


def domains_of(
    named: Mapping[str, Victim], transforms: Sequence[Callable[..., Tensor]],
    domains: Sequence[Domain], few: Tensor, draws: int,
) -> list[Domain]:  # fmt: skip
    """Every model behind every transformation, and the user's own domains: named and tried."""
    for what, given in (("transforms", transforms), ("domains", domains)):
        if callable(given) or isinstance(given, Domain):
            raise InputError(f"{what} is {given!r}: give a list, with that one in it")
    every = _product(named, list(transforms), few) + _further(list(domains), named)
    names = [str(domain) for domain in every]
    for name in names:
        if names.count(name) > 1:
            raise InputError(f"domain {name} is named twice: give each a name of its own")
    made: list[Domain] = []
    classes: int | None = None
    for domain in every:
        domain, classes = tried(domain, few, draws, classes)
        made.append(domain)
    return made


def _product(
    named: Mapping[str, Victim], transforms: list[Callable[..., Tensor]], few: Tensor
) -> list[Domain]:
    if not transforms:
        return [Domain(model=victim, name=name) for name, victim in named.items()]
    from hauberk.transforms import check

    for transform in transforms:
        check(transform, few)
    shown: list[str] = []
    for transform in transforms:
        text = str(Domain(transform=transform))
        if text in shown and not isinstance(transform, Transform):  # a second lambda, say
            text = f"{text} {len(shown) + 1}"
        shown.append(text)
    shown *= len(named)
    owners = [name for name in named for _ in transforms]
    return [
        domain.but(name=f"{owner} {text}" if len(named) > 1 else text)
        for domain, owner, text in zip(
            product(list(named.values()), transforms), owners, shown, strict=True
        )
    ]


def _further(domains: list[Domain], named: Mapping[str, Victim]) -> list[Domain]:
    """The user's own domains, on all models where they name none."""
    made: list[Domain] = []
    for domain in domains:
        if not isinstance(domain, Domain):
            raise InputError(f"{domain!r} is no Domain: pass models and transforms as such")
        text = domain.name or type(domain).__name__
        if domain.model is not None:
            made.append(domain.but(model=Victim.of(domain.model), name=domain.name or str(domain)))
            continue
        made += [
            domain.but(model=victim, name=f"{owner} {text}" if len(named) > 1 else text)
            for owner, victim in named.items()
        ]
    return made


def bound_to(threat: Threat, attack: Attack, group: int | None) -> Threat:
    """The threat as the attack meets it."""
    if isinstance(threat, Shared) and group is None:
        raise InputError(f"{threat} needs groups: give group=, the number of images in each")
    if group is not None:
        if attack.targets:
            raise InputError("a perturbation that a group shares takes no targets: leave them out")
        return threat if isinstance(threat, Shared) else Shared(threat)
    if len(threat.parts) == 1 or isinstance(threat, Each):
        return threat
    return Whole(threat) if isinstance(attack, MSD) else Each(*threat.parts)


def chosen(
    objectives: Mapping[str, Combined], attack: Attack, domains: list[Domain], threat: Threat,
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
        replace(attack, loss=objective)  # refuses a loss that knows no targets
    return {name: replace(o, domains=domains) for name, o in objectives.items()}


def told_of(objective: Combined) -> dict[str, Any]:
    told = {"objective": type(objective).__name__, "loss": objective.loss}
    for name in ("gamma", "beta", "toward", "weights"):
        if hasattr(objective, name):
            told[name] = getattr(objective, name)
    return told
