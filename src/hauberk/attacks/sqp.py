"""BFGS-SQP with a penalty function, for constraints folded into few: what PWCF solves with."""

from abc import abstractmethod
from dataclasses import dataclass, field, fields, replace
from math import inf, prod
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor

from hauberk.engine.state import Clock, Response, State
from hauberk.engine.stepper import Stepper
from hauberk.errors import InputError
from hauberk.maths.bfgs import DenseBFGS, LimitedBFGS, multipliers, predicted
from hauberk.maths.hull import Samples
from hauberk.maths.rows import Rows
from hauberk.maths.steps import per_example
from hauberk.objectives.problem import Problem
from hauberk.threats.distances import DistanceRegion

R = TypeVar("R", bound=Rows)


@dataclass
class Values(Rows):
    """Objective and constraints ``c <= 0`` at a point, all minimised.

    ``f`` (S,), ``c`` (S, m), and their gradients one above the other, ``slopes`` (S, m + 1, N).
    """

    f: Tensor
    c: Tensor
    slopes: Tensor = field(repr=False)

    def penalty(self, mu: Tensor) -> Tensor:
        return mu * self.f + self.c.clamp_min(0).sum(1)

    def slope(self, mu: Tensor) -> Tensor:
        """Gradient of the penalty function, ``(S, N)``."""
        active = (self.c > 0).to(self.f.dtype)
        weights = torch.cat((mu.unsqueeze(1), active), 1)
        return torch.einsum("sj,sjn->sn", weights, self.slopes)


@dataclass
class Descent(Rows):
    """One solve: where it stands, where it looks, and what it remembers."""

    v: Tensor = field(repr=False)
    at: Values
    memory: LimitedBFGS | DenseBFGS
    mu: Tensor
    direction: Tensor = field(repr=False)
    """The present direction, ``(S, N)``; ``fall`` (S,) is the penalty's slope along it."""
    fall: Tensor
    alpha: Tensor
    low: Tensor
    high: Tensor
    tries: Tensor
    fresh: Tensor
    """Whether nothing was evaluated yet, ``(S,)`` bool."""
    dead: Tensor
    """Whether not even the steepest descent leads down, ``(S,)`` bool."""
    near: Samples
    """Gradients of the penalty function at the last points accepted."""
    size: Tensor
    """Length of the last quadratic program's step, ``(S,)``: near 0 where stationary."""


@dataclass(kw_only=True)
class SQPState(State):
    """The present solve, the best one of the starts before, and the scales of the problem."""

    solve: Descent = field(repr=False)
    kept: Descent = field(repr=False)
    """The best of the starts so far."""
    worth: Tensor
    """Of ``kept``, and ``reached`` of the present start, ``(S,)``; larger is better."""
    reached: Tensor
    end: Tensor = field(repr=False)
    """Where the solve that ended with the least violation stood, ``(S, N)``."""
    off: Tensor
    """Its violation, ``(S,)``; inf where none has ended."""
    unit: Tensor
    """Scales fixed at the first gradient, ``(S, 3)``; 0 until then."""


@dataclass(frozen=True, kw_only=True)
class SQP(Stepper[SQPState]):
    """BFGS-SQP with penalty steering and a weak Wolfe line search, all points of a batch at once.

    Every query is one trial of the line search. Each example has its own quasi-Newton memory,
    penalty parameter and line search; the quadratic program is solved through its dual.

    Args:
        steps: trials in all. ``starts`` random starts get ``tries`` trials each, then the best of
            them goes on with its memory; where it ends early, further random starts follow.
        pairs: of the limited memory, for more than ``dense`` variables.
        noise: half width of the random starts, in units of the box's.
        mu, c_viol, c_mu: penalty parameter at first, and the constants of its steering.
        tolerance: a solve is over where the violation is at most this, and the shortest convex
            combination of the penalty function's gradients at the last ``samples`` points within
            ``nearby`` box widths is at most this share of the penalty parameter; or where a step of
            the quadratic program is below 1e-7 of the objective. 0 for the latter alone.

    Source: Curtis, Mitchell & Overton 2017, Procedure 1 and Algorithm 2; Liang et al. 2023.
    """

    starts: int = 2
    tries: int = 25
    pairs: int = 20
    dense: int = 200
    noise: float = 0.1
    mu: float = 1.0
    c_viol: float = 0.1
    c_mu: float = 0.9
    tolerance: float = 1e-5
    samples: int = 8
    nearby: float = 1e-4
    closing: int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        if min(self.starts, self.tries, self.pairs, self.samples) < 1:
            raise InputError("starts, tries, pairs and samples must be 1 or more")
        if not (self.tolerance >= 0 and self.nearby >= 0):
            raise InputError("tolerance and nearby must be 0 or more")

    @abstractmethod
    def values(self, region: DistanceRegion, state: SQPState, response: Response) -> Values:
        """Objective and constraints at the trial point, of which ``state.u`` is the clamped one."""

    @abstractmethod
    def rate(self, state: SQPState, response: Response) -> Tensor:
        """How good ``state.u`` is, ``(S,)``: larger is better, also among infeasible points."""

    def extra(self, region: DistanceRegion, x: Tensor) -> Tensor | None:
        """Further variables (S, k) beside the input, for a start at ``x``."""
        return None

    @abstractmethod
    def close(self, region: DistanceRegion, last: Tensor, turn: Tensor) -> Tensor:
        """The point of closing query ``turn`` (S,), from 1 on; the solve ended at ``last``."""

    @property
    def passes(self) -> int:
        return super().passes + self.closing

    def finished(self, state: SQPState, response: Response) -> np.ndarray | None:
        clock, last = response.clock, self.steps + self.closing
        return clock.count >= last if clock.most >= last else None

    def report(self, state: SQPState) -> dict[str, Tensor]:
        """Of the solve's last point, which may not be the best: how much its constraints lack, and
        the length of the last quadratic program's step, near 0 where it is stationary.
        """
        solve = state.solve
        return {"infeasibility": solve.at.c.clamp_min(0).amax(1), "stationarity": solve.size}

    def init(self, problem: Problem) -> SQPState:
        region = DistanceRegion.require(problem.region, self)
        u = problem.start_from(self.fresh_start(region, problem, 0))
        v = self.pack(region, u)
        none = u.new_zeros(len(u))
        solve = self.descent(v, self.constraints(region))
        return SQPState(
            u=u, feasible=self.within_threat(region, u), solve=solve, kept=solve,
            worth=none - inf, reached=none - inf, end=v.clone(), off=none + inf,
            unit=torch.zeros(len(u), 3).to(u),
        )  # fmt: skip

    @abstractmethod
    def constraints(self, region: DistanceRegion) -> int:
        """Number of constraints."""

    def within_threat(self, region: DistanceRegion, u: Tensor) -> Tensor | None:
        """Which points lie in the threat, ``(S,)`` bool; None for all."""
        return None

    def fresh_start(self, region: DistanceRegion, problem: Problem, number: int | Tensor) -> Tensor:
        """A random start near the clean inputs."""
        x0 = region.x0
        noise = problem.draws.uniform(1000 + number, x0.shape[1:], x0.dtype).mul_(2).sub_(1)
        return x0.addcmul(noise, region.span * self.noise).clamp(*region.edges)

    def pack(self, region: DistanceRegion, u: Tensor) -> Tensor:
        more = self.extra(region, u)
        return u.flatten(1) if more is None else torch.cat((u.flatten(1), more), 1)

    def descent(self, v: Tensor, constraints: int) -> Descent:
        s, n = v.shape
        none = v.new_zeros(s)
        values = Values(
            f=none, c=v.new_zeros(s, constraints), slopes=v.new_zeros(s, constraints + 1, n)
        )
        memory = DenseBFGS.empty(v) if n <= self.dense else LimitedBFGS.empty(v, self.pairs)
        return Descent(
            v=v, at=values, memory=memory, mu=none + self.mu,
            direction=torch.zeros_like(v), fall=none, alpha=none, low=none, high=none + inf,
            tries=none, fresh=none == 0, dead=none > 0, size=none + inf,
            near=Samples.empty(v, self.samples),
        )  # fmt: skip

    def step(self, problem: Problem, state: SQPState, response: Response) -> SQPState:
        region, clock = DistanceRegion.require(problem.region, self), response.clock
        state.reached = torch.maximum(state.reached, self.rate(state, response))
        if response.gradient is None:
            return self.closed(region, state, clock)
        new = self.values(region, state, response)
        solve = self.search(state.solve, new, self.nearby * region.mean_width)
        solve = state.solve = self.restart(region, problem, state, solve, clock.count + 1)
        n = prod(state.u.shape[1:])
        trial = solve.v + solve.alpha.unsqueeze(1) * solve.direction
        state.u = trial[:, :n].reshape(state.u.shape).clamp(*region.edges)
        state.feasible = self.within_threat(region, state.u)
        return self.closed(region, state, clock) if clock.most + 1 > self.steps else state

    def closed(self, region: DistanceRegion, state: SQPState, clock: Clock) -> SQPState:
        """The closing queries of the slots whose solve is over."""
        turn = clock.on(state.u, later=1 - self.steps)
        last = state.solve.v[:, : state.u[:1].numel()].reshape(state.u.shape)
        after = self.close(region, last, turn.clamp_min(1))
        state.u = torch.where(per_example(turn > 0, after), after, state.u)
        state.feasible = self.within_threat(region, state.u)
        return state

    def trial(self, state: SQPState) -> Tensor:
        """The point evaluated, before it was clamped to the box, ``(S, N)``."""
        return state.solve.v + state.solve.alpha.unsqueeze(1) * state.solve.direction

    def search(self, solve: Descent, new: Values, reach: Tensor) -> Descent:
        """One trial of the line search: accept it, or bracket.

        ``reach`` (S,): how far away gradients count in the test for stationarity.
        """
        was, now = solve.at.penalty(solve.mu), new.penalty(solve.mu)
        slope = new.slope(solve.mu)
        along = (slope * solve.direction).sum(1)
        falls = now <= was + 1e-4 * solve.alpha * solve.fall
        bends = along >= 0.5 * solve.fall
        tries = solve.tries + 1
        late = tries >= 10
        accept = solve.fresh | (falls & (bends | late))
        lost = late & ~accept
        high = torch.where(falls, solve.high, solve.alpha)
        low = torch.where(falls, solve.alpha, solve.low)
        between = torch.where(high < inf, (low + high) / 2, solve.alpha * 2)
        step = solve.alpha.unsqueeze(1) * solve.direction
        change = slope - solve.at.slope(solve.mu)
        solve.memory.push_(step, change, accept & ~solve.fresh)
        moved = accept.unsqueeze(1)
        v = torch.where(moved, solve.v + step, solve.v)
        solve.near.push_(v, slope, solve.mu, accept)
        # No more to gain, to first order.
        done = solve.size < 1e-7 * solve.at.f.abs()
        done = done | self.stationary(solve, v, new, accept, reach)
        dead = ~solve.fresh & (lost & solve.memory.blank | (accept & done))
        solve.memory.clear_(lost)
        at = choose(accept, new, solve.at)
        solve = replace(
            solve, v=v, at=at, alpha=between, low=low, high=high, tries=tries, dead=dead
        )
        renew = accept | lost
        if not (renew.is_cpu and not bool(renew.any())):
            solve = self.steer(solve, renew)
        return solve

    def stationary(
        self, solve: Descent, v: Tensor, at: Values, due: Tensor, reach: Tensor
    ) -> Tensor:
        """Which points ``v`` (S, N) are feasible and stationary, ``(S,)`` bool; GRANSO's test.

        Source: Curtis, Mitchell & Overton 2017, section 3.2; Liang et al. 2023.
        """
        feasible = due & (at.c.clamp_min(0).sum(1) <= self.tolerance)
        if not self.tolerance or (feasible.is_cpu and not bool(feasible.any())):
            return torch.zeros_like(due)
        return feasible & (solve.near.least(v, solve.mu, reach) <= self.tolerance * solve.mu)

    def steer(self, solve: Descent, renew: Tensor) -> Descent:
        """New directions for some rows: the quadratic program, its penalty parameter steered."""
        at = solve.at
        product = solve.memory.times(at.slopes)
        gram = torch.einsum("sin,sjn->sij", at.slopes, product)
        violation = at.c.clamp_min(0).sum(1)
        none = torch.zeros_like(solve.mu)
        best = predicted(gram, at.c, none, multipliers(gram, at.c, none))
        mu, found = solve.mu, multipliers(gram, at.c, solve.mu)
        for _ in range(15):
            drop = predicted(gram, at.c, mu, found)
            short = renew & (drop < self.c_viol * violation) & (drop < self.c_viol * best)
            if short.is_cpu and not bool(short.any()):
                break
            mu = torch.where(short, mu * self.c_mu, mu)
            found = multipliers(gram, at.c, mu)
        weights = torch.cat((mu.unsqueeze(1), found), 1)
        direction = -torch.einsum("sj,sjn->sn", weights, product)
        slope = at.slope(mu)
        fall = (slope * direction).sum(1)
        # Where that is no descent, the steepest one.
        wrong = ~(fall < 0)
        direction = torch.where(wrong.unsqueeze(1), -slope, direction)
        fall = torch.where(wrong, -slope.square().sum(1), fall)
        size = direction.norm(dim=1)
        # Before curvature is known a step must not leave the neighbourhood.
        blank = solve.memory.blank
        near = self.first_length(solve) / size.clamp_min(1e-30)
        alpha = torch.where(blank, near, 1.0).clamp(max=1.0)
        r = renew.unsqueeze(1)
        return replace(
            solve,
            mu=torch.where(renew, mu, solve.mu),
            direction=torch.where(r, direction, solve.direction),
            fall=torch.where(renew, fall, solve.fall),
            alpha=torch.where(renew, alpha, solve.alpha),
            low=torch.where(renew, 0.0, solve.low),
            high=torch.where(renew, inf, solve.high),
            tries=torch.where(renew, 0.0, solve.tries),
            size=torch.where(renew, size, solve.size),
            fresh=solve.fresh & ~renew,
        )

    def first_length(self, solve: Descent) -> Tensor:
        """How far a step without curvature may go, in l2, ``(S,)``."""
        return solve.at.penalty(solve.mu).abs().clamp(1e-6, 1.0)

    def restart(
        self, region: DistanceRegion, problem: Problem, state: SQPState, solve: Descent,
        count: np.ndarray,
    ) -> Descent:  # fmt: skip
        """At the end of a start: keep the best, begin the next, or go on from the best."""
        for number in range(1, self.starts + 1):
            due = count == number * self.tries
            if self.starts == 1 or not due.any():
                continue
            rows = torch.from_numpy(due).to(solve.v.device)
            better = rows & (state.reached > state.worth)
            state.kept = choose(better, solve, state.kept)
            state.worth = torch.where(better, state.reached, state.worth)
            state.reached = torch.where(rows, -inf, state.reached)
            if number == self.starts:
                solve = choose(rows, state.kept, solve)
                state.reached = torch.where(rows, state.worth, state.reached)
            else:
                begun = self.pack(region, self.fresh_start(region, problem, number))
                solve = choose(rows, self.descent(begun, solve.at.c.shape[1]), solve)
        if solve.dead.is_cpu and not bool(solve.dead.any()):
            return solve
        violation = solve.at.c.clamp_min(0).sum(1)
        ends = solve.dead & (violation < state.off)
        state.end = torch.where(ends.unsqueeze(1), solve.v, state.end)
        state.off = torch.where(ends, violation, state.off)
        turn = torch.from_numpy(count).to(solve.v.device)
        begun = self.pack(region, self.fresh_start(region, problem, turn))
        return choose(solve.dead, self.descent(begun, solve.at.c.shape[1]), solve)


def choose(where: Tensor, one: R, other: R) -> R:
    """Row by row the one record or the other, by ``where`` (S,) bool."""
    chosen = {}
    for f in fields(one):
        a, b = getattr(one, f.name), getattr(other, f.name)
        if isinstance(a, Rows):
            chosen[f.name] = choose(where, a, b)
        elif isinstance(a, Tensor):
            chosen[f.name] = torch.where(where.view(-1, *[1] * (a.dim() - 1)), a, b)
        else:
            chosen[f.name] = a
    return replace(one, **chosen)


def length(rows: Tensor) -> Tensor:
    """l2 norms of rows (S, N), also where squares would over- or underflow, ``(S,)``."""
    top = rows.abs().amax(1).clamp_min(torch.finfo(rows.dtype).tiny)
    found: Tensor = (rows / top.unsqueeze(1)).norm(dim=1) * top
    return found
