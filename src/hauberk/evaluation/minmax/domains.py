"""The domains of a run: every model behind every transformation, tried on a few inputs."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from hauberk.errors import InputError
from hauberk.maths.rng import Draws
from hauberk.maths.seeding import seeded
from hauberk.objectives.domains import Domain
from hauberk.transforms import check
from hauberk.transforms import transform as read_transform
from hauberk.transforms.base import Transform
from hauberk.victims.victim import Victim

LOOKS = 8
"""Looks at the same inputs, to see whether they differ."""


def domains_of(
    named: Mapping[str, Victim], transforms: Sequence[Callable[..., Tensor]],
    domains: Sequence[Domain], few: Tensor, draws: int,
) -> list[Domain]:  # fmt: skip
    """Every model behind every transformation, and the user's own domains: named and tried."""
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
    for transform in transforms:
        check(transform, few)
    shown: list[str] = []
    for transform in transforms:
        text = str(Domain(transform=transform))
        if text in shown and not isinstance(transform, Transform):  # a second lambda, say
            text = f"{text} {len(shown) + 1}"
        shown.append(text)
    return [
        Domain(
            model=victim, transform=transform, name=f"{owner} {text}" if len(named) > 1 else text
        )
        for owner, victim in named.items()
        for transform, text in zip(transforms, shown, strict=True)
    ]


def _further(domains: list[Domain], named: Mapping[str, Victim]) -> list[Domain]:
    """The user's own domains, on all models where they name none."""
    made: list[Domain] = []
    for domain in domains:
        if not isinstance(domain, Domain):
            raise InputError(f"{domain!r} is no Domain: pass models and transformations as such")
        text = domain.name or type(domain).__name__
        if domain.model is not None:
            made.append(domain.but(model=Victim.of(domain.model), name=domain.name or str(domain)))
            continue
        made += [
            domain.but(model=victim, name=f"{owner} {text}" if len(named) > 1 else text)
            for owner, victim in named.items()
        ]
    return made


def recorded_domains(
    manifest: Mapping[str, Any], objects: Mapping[str, Any]
) -> tuple[list[Callable[..., Tensor]], list[Domain]]:
    """The transformations and further domains that a manifest names.

    Args:
        objects: those that text cannot say, by name.

    Raises:
        InputError: naming the first that neither text nor ``objects`` can give.
    """
    transforms: list[Callable[..., Tensor]] = []
    for name in manifest["transforms"]:
        try:
            transforms.append(objects[name] if name in objects else read_transform(name))
        except InputError:
            raise _lacking("transformation", name) from None
    if missing := [name for name in manifest["domains"] if name not in objects]:
        raise _lacking("domain", missing[0])
    return transforms, [objects[name] for name in manifest["domains"]]


def _lacking(what: str, name: str) -> InputError:
    return InputError(
        f"the run's {what} {name} is a Python object that text cannot say: verify it in Python, "
        f"with objects={{'{name}': ...}}"
    )


def tried(domain: Domain, x: Tensor, draws: int, classes: int | None) -> tuple[Domain, int]:
    """The domain, marked as varying or not, with so many ``draws`` if so; and its classes.

    Args:
        x: one or two inputs, ``(N, ...)``.
        classes: of the domains before; None for the first.

    Raises:
        InputError: naming the domain, if it fails, keeps neither shape nor number of the inputs,
            is not differentiable, writes into them, or its model has other classes.
    """
    victim = domain.model
    assert isinstance(victim, Victim)
    x = x.detach()[:2].to(victim.device)
    first = _look(domain, x, 0, grad=True)
    varies = domain.varies
    if domain.random is None and not varies:
        varies = any(not torch.equal(_look(domain, x, n), first) for n in range(1, LOOKS))
    with victim.held(), torch.no_grad():
        found = victim.predict(first).shape[1]
    if classes is not None and found != classes:
        raise InputError(
            f"the models differ in their number of classes (domain {domain} has {found}, others "
            f"{classes}): choose others"
        )
    many = draws if varies and domain.draws == 1 else domain.draws
    return domain.but(random=varies, draws=many), found


def _look(domain: Domain, x: Tensor, number: int, grad: bool = False) -> Tensor:
    """What the domain shows of ``x``, in its look ``number``."""
    given = x.clone().requires_grad_(grad)
    rows = Draws.of(number, torch.arange(len(x), device=x.device))
    turn = torch.full((len(x),), number, device=x.device)
    # With a graph behind it, so that writing into it is no error of autograd's.
    seen = given * 1
    try:
        with seeded(number, x.device), torch.set_grad_enabled(grad):
            shown = domain.but(draws=1).inputs(seen, rows, turn)
    except InputError:
        raise
    except Exception as error:  # whatever a user's function raises
        line = (str(error).strip().splitlines() or [""])[0]
        raise InputError(
            f"domain {domain} fails on inputs {tuple(x.shape)}: {type(error).__name__}: {line}"
        ) from error
    if not isinstance(shown, Tensor) or shown.shape != x.shape or not shown.is_floating_point():
        what = tuple(shown.shape) if isinstance(shown, Tensor) else type(shown).__name__
        raise InputError(
            f"domain {domain} turned inputs {tuple(x.shape)} into {what}: it must keep the shape, "
            "and one input for each"
        )
    if not torch.equal(seen.detach(), x):
        raise InputError(
            f"domain {domain} writes into its input: let it return a new tensor (x = x.clone())"
        )
    if grad and not shown.requires_grad:
        raise InputError(
            f"domain {domain} is not differentiable: wrap its function as "
            "hauberk.transforms.StraightThrough(f)"
        )
    return shown.detach()
