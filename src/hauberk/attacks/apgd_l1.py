"""Auto-PGD in sparse geometries (l1): the step moves an adaptive share of the coordinates.

Source: Croce & Hein 2021, "Mind the box: l1-APGD for sparse adversarial attacks on image
classifiers", Algorithms 1 and 2.
"""

from dataclasses import dataclass, field
from functools import cache
from math import ceil
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from hauberk.engine.state import BestSoFar, Response, State, keep_
from hauberk.maths.steps import per_example
from hauberk.objectives.problem import Problem
from hauberk.threats.base import Region

FIRST_SHARE = 0.2
SPARSER = 1.5
"""The share moved is the best point's share of changed coordinates over this."""
SHRINK = 1.5
SMALLEST = 0.1
"""Step sizes are divided by SHRINK, down to this, in units of the radius."""


@dataclass(kw_only=True)
class SparseState(State):
    """The state of Auto-PGD in sparse geometries: the ball, the step and the best of the phase."""

    best_grad: Tensor = field(repr=False)
    size: Tensor
    """Step size in units of the present radius, ``(S,)``."""
    share: Tensor
    """Share of the coordinates that the next step moves, ``(S,)``."""
    count: Tensor
    """Coordinates that the best point changed, at the last checkpoint, ``(S,)``."""
    region: Region = field(repr=False)
    """The threat at its present size."""
    best: BestSoFar = field(repr=False)
    """The best point of the present phase, be it in the threat or in a larger ball."""


class Schedule(NamedTuple):
    """For each count of evaluations: the phase, and whether a phase or a checkpoint is due."""

    phase: np.ndarray
    enter: np.ndarray
    check: np.ndarray


@cache
def schedule(steps: int, phases: int) -> Schedule:
    """All phases but the last take three tenths of the steps (of three phases)."""
    share = 0.9 / phases if phases > 1 else 1.0
    starts = np.array([min(ceil(share * steps) * i, steps) for i in range(phases)])
    lengths = np.append(np.diff(starts), steps + 1 - starts[-1])
    t = np.arange(steps + 2)
    phase = np.searchsorted(starts, t, side="right") - 1
    since = t - starts[phase]
    every = np.maximum((0.04 * lengths).astype(np.int64), 1)[phase]
    return Schedule(phase, np.isin(t, starts[1:]), (since > 0) & (since % every == 0))


def sparse_start(problem: Problem, enlarge: tuple[float, ...]) -> SparseState:
    """Where the search begins: at random in the first ball, ``enlarge[0]`` times the threat's."""
    n = len(problem.y)
    factor = problem.region.radius.new_full((n,), enlarge[0])
    region = problem.region.scaled(factor)
    u = problem.start(random=True, region=region)
    ones = u.new_ones(n)
    d = u[0].numel() if n else 1
    return SparseState(
        u=u, best=BestSoFar.none(u), best_grad=torch.zeros_like(u),
        feasible=np.full(n, len(enlarge) == 1), size=ones, share=ones * FIRST_SHARE, count=ones * d,
        region=region,
    )  # fmt: skip


def sparse_step(
    problem: Problem, state: SparseState, response: Response, steps: int, enlarge: tuple[float, ...]
) -> SparseState:
    """The next step; checkpoints adapt its size, and between phases the ball shrinks."""
    u, grad = state.u, response.grad
    keep_(state.best_grad, grad, _improved(state, response))
    plan = schedule(steps, len(enlarge))
    if (due := response.clock.look_up(plan.check)) is not None:
        u, grad = _checkpoint(state, u, grad, due > 0)
    moved = state.region.ascent(u, grad, state.size * state.region.eps, state.share)
    if (entering := response.clock.look_up(plan.enter[1:])) is None:
        state.u = state.region.project_(moved)
        return state
    phase = plan.phase[response.clock.count + 1]
    state.feasible = phase == len(enlarge) - 1
    _enter(problem, state, moved, entering > 0, np.asarray(enlarge)[phase])
    return state


def _improved(state: SparseState, response: Response) -> Tensor:
    """1 where the point is the best of its phase, ``(S,)``; keeps it."""
    if np.all(state.feasible):
        # In the last phase that is what the engine keeps.
        state.best = response.best
        return response.improved
    return state.best.update_(state.u, response.loss, response.fooled, response.any_fooled)


def _checkpoint(
    state: SparseState, u: Tensor, grad: Tensor, due: np.ndarray
) -> tuple[Tensor, Tensor]:
    """Adapt share and step size; where the best point grew sparser, go back to it."""
    count = _changed(state.best.u, state.region)
    sparser = count < 0.95 * state.count
    size = torch.where(sparser, 1.0, (state.size / SHRINK).clamp_(SMALLEST, 1.0))
    share = count / (SPARSER * u[0].numel())
    if due.all():
        state.size, state.share, state.count = size, share, count
    else:
        now = torch.from_numpy(due).to(u.device)
        sparser = sparser & now
        state.size = torch.where(now, size, state.size)
        state.share = torch.where(now, share, state.share)
        state.count = torch.where(now, count, state.count)
    rows = sparser.to(u.dtype)
    return keep_(u, state.best.u, rows), keep_(grad, state.best_grad, rows)


def _changed(u: Tensor, region: Region) -> Tensor:
    """How many coordinates differ from the clean input, ``(S,)``.

    Differences that the rounding of a projection may leave are none: equal steps make coordinates
    vanish together, and their number must not depend on a last bit.
    """
    least = per_example(region.eps * 1e-6, u)
    return ((u - region.x0).abs_() > least).flatten(1).sum(1).to(u.dtype)


def _enter(
    problem: Problem, state: SparseState, moved: Tensor, entering: np.ndarray, radii: np.ndarray
) -> None:
    """Start the next phase, in a smaller ball, from the best point of the last one."""
    state.region = problem.region.scaled(torch.from_numpy(radii).to(problem.region.radius))
    now = torch.from_numpy(entering).to(moved.device)
    u = state.region.project_(keep_(moved, state.best.u, now.to(moved.dtype)))
    count = _changed(u, problem.region)
    state.u = u
    state.best.loss = torch.where(now, -torch.inf, state.best.loss)
    state.size = torch.where(now, 1.0, state.size)
    state.count = torch.where(now, count, state.count)
    state.share = torch.where(now, count / (SPARSER * u[0].numel()), state.share)
