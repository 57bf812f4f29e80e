"""Accuracy of the model in training on held-out examples, clean and under short attacks."""

from collections.abc import Sequence

import torch
from torch import Tensor

from hauberk.attacks.pgd import PGD
from hauberk.engine.victim import Victim
from hauberk.threats.base import Box, Threat


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
    with victim.held():
        right = ~victim.wrong(victim.predict(x), y.to(victim.device)) if len(x) else y > 0
    found = {"clean": right}
    union = right.clone()
    alive = right.nonzero().flatten()
    parts = {str(part): part for threat in threats for part in threat.parts}
    for name, threat in parts.items():
        kept = right.clone()
        if len(alive):
            at = alive.to(x.device)
            fooled = attack.run(victim, threat, x[at], y[at], box=box, ids=ids[at]).fooled
            kept[alive] = ~fooled
        found[name] = kept
        union &= kept
    return {**found, "union": union} if parts else found


def count(flags: dict[str, Tensor]) -> dict[str, int]:
    """How many are true under each name; one look at the device."""
    if not flags:
        return {}
    sums = torch.stack([f.sum() for f in flags.values()]).tolist()
    return dict(zip(flags, map(int, sums), strict=True))
