"""Primal-dual proximal gradient attack."""

from dataclasses import dataclass
from math import inf

import torch
from torch import Tensor

from hauberk.engine.state import Response, State
from hauberk.errors import InputError
from hauberk.maths.norms import norm
from hauberk.maths.steps import per_example
from hauberk.objectives.problem import Problem
from hauberk.solvers.base import MinNormSolver, cosine


@dataclass(kw_only=True)
class PDPGDState(State):
    """The multiplier of each slot and the natural lengths of its steps."""

    mu: Tensor
    """The constraint's multiplier, ``(S,)``; 1 at the solution of a linear model without a box."""
    unit: Tensor
    """Natural step of the proximal operator, ``(S,)``; 0 until a gradient is known."""
    goal: Tensor
    """Distance to the linearised boundary at the start, ``(S,)``."""


@dataclass(frozen=True, kw_only=True)
class PDPGD(MinNormSolver[PDPGDState]):
    """Primal-dual proximal gradient attack after Matyasko & Chau 2021, in l0, l1, l2 and linf.

    Saddle point of ``|d|_p - mu r(d)``, r the margin in units of the dual norm of its own gradient,
    hence a distance: a proximal gradient step in d and an ascent step in mu, in Chambolle and
    Pock's pairing (2011), the multiplier being extrapolated. All lengths follow from the linearised
    boundary, so nothing depends on the scale of the inputs or logits.

    Args:
        rate: first and ``rate_last`` last proximal step, in the unit |d|_2^2 / |d|_p of the
            shortest step to the linearised boundary. In l0 it stays: small steps tell no features
            apart, since a feature is kept once its square exceeds twice the step.
        slack: first and ``slack_last`` last distance beyond the boundary aimed at, in units of the
            distance to it.

    Example:
        >>> import torch
        >>> model = torch.nn.Linear(4, 3)
        >>> images, labels = torch.full((2, 4), 0.5), torch.tensor([0, 1])
        >>> outcome = PDPGD(steps=10)(model, images, labels, "l1")
        >>> bool((model(outcome.points).argmax(1) != labels)[outcome.fooled].all())
        True
    """

    norms = (0, 1, 2, inf)

    steps: int = 1000
    rate: float = 0.5
    rate_last: float = 0.005
    slack: float = 0.1
    slack_last: float = 0.001

    def __post_init__(self) -> None:
        super().__post_init__()
        if not (self.rate > 0 and self.rate_last > 0):
            raise InputError("rate and rate_last must be above 0")

    def init(self, problem: Problem) -> PDPGDState:
        u = problem.start()
        one = u.new_ones(len(u))
        return PDPGDState(u=u, mu=one, unit=one * 0, goal=one * 0)

    def step(self, problem: Problem, state: PDPGDState, response: Response) -> PDPGDState:
        region, u, grad = self.region(problem), state.u, response.grad
        distance = response.distance
        fresh = state.unit == 0
        if bool(fresh.any()) if u.is_cpu else response.clock.least == 0:
            gap = (-response.loss).to(u.dtype).nan_to_num(nan=0.0)
            shortest = region.project_to_hyperplane(u, grad, gap) - region.x0
            length = region.length(shortest)
            unit = norm(shortest, 2).square() / length.clamp_min(1e-30)
            state.unit = torch.where(fresh, unit, state.unit)
            state.goal = torch.where(fresh, torch.maximum(length, distance), state.goal)
        slope = region.dual(grad)
        flat = slope <= 0
        h = grad / per_example(slope.masked_fill(flat, 1).clamp_min(1e-30), u)
        r = (response.loss.to(u.dtype) / slope.clamp_min(1e-30)).nan_to_num(nan=0.0)
        last = self.rate if region.discrete else self.rate_last
        rate = state.unit * cosine(response.clock, self.steps, self.rate, last, u)
        slack = state.goal * cosine(response.clock, self.steps, self.slack, self.slack_last, u)
        push = (slack - r) / (rate * norm(h, 2).square()).clamp_min(1e-30)
        mu = (state.mu + push.clamp(-0.5, 0.5)).clamp(0, 1e6)
        weight = rate * (2 * mu - state.mu).clamp_min(0)
        moved = region.prox_(u + h * per_example(weight, u), rate)
        state.mu = torch.where(flat, state.mu, mu)
        state.u = torch.where(per_example(flat, u), u, moved)
        return state
