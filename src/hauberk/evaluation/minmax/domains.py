"""A domain tried on a few inputs before any work: whether it will do, and whether it varies."""

import torch
from torch import Tensor

from hauberk.errors import InputError
from hauberk.maths.rng import Draws
from hauberk.maths.seeding import seeded
from hauberk.objectives.domains import Domain
from hauberk.victims.victim import Victim

LOOKS = 8
"""Looks at the same inputs, to see whether they differ."""


def tried(domain: Domain, x: Tensor, draws: int, classes: int | None) -> tuple[Domain, int]:
    """The domain, told whether it varies and with so many ``draws`` if it does; and its classes.

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
