"""Elastic-net attack."""

from dataclasses import dataclass, field
from math import inf

import torch
from torch import Tensor

from hauberk.engine.state import Response, keep_
from hauberk.errors import InputError
from hauberk.maths.steps import per_example
from hauberk.objectives.problem import Problem
from hauberk.solvers.penalty import PenaltySolver, PenaltyState


@dataclass(kw_only=True)
class EADState(PenaltyState):
    """The point before, for the momentum of FISTA."""

    last: Tensor = field(repr=False)
    """The shrunken point of the step before, ``(S, ...)``."""


@dataclass(frozen=True, kw_only=True)
class EAD(PenaltySolver[EADState]):
    """Elastic-net attack (Chen et al. 2018, Algorithm 1), decided by l1.

    Shrinkage and momentum (FISTA) on ``c max(confidence - margin, 0) + |d|_2^2 + beta |d|_1``. Only
    the points with momentum are evaluated, clipped to the box: the shrunken ones, which
    the paper evaluates, would take a pass more.

    Args:
        beta: shrinkage of a step, in units of the box's mean width.
        rate: first step size; it falls with the square root of the steps left.

    Example:
        >>> import torch
        >>> model = torch.nn.Linear(4, 3)
        >>> images, labels = torch.full((2, 4), 0.5), torch.tensor([0, 1])
        >>> outcome = EAD(steps=5, searches=2)(model, images, labels, "l1")
        >>> bool((model(outcome.points).argmax(1) != labels)[outcome.fooled].all())
        True
    """

    norms = (1,)

    beta: float = 1e-3

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.beta >= 0:
            raise InputError(f"beta is {self.beta}: give 0 or more")

    def init(self, problem: Problem) -> EADState:
        u = problem.start()
        one = u.new_ones(len(u))
        return EADState(
            u=u, begun=u, last=u.clone(),
            c=one * self.constant, low=one * 0, high=one * inf, won=one < 0,
        )  # fmt: skip

    def step(self, problem: Problem, state: EADState, response: Response) -> EADState:
        region, u = self.region(problem), state.u
        weight = self.penalised(state, response, region.mean_width)
        k = response.clock.count % self.steps
        if response.gradient is not None:
            width = region.mean_width
            at = torch.from_numpy(k).to(u.device, u.dtype)
            rate = self.rate * (1 - at / self.steps).sqrt()
            # In units of the width, a slope is larger by it, and a step shorter: its square.
            up = response.grad.clamp(-1e15, 1e15) * per_example(rate * weight * width**2, u)
            down = (u - region.x0) * per_example(2 * rate, u)
            new = region.prox_(u + up - down, self.beta * width)
            ahead = torch.lerp(state.last, new, per_example(1 + at / (at + 3), u))
            state.u, state.last = region.project_(ahead), new
        due = k == self.steps - 1
        if due.any():
            again = self.next_round(state, due).to(u.dtype)
            state.u = keep_(state.u.clone(), state.begun, again)
            state.last = keep_(state.last.clone(), state.begun, again)
        return state
