"""How long a pass of a radius search takes, the search's own work included."""

from math import inf
from time import perf_counter

import torch

from hauberk.engine.method import Job
from hauberk.evaluation.core.prepare import Setting
from hauberk.solvers.base import Solver
from hauberk.solvers.fmn import FMN
from hauberk.solvers.level_set import LevelSetFMN
from hauberk.solvers.swap_search import SwapSearch
from hauberk.threats.base import Threat
from hauberk.threats.metric import Metric

MOST = 64
"""Examples that a trial takes."""
STEPS = 4


def seconds_per_pass(solver: object, threat: Threat, setting: Setting) -> float:
    """Seconds of a pass of one example in a search of this metric, from a trial of a few steps.

    A bare pass takes less than one of a search, which projects and sorts between passes.

    Args:
        solver: what the run searches with; by ``best`` half of the trial softens gradients.
        threat: the metric.
        setting: the model and the examples, of which the first 64 are tried.
    """
    probe: type[FMN] | type[SwapSearch] = FMN if isinstance(threat, Metric) else LevelSetFMN
    if isinstance(threat, Metric) and threat.p == 0:
        probe = SwapSearch
    widths = (0.0, 0.1) if isinstance(solver, Solver) and solver.from_others else (0.0,)
    x, y = setting.x[:MOST], setting.y[:MOST]
    job = Job(threat=threat.take(torch.arange(len(x))), x=x, y=y, box=setting.box)
    least = inf
    for _ in range(2):  # the first makes things ready
        begun, passes = perf_counter(), 0
        for width in widths:
            found = probe(steps=STEPS, soften=width).run(setting.victim, job)
            passes += int(found.forwards.sum() + found.backwards.sum())
        least = min(least, (perf_counter() - begun) / max(1, passes))
    return least
