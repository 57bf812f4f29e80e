"""Adaptive-norm PGD: a direction from PGD in one ball, then bisection of its length."""

from dataclasses import dataclass, field
from math import inf

import numpy as np
import torch
from torch import Tensor

from hauberk.engine.method import Job
from hauberk.engine.outcome import Outcome
from hauberk.engine.state import Response, State
from hauberk.errors import InputError
from hauberk.maths.steps import per_example
from hauberk.objectives.problem import Problem
from hauberk.solvers.base import MinNormSolver
from hauberk.threats.base import Region
from hauberk.threats.distances import LpDistanceRegion
from hauberk.victims.victim import Boundary, Victim, require_boundary


@dataclass(kw_only=True)
class ANPGDState(State):
    """The ball of PGD, then the bracket of lengths along its last perturbation."""

    ball: Region = field(repr=False)
    """The ball that PGD searches."""
    direction: Tensor = field(repr=False)
    """PGD's last perturbation, of length one, ``(S, ...)``."""
    low: Tensor
    """The longest length along it that did not fool, and ``high``, the least that did."""
    high: Tensor


@dataclass(frozen=True, kw_only=True)
class ANPGD(MinNormSolver[ANPGDState]):
    """Adaptive-norm PGD (Ding et al. 2020, Algorithm 1), for any lp with p >= 1.

    PGD on the soft margin in the ball of radius ``eps``; its last perturbation is then scaled, in
    ``bisections`` halvings of the bracket of lengths, and projected on the box. The outer end of
    the last bracket, which fools, is what counts; a nearer point that PGD found does, too.

    As printed, it is ``ANPGD(boundary="soft_margin", nearer=False)``: lengths are bisected for the
    zero of the soft margin, which is reached before the decision changes. Its points need not fool
    the model; their distance estimates the SLM-margin, a lower bound of the margin (Remark 2.2).
    Max-margin training and selection by margin use that one. By default the decision is bisected,
    so that every point found is an adversarial one.

    Args:
        boundary: ``decision``, or ``soft_margin`` as printed; ``fooled`` of the outcome then says
            whether the soft margin is 0 or more.
        nearer: whether a nearer point that PGD passed counts, besides those along its last
            direction.
        steps: of PGD, with step length ``2.5 eps / steps``.
        eps: radius of the ball, or radii ``(B,)``, one for each example of the batch; the distance
            of a warm start takes its place, and PGD begins there. None: 1.5 times the distance to
            the linearised boundary, and PGD begins at the clean input.
        eps_max: largest length tried; None doubles it until the model is fooled.
        random_start: begin at a random point of the ball.
        share: in l1, the share of features that a step moves.

    Example:
        >>> import torch
        >>> model = torch.nn.Linear(4, 3)
        >>> images, labels = torch.full((2, 4), 0.5), torch.tensor([0, 1])
        >>> outcome = ANPGD(steps=5)(model, images, labels, "l2")
        >>> bool((model(outcome.points).argmax(1) != labels)[outcome.fooled].all())
        True
    """

    norms = (1, 2, inf)
    general = True

    loss: str = "soft_margin"
    steps: int = 40
    bisections: int = 10
    eps: float | Tensor | None = None
    eps_max: float | None = None
    random_start: bool = True
    share: float = 0.01
    boundary: Boundary = "decision"
    nearer: bool = True

    def __post_init__(self) -> None:
        super().__post_init__()
        require_boundary(self.boundary)
        if self.bisections < 0:
            raise InputError(f"bisections is {self.bisections}: give 0 or more")
        each = isinstance(self.eps, Tensor)
        for name, length in (("eps", None if each else self.eps), ("eps_max", self.eps_max)):
            if length is not None and not 0 < length < inf:
                raise InputError(f"{name} is {length}: give a number above 0, or leave it out")
        if isinstance(self.eps, Tensor) and not bool(
            ((self.eps > 0) & (self.eps < inf)).all() and self.eps.dim() == 1
        ):
            raise InputError("eps must hold one number above 0 for each example, (B,)")
        if not 0 < self.share <= 1:
            raise InputError(f"share is {self.share}: shares of coordinates lie in (0, 1]")

    @property
    def passes(self) -> int:
        return 2 * self.steps + 1 + self.bisections

    def finished(self, state: ANPGDState, response: Response) -> np.ndarray | None:
        clock, last = response.clock, self.steps + self.bisections
        return clock.count >= last if clock.most >= last else None

    def run(self, victim: Victim, job: Job) -> Outcome:
        if isinstance(self.eps, Tensor) and len(self.eps) != len(job):
            raise InputError(
                f"{len(self.eps)} radii eps for {len(job)} examples: give one for each"
            )
        with victim.bounded(self.boundary):
            return super().run(victim, job)

    def value(self, problem: Problem, state: ANPGDState, response: Response) -> Tensor | None:
        found = super().value(problem, state, response)
        if found is None or self.nearer or response.clock.least >= self.steps:
            return found
        scaled = torch.from_numpy(response.clock.count >= self.steps).to(found.device)
        return torch.where(scaled, found, -inf)

    def init(self, problem: Problem) -> ANPGDState:
        region = self.region(problem)
        u = region.start()
        if isinstance(self.eps, Tensor):
            assert problem.index is not None
            radius = self.eps.to(u)[problem.index]
        else:
            radius = u.new_full((len(u),), self.eps or 1.0)
        warm = problem.start()
        radius = problem.if_warm(region.measure(warm), radius)
        ball = region.with_radius(radius)
        if self.eps is not None and self.random_start:
            u = ball.random(problem.draws, 0)
        if problem.has_warm is not None:
            u = torch.where(per_example(problem.has_warm, u), warm, u)
        none = u.new_zeros(len(u))
        return ANPGDState(u=u, ball=ball, direction=u, low=none, high=none + inf)

    def step(self, problem: Problem, state: ANPGDState, response: Response) -> ANPGDState:
        region, clock, u = self.region(problem), response.clock, state.u
        if clock.least < self.steps:
            if self.eps is None and clock.least == 0:
                self.set_radius(region, state, response)
            ball = state.ball
            share = u.new_full((len(u),), self.share)
            moved = ball.ascent(u, response.grad, ball.eps * (2.5 / self.steps), share)
            state.u = ball.project_(moved)
        if clock.most >= self.steps:
            scaling = torch.from_numpy(clock.count >= self.steps).to(u.device)
            scaled = self.halve(region, state, response, u)
            state.u = torch.where(per_example(scaling, u), scaled, state.u)
        return state

    def set_radius(self, region: LpDistanceRegion, state: ANPGDState, response: Response) -> None:
        """Set the radius of balls that have none yet from the linearised boundary."""
        slope, distance = region.dual(response.grad), response.distance
        away = torch.where(slope > 0, response.loss.abs() / slope.clamp_min(1e-30), 1.0)
        # A start that is not the clean input is a warm one, whose distance is the radius.
        fresh = torch.from_numpy(response.clock.count == 0).to(slope.device) & (distance == 0)
        radius = torch.where(fresh, 1.5 * away.clamp(1e-30, 1e30), state.ball.radius)
        state.ball = region.with_radius(radius)

    def halve(
        self, region: LpDistanceRegion, state: ANPGDState, response: Response, u: Tensor
    ) -> Tensor:
        """Narrow the brackets by the response; the points in their middle."""
        count = response.clock.count
        first = torch.from_numpy(count == self.steps).to(u.device)
        delta = u - region.x0
        unit = delta / per_example(region.length(delta).clamp_min(1e-30), u)
        state.direction = torch.where(per_example(first, u), unit, state.direction)
        scaling = torch.from_numpy(count >= self.steps).to(u.device)
        length = torch.where(first, response.distance, self.middle(state))
        state.high = torch.where(scaling & response.fooled, length, state.high)
        state.low = torch.where(scaling & ~response.fooled, length, state.low)
        return region.project_(region.x0 + state.direction * per_example(self.middle(state), u))

    def middle(self, state: ANPGDState) -> Tensor:
        top = state.high
        if self.eps_max is not None:
            top = top.clamp(max=max(self.eps_max, 0.0)).maximum(state.low)
        middle = torch.where(top < inf, (state.low + top) / 2, state.low * 2)
        return middle.clamp(max=1e30)
