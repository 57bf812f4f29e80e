"""Norms, projections, steps, losses and random numbers: pure functions on tensors, no model."""

from hauberk.maths.norms import norm
from hauberk.maths.projections import (
    project_ball,
    project_l0,
    project_l1,
    project_l2,
    project_linf,
    project_lp,
    project_simplex,
)

__all__ = [
    "norm",
    "project_ball",
    "project_l0",
    "project_l1",
    "project_l2",
    "project_linf",
    "project_lp",
    "project_simplex",
]
