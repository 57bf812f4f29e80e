"""Margins: how far the nearest adversarial point of every example is, epoch after epoch."""

from typing import Unpack

from torch import Tensor

from hauberk.evaluation.core.options import RunFields, with_run_options
from hauberk.evaluation.core.prepare import Model
from hauberk.evaluation.radii.radius import radius
from hauberk.solvers.anpgd import ANPGD
from hauberk.solvers.base import Solver
from hauberk.solvers.ddn import DDN
from hauberk.threats.base import Threat
from hauberk.threats.metric import Metric
from hauberk.threats.notation import metric as read


@with_run_options
def margins(
    model: Model,
    images: Tensor,
    labels: Tensor,
    metric: str | Threat = "l2",
    *,
    steps: int = 1000,
    solver: Solver | None = None,
    **run: Unpack[RunFields],
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
        run: the options of every run, see :class:`~hauberk.evaluation.core.options.RunOptions`.

    Raises:
        InputError: for a metric that the solver does not measure in, and for bad input.
    """
    unit = read(metric) if isinstance(metric, str) else metric
    if solver is None:
        euclidean = isinstance(unit, Metric) and unit.p == 2
        solver = DDN(steps=steps) if euclidean else ANPGD(steps=steps)
    return radius(model, images, labels, unit, solver=solver, **run).distance
