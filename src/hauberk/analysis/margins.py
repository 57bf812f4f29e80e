"""Margins: how far the nearest adversarial point of every example is, epoch after epoch."""

from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn

from hauberk.evaluation.radii.radius import radius
from hauberk.solvers.anpgd import ANPGD
from hauberk.solvers.base import Solver
from hauberk.solvers.ddn import DDN
from hauberk.threats.base import Box, Threat
from hauberk.threats.metric import Metric
from hauberk.threats.notation import metric as read
from hauberk.victims.victim import Victim


def margins(
    model: nn.Module | Victim,
    images: Tensor,
    labels: Tensor,
    metric: str | Threat = "l2",
    *,
    steps: int = 1000,
    solver: Solver | None = None,
    box: Box | Sequence[Any] = (0.0, 1.0),
    seed: int = 0,
    ids: Tensor | None = None,
    batch_size: int | None = None,
) -> Tensor:
    """Margins ``(B,)`` float64, judged: 0 where the model is wrong, inf where nothing was found.

    Source: Ding et al. 2020, Figure 4: 500 fixed training images after every epoch, with DDN's
    1000 steps. In the model's present state; see :func:`hauberk.report.plots.margins.by_epoch`.

    Args:
        model: a module, or a victim.
        images: ``(B, ...)`` in the box.
        labels: ``(B,)``.
        metric: a norm such as ``l2`` or ``linf``; margins are in its unit.
        steps: of the solver, if none is given: DDN in l2, AN-PGD in other norms.
        solver: of the margins.
        box: as :func:`hauberk.radius` has it; so are ``seed``, ``ids`` and ``batch_size``.

    Raises:
        InputError: for a metric that the solver does not measure in, and for bad input.
    """
    unit = read(metric) if isinstance(metric, str) else metric
    if solver is None:
        plain = isinstance(unit, Metric) and unit.p == 2
        solver = DDN(steps=steps) if plain else ANPGD(steps=steps)
    found = radius(
        model, images, labels, unit, solver=solver, box=box, seed=seed, ids=ids,
        batch_size=batch_size,
    )  # fmt: skip
    return found.distance
