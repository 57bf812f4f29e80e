"""BFGS-SQP with a penalty function, for constraints folded into few: what PWCF solves with."""

from abc import abstractmethod
from dataclasses import dataclass, field, replace
from math import inf, prod

import numpy as np
import torch
from torch import Tensor

from hauberk.attacks.base import Attack
from hauberk.attacks.sqp_records import Descent, Values, choose
from hauberk.engine.state import BestSoFar, Clock, Response, State
from hauberk.errors import InputError
from hauberk.maths.bfgs import DenseBFGS, LimitedBFGS, multipliers, predicted
from hauberk.maths.steps import per_example
from hauberk.objectives.problem import Problem


@dataclass(kw_only=True)
class SQPState(State):
    solve: Descent = field(repr=False)
    kept: Descent = field(repr=False)
    """The best of the starts so far."""
    worth: Tensor
    """Of ``kept``, and ``reached`` of the present start, ``(S,)``; larger is better."""
    reached: Tensor
    unit: Tensor
    """Scales fixed at the first gradient, ``(S, 3)``; 0 until then."""


@dataclass(frozen=True, kw_only=True)
class SQP(Attack):
    """BFGS-SQP with penalty steering and a weak Wolfe line search, all points of a batch at once.

    Every ask is one trial of the line search. Each example has its own quasi-Newton memory,
    penalty parameter and line search; the quadratic program is solved through its dual.

    Args:
        steps: trials in all. ``starts`` random starts get ``tries`` trials each, then the best of
            them goes on with its memory; where it ends early, further random starts follow.
        pairs: of the limited memory, for more than ``dense`` variables.
        noise: half width of the random starts, in units of the box's.
        mu, c_viol, c_mu: penalty parameter at first, and the constants of its steering.

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
    closing: int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.starts < 1 or self.tries < 1 or self.pairs < 1:
            raise InputError("starts, tries and pairs must be 1 or more")

    @abstractmethod
    def values(self, problem: Problem, state: SQPState, response: Response) -> Values:
        """Objective and constraints at the trial point, of which ``state.u`` is the clamped one."""

    @abstractmethod
    def rate(self, problem: Problem, state: SQPState, response: Response) -> Tensor:
        """How good ``state.u`` is, ``(S,)``: larger is better, also among infeasible points."""

    def extra(self, problem: Problem, x: Tensor) -> Tensor | None:
        """Further variables (S, k) beside the input, for a start at ``x``."""
        return None

    @abstractmethod
    def close(self, problem: Problem, last: Tensor, turn: Tensor) -> Tensor:
        """The point of closing ask ``turn`` (S,), from 1 on, after the solve ended at ``last``."""

    @property
    def passes(self) -> int:
        return super().passes + self.closing

    def over(self, state: State) -> np.ndarray | None:
        last = self.steps + self.closing
        return state.t.count > last if state.t.most > last else None

    def wants_gradient(self, state: State) -> bool:
        return state.t.least < self.steps

    def report(self, state: State) -> dict[str, Tensor]:
        """Of the solve's last point, which may not be the best: how much its constraints lack, and
        the length of the last quadratic program's step, near 0 where it is stationary.
        """
        assert isinstance(state, SQPState)
        solve = state.solve
        return {"infeasibility": solve.at.c.clamp_min(0).amax(1), "stationarity": solve.size}

    def start(self, problem: Problem) -> State:
        u = problem.begin_from(self.fresh_start(problem, 0))
        v = self.pack(problem, u)
        none = u.new_zeros(len(u))
        solve = self.descent(v, self.constraints(problem))
        state = SQPState(
            u=u, t=Clock.zero(len(u)), best=BestSoFar.none(u), solve=solve, kept=solve,
            worth=none - inf, reached=none - inf, unit=torch.zeros(len(u), 3).to(u),
        )  # fmt: skip
        state.inside = self.within_threat(problem, u)
        return state

    @abstractmethod
    def constraints(self, problem: Problem) -> int:
        """Number of constraints."""

    def within_threat(self, problem: Problem, u: Tensor) -> Tensor | None:
        """Which points count; None for all."""
        return None

    def fresh_start(self, problem: Problem, number: int | Tensor) -> Tensor:
        lo, hi = problem.region.edges  # type: ignore[attr-defined]
        span = (hi - lo).expand_as(problem.region.x0[:1])
        span = torch.where(span.isfinite(), span, 1.0)
        x0 = problem.region.x0
        noise = problem.draws.uniform(1000 + number, x0.shape[1:], x0.dtype).mul_(2).sub_(1)
        return problem.region.x0.addcmul(noise, span * self.noise).clamp(lo, hi)

    def pack(self, problem: Problem, u: Tensor) -> Tensor:
        more = self.extra(problem, u)
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
            way=torch.zeros_like(v), fall=none, alpha=none, low=none, high=none + inf, tries=none,
            fresh=none == 0, dead=none > 0, size=none + inf,
        )  # fmt: skip

    def step(self, problem: Problem, state: State, response: Response) -> State:
        assert isinstance(state, SQPState)
        state.reached = torch.maximum(state.reached, self.rate(problem, state, response))
        if response.grad is None:
            state.t.tick()
            return self.closed(problem, state)
        new = self.values(problem, state, response)
        solve = self.search(state.solve, new)
        state.t.tick()
        solve = self.restart(problem, state, solve)
        state.solve = solve
        trial = solve.v + solve.alpha.unsqueeze(1) * solve.way
        n = prod(state.u.shape[1:])
        lo, hi = problem.region.edges  # type: ignore[attr-defined]
        state.u = trial[:, :n].reshape(state.u.shape).clamp(lo, hi)
        state.inside = self.within_threat(problem, state.u)
        return self.closed(problem, state) if state.t.most > self.steps else state

    def closed(self, problem: Problem, state: SQPState) -> SQPState:
        """The closing asks of the slots whose solve is over."""
        turn = torch.from_numpy(state.t.count - self.steps).to(state.u.device)
        last = state.solve.v[:, : state.u[:1].numel()].reshape(state.u.shape)
        after = self.close(problem, last, turn.clamp_min(1))
        state.u = torch.where(per_example(turn > 0, after), after, state.u)
        state.inside = self.within_threat(problem, state.u)
        return state

    def trial(self, state: SQPState) -> Tensor:
        """The point asked for, before it was clamped to the box, ``(S, N)``."""
        return state.solve.v + state.solve.alpha.unsqueeze(1) * state.solve.way

    def search(self, solve: Descent, new: Values) -> Descent:
        """One trial of the line search: accept it, or bracket."""
        was, now = solve.at.penalty(solve.mu), new.penalty(solve.mu)
        slope = new.slope(solve.mu)
        along = (slope * solve.way).sum(1)
        falls = now <= was + 1e-4 * solve.alpha * solve.fall
        bends = along >= 0.5 * solve.fall
        tries = solve.tries + 1
        late = tries >= 10
        accept = solve.fresh | (falls & (bends | late))
        lost = late & ~accept
        high = torch.where(falls, solve.high, solve.alpha)
        low = torch.where(falls, solve.alpha, solve.low)
        between = torch.where(high < inf, (low + high) / 2, solve.alpha * 2)
        step = solve.alpha.unsqueeze(1) * solve.way
        change = slope - solve.at.slope(solve.mu)
        solve.memory.push_(step, change, accept & ~solve.fresh)
        # Nothing more to gain, to all appearance.
        done = solve.size < 1e-7 * solve.at.f.abs()
        dead = ~solve.fresh & (lost & solve.memory.blank | (accept & done))
        solve.memory.clear_(lost)
        moved = accept.unsqueeze(1)
        v = torch.where(moved, solve.v + step, solve.v)
        at = choose(accept, new, solve.at)
        solve = replace(
            solve, v=v, at=at, alpha=between, low=low, high=high, tries=tries, dead=dead
        )
        renew = accept | lost
        if not (renew.is_cpu and not bool(renew.any())):
            solve = self.steer(solve, renew)
        return solve

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
        way = -torch.einsum("sj,sjn->sn", weights, product)
        slope = at.slope(mu)
        fall = (slope * way).sum(1)
        # Where that is no descent, the steepest one.
        wrong = ~(fall < 0)
        way = torch.where(wrong.unsqueeze(1), -slope, way)
        fall = torch.where(wrong, -slope.square().sum(1), fall)
        size = way.norm(dim=1)
        # Before curvature is known a step must not leave the neighbourhood.
        blank = solve.memory.blank
        near = self.first_length(solve) / size.clamp_min(1e-30)
        alpha = torch.where(blank, near, 1.0).clamp(max=1.0)
        r = renew.unsqueeze(1)
        return replace(
            solve,
            mu=torch.where(renew, mu, solve.mu),
            way=torch.where(r, way, solve.way),
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

    def restart(self, problem: Problem, state: SQPState, solve: Descent) -> Descent:
        """At the end of a start: keep the best, begin the next, or go on from the best."""
        for number in range(1, self.starts + 1):
            due = state.t.count == number * self.tries
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
                begun = self.pack(problem, self.fresh_start(problem, number))
                solve = choose(rows, self.descent(begun, solve.at.c.shape[1]), solve)
        if solve.dead.is_cpu and not bool(solve.dead.any()):
            return solve
        turn = torch.from_numpy(state.t.count).to(solve.v.device)
        begun = self.pack(problem, self.fresh_start(problem, turn))
        return choose(solve.dead, self.descent(begun, solve.at.c.shape[1]), solve)
