"""Carlini and Wagner's attack."""

from dataclasses import dataclass, field
from math import inf

import torch
from torch import Tensor

from hauberk.engine.state import Response, keep_
from hauberk.maths.steps import per_example
from hauberk.objectives.problem import Problem
from hauberk.solvers.penalty import PenaltySolver, PenaltyState
from hauberk.threats.distances import LpDistanceRegion

INNER = 1 - 1e-6  # where tanh still has a slope to leave by


@dataclass(kw_only=True)
class CWState(PenaltyState):
    """The tanh variables and Adam's moments."""

    w: Tensor = field(repr=False)
    first: Tensor = field(repr=False)
    """First moment of the gradients in ``w``, and ``second``, ``(S, ...)``."""
    second: Tensor = field(repr=False)


@dataclass(frozen=True, kw_only=True)
class CW(PenaltySolver[CWState]):
    """Carlini and Wagner's l2 attack (2017, section V.A): tanh variables, Adam, searched constant.

    Raises:
        InputError: where the box is unbounded.

    Example:
        >>> import torch
        >>> model = torch.nn.Linear(4, 3)
        >>> images, labels = torch.full((2, 4), 0.5), torch.tensor([0, 1])
        >>> outcome = CW(steps=5, searches=2)(model, images, labels, "l2")
        >>> bool((model(outcome.points).argmax(1) != labels)[outcome.fooled].all())
        True
    """

    norms = (2,)

    def init(self, problem: Problem) -> CWState:
        region = self.region(problem)
        region.finite_ends(self)
        u = problem.start()
        one, none = u.new_ones(len(u)), torch.zeros_like(u)
        return CWState(
            u=u, begun=u, w=encode(region, u), first=none, second=none.clone(),
            c=one * self.constant, low=one * 0, high=one * inf, won=one < 0,
        )  # fmt: skip

    def step(self, problem: Problem, state: CWState, response: Response) -> CWState:
        region, u = self.region(problem), state.u
        weight = self.penalised(state, response, region.mean_width)
        k = response.clock.count % self.steps
        lo, hi = region.edges
        half = (hi - lo) / 2
        if response.gradient is not None:
            away = (u - region.x0) * per_example(2 / region.mean_width**2, u)
            slope = away - response.grad.clamp(-1e15, 1e15) * per_example(weight, u)
            slope = slope * half * (1 - torch.tanh(state.w).square_())
            state.first.mul_(0.9).add_(slope, alpha=0.1)
            state.second.mul_(0.999).addcmul_(slope, slope, value=0.001)
            count = torch.from_numpy(k + 1).to(u.device, u.dtype)
            rate = self.rate / (1 - 0.9**count)
            root = (state.second / per_example(1 - 0.999**count, u)).sqrt_().add_(1e-8)
            state.w = state.w - per_example(rate, u) * state.first / root
        state.u = torch.addcmul(lo + half, half, torch.tanh(state.w)).clamp_(lo, hi)
        due = k == self.steps - 1
        if due.any():
            again = self.next_round(state, due).to(u.dtype)
            keep_(state.w, encode(region, state.begun), again)
            keep_(state.u, state.begun, again)
            state.first.mul_(per_example(1 - again, u))
            state.second.mul_(per_example(1 - again, u))
        return state


def encode(region: LpDistanceRegion, u: Tensor) -> Tensor:
    """The ``w`` of inputs, at the edges of the box slightly inside."""
    lo, hi = region.edges
    half = (hi - lo) / 2
    share = torch.where(half > 0, (u - (lo + half)) / half.clamp_min(1e-30), 0.0)
    return torch.atanh(share.clamp(-1, 1) * INNER)
