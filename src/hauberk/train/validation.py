"""A model in training on held-out examples: accuracies, clean and attacked, and margins."""

from collections.abc import Sequence

import torch
from torch import Tensor

from hauberk.attacks.pgd import PGD
from hauberk.engine.victim import Victim
from hauberk.errors import InputError
from hauberk.radius.anpgd import ANPGD
from hauberk.threats.ball import Ball
from hauberk.threats.base import Box, Threat
from hauberk.threats.metric import Metric

FARTHEST = 1.05
"""How far margins are looked for, in units of a threat's radius (Ding et al. 2020, Algorithm 1)."""


def correct_under(
    victim: Victim,
    x: Tensor,
    y: Tensor,
    ids: Tensor,
    threats: Sequence[Threat],
    steps: int,
    box: Box,
) -> dict[str, Tensor]:
    """Which examples stay correctly classified: ``clean``, each threat and ``union``, (B,) bool.

    Without threats ``clean`` alone.

    PGD with so many steps, from the same random points each time; an upper bound on the robust
    accuracy, good for choosing among checkpoints only.
    """  # fmt: skip
    attack = PGD(steps=steps)
    right = _right(victim, x, y)
    found = {"clean": right}
    union = right.clone()
    alive = right.nonzero().flatten()
    parts = _parts(threats)
    for name, threat in parts.items():
        kept = right.clone()
        if len(alive):
            at = alive.to(x.device)
            fooled = attack.run(victim, threat, x[at], y[at], box=box, ids=ids[at]).fooled
            kept[alive] = ~fooled
        found[name] = kept
        union &= kept
    return {**found, "union": union} if parts else found


def margins(
    victim: Victim,
    x: Tensor,
    y: Tensor,
    ids: Tensor,
    threats: Sequence[Threat],
    steps: int,
    box: Box,
) -> Tensor:
    """Least margin over the threats, each in units of its radius, (B,) float64.

    0 where the model is wrong; ``FARTHEST`` where AN-PGD found nothing so near. Of one threat,
    what Ding et al. 2020, appendix C, choose checkpoints by.
    """
    right = _right(victim, x, y)
    found = torch.where(right, FARTHEST, 0.0).double()
    alive = right.nonzero().flatten()
    at = alive.to(x.device)
    for threat in _parts(threats).values() if len(alive) else ():
        assert isinstance(threat, Ball)
        solver = ANPGD(steps=steps, eps=threat.eps, eps_max=FARTHEST * threat.eps)
        nearest = solver.run(victim, Metric(threat.p), x[at], y[at], box=box, ids=ids[at])
        share = (nearest.distance.double() / threat.eps).to(found)
        near = torch.where(nearest.fooled.to(found.device), share, FARTHEST)
        found[alive] = found[alive].minimum(near)
    return found


def require_margins(threats: Sequence[Threat]) -> None:
    """Refuse threats without margins.

    Raises:
        InputError: saying what to select by instead.
    """
    parts = _parts(threats)
    for name, threat in parts.items():
        if not isinstance(threat, Ball) or threat.p < 1 or not threat.eps > 0:
            raise InputError(
                f"select='margin' measures margins in lp balls with p >= 1, not in {name}: select "
                "by union"
            )
    if not parts:
        raise InputError("select='margin' needs a threat to measure in: select by clean")


def count(flags: dict[str, Tensor]) -> dict[str, int]:
    """How many are true under each name; one look at the device."""
    if not flags:
        return {}
    sums = torch.stack([f.sum() for f in flags.values()]).tolist()
    return dict(zip(flags, map(int, sums), strict=True))


def _right(victim: Victim, x: Tensor, y: Tensor) -> Tensor:
    with victim.held():
        return ~victim.wrong(victim.predict(x), y.to(victim.device)) if len(x) else y > 0


def _parts(threats: Sequence[Threat]) -> dict[str, Threat]:
    return {str(part): part for threat in threats for part in threat.parts}
