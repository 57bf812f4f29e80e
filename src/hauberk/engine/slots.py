"""The running batch of the stepping loop."""

from dataclasses import dataclass

import numpy as np
from torch import Tensor

from hauberk.engine.state import BestSoFar, Clock, State
from hauberk.engine.trace import Trace
from hauberk.maths.rows import Rows
from hauberk.objectives.problem import Problem


@dataclass
class Slots(Rows):
    """The running batch: one row for each attempt that is under way.

    Attributes:
        example: row of the batch that the slot works on, ``(S,)``.
        attempt: number of the attempt on it, ``(S,)``.
        since: forwards and backwards of the batch when the slot was taken, ``(S, 2)``.
        problem, state: what the stepper is asked, and where it stands.
        clock: which evaluation each slot is at.
        best: the best feasible point of each slot.
        weights: the objective's state.
        hit: whether the slot's model was fooled, ``(S,)``; first at ``hit_u``, at ``hit_loss``.
        trace: what the objective says of its weights at every evaluation.
        violation: how far outside the slot's search ended, ``(S,)`` float64.
        inspected: gradients inspected, those exactly zero, and those beyond all bounds, ``(S, 3)``.
    """

    example: np.ndarray
    attempt: np.ndarray
    since: np.ndarray
    problem: Problem
    state: State
    clock: Clock
    best: BestSoFar
    weights: Rows | None
    hit: Tensor
    hit_u: Tensor
    hit_loss: Tensor
    trace: Trace | None
    violation: Tensor
    inspected: Tensor
