"""Boundary attack, and what all walks along the decision boundary share. No gradients anywhere."""

from abc import abstractmethod
from dataclasses import dataclass, field

import torch
from torch import Tensor

from hauberk.attacks.base import pick
from hauberk.attacks.noise import Blind, ends, note, refuse_endless, shares
from hauberk.engine.state import BestSoFar, Clock, Response, State
from hauberk.errors import InputError
from hauberk.maths.norms import norm
from hauberk.maths.steps import per_example
from hauberk.objectives.problem import Problem
from hauberk.threats.base import Region


@dataclass(kw_only=True)
class WalkState(State):
    x: Tensor = field(repr=False)
    """The walk's point, ``(S, ...)``: adversarial where ``found``, in the threat or not."""
    found: Tensor
    """Whether a first adversarial point is known, ``(S,)`` bool."""
    aim: Tensor = field(repr=False)
    """The point of the box towards which a first adversarial point is looked for."""
    number: Tensor
    """Number of the present ask, ``(S,)`` int64: the draw of its random numbers."""


@dataclass(frozen=True, kw_only=True)
class Walk(Blind):
    """A walk over adversarial points that may lie outside the threat, towards the clean input.

    The points of a spread say where the model is fooled; those inside the threat are hits. After
    each spread, ``u`` is by default the walk's point projected into the threat.

    Args:
        trials: points per ask.
    """

    trials: int = 25

    def __post_init__(self) -> None:
        super().__post_init__()
        self._least("trials", 2)

    @property
    def rows(self) -> int:
        return self.trials

    @abstractmethod
    def begin(self, problem: Problem, common: WalkState) -> WalkState:
        """The walk's own state, from what all walks have in common; no points asked for yet."""

    @abstractmethod
    def ask(self, problem: Problem, state: WalkState) -> Tensor:
        """The points of the next spread, ``(S, rows, ...)``, in the box."""

    @abstractmethod
    def read(self, problem: Problem, state: WalkState, fooled: Tensor) -> None:
        """Move ``x``, from where in the spread the model was fooled, ``(S, rows)``."""

    def look(self, problem: Problem, state: WalkState) -> Tensor:
        """The point to ask alone after the spread was read, ``(S, ...)``."""
        return problem.region.project_(state.x.clone())

    def start(self, problem: Problem) -> State:
        refuse_endless(problem.region)
        x0 = problem.region.x0
        number = torch.zeros(len(x0), dtype=torch.int64, device=x0.device)
        aim = self.aim(problem, number)
        if problem.warm is not None and problem.has_warm is not None:
            lo, hi = ends(problem.region)
            warm = problem.warm.to(aim).maximum(lo).minimum(hi)
            aim = torch.where(per_example(problem.has_warm, aim), warm, aim)
        common = WalkState(
            inside=torch.ones_like(number, dtype=torch.bool),
            u=x0.clone(), t=Clock.zero(len(x0)), best=BestSoFar.none(x0), x=x0.clone(), aim=aim,
            found=torch.zeros_like(number, dtype=torch.bool), number=number,
        )  # fmt: skip
        return self._spread(problem, self.begin(problem, common))

    def _spread(self, problem: Problem, state: WalkState) -> WalkState:
        state.spread = self.ask(problem, state)
        state.inside_spread = members(problem.region, state.spread)
        return state

    def choose(self, problem: Problem, state: State, response: Response) -> State:
        assert isinstance(state, WalkState)
        note(state, response)
        self.read(problem, state, response.fooled)
        # First of all, the clean input itself.
        state.u = where_rows(state.number == 0, problem.region.x0, self.look(problem, state))
        state.inside = problem.region.contains(state.u)
        return state

    def step(self, problem: Problem, state: State, response: Response) -> State:
        assert isinstance(state, WalkState)
        allowed = problem.region.contains(state.u)
        state.best.update_(state.u, _only(response, allowed))
        self.receive(problem, state, response.fooled)
        state.t.tick()
        state.number += 1
        # Where nothing was found yet, look in another direction.
        aim = self.aim(problem, state.number)
        state.aim = torch.where(per_example(state.found, aim), state.aim, aim)
        return self._spread(problem, state)

    def aim(self, problem: Problem, draw: Tensor) -> Tensor:
        """A random point to look for a first adversarial point at, ``(S, ...)``."""
        return somewhere(problem, draw)

    def receive(self, problem: Problem, state: WalkState, fooled: Tensor) -> None:
        """What was decided at ``u``, (S,); nothing to do by default."""


@dataclass(kw_only=True)
class BoundaryState(WalkState):
    around: Tensor
    """Length of the orthogonal step, in units of the distance, ``(S,)``."""
    inwards: Tensor
    """The same of the step towards the clean input."""


@dataclass(frozen=True, kw_only=True)
class Boundary(Walk):
    """Boundary attack (Brendel et al. 2018, Algorithm 1 and figure 2), with l2 steps in any ball.

    From an adversarial point, found between the clean input and random noise (or the warm start),
    random steps of fixed distance from the clean input, then towards it; the nearest point that
    still fools is kept. A fifth of the trials leave the second step out and set the length of the
    first; the rest set that of the second.
    (The paper wants about half of the former to fool; with the best of many trials kept, a third
    goes further. Of the latter, a tenth.)

    Args:
        around, inwards: first lengths of the two steps, in units of the distance.
        rate: factor by which the lengths change.
    """

    steps: int = 500
    around: float = 0.01
    inwards: float = 0.01
    rate: float = 1.5

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("around", "inwards"):
            if not 0 < getattr(self, name) < 1:
                raise InputError(f"{name} is {getattr(self, name)}: give a length in (0, 1)")
        if not self.rate >= 1:
            raise InputError(f"rate is {self.rate}: give 1 or more")

    @property
    def _checks(self) -> int:
        return max(1, self.trials // 5)

    def begin(self, problem: Problem, common: WalkState) -> WalkState:
        ones = common.x.new_ones(len(common.x))
        return BoundaryState(**vars(common), around=ones * self.around, inwards=ones * self.inwards)

    def ask(self, problem: Problem, state: WalkState) -> Tensor:
        assert isinstance(state, BoundaryState)
        x0, x, shape = problem.region.x0, state.x, state.x.shape[1:]
        back = (x - x0).flatten(1)
        length = torch.linalg.vector_norm(back, dim=1).clamp_min(1e-30).view(-1, 1, 1)
        way = back.unsqueeze(1) / length
        noise = problem.draws.split(12).normal(state.number, (self.trials, *shape), x.dtype)
        noise = noise.flatten(2)
        noise = noise - (noise * way).sum(2, keepdim=True) * way
        size = torch.linalg.vector_norm(noise, dim=2, keepdim=True)
        noise = noise / size.clamp_min_(1e-30)
        around = state.around.view(-1, 1, 1)
        # On the sphere, both components have their share of the radius.
        round_ = (way + around * noise) / (1 + around.square()).sqrt()
        size = (1 - state.inwards).view(-1, 1, 1).repeat(1, self.trials, 1)
        size[:, : self._checks] = 1
        points = x0.unsqueeze(1) + (round_ * size * length).view(-1, self.trials, *shape)
        lines = blend(x0, state.aim, shares(x, self.trials))
        return into_box(problem.region, where_rows(state.found, points, lines))

    def read(self, problem: Problem, state: WalkState, fooled: Tensor) -> None:
        assert isinstance(state, BoundaryState)
        assert state.spread is not None
        n, x0 = self._checks, problem.region.x0
        far = norm((state.spread - x0.unsqueeze(1)).flatten(0, 1).double(), 2).view_as(fooled)
        before = norm((state.x - x0).double(), 2)
        where = torch.where(fooled, far, torch.inf).argmin(1)
        nearest = torch.where(fooled, far, torch.inf).amin(1)
        walking = state.found
        better = torch.where(walking, nearest < before, fooled.any(1))
        state.x = torch.where(per_example(better, state.x), pick(state.spread, where), state.x)
        easy = fooled[:, :n].to(far).mean(1)
        good = fooled[:, n:].to(far).mean(1)
        state.around = torch.where(walking, self._set(state.around, easy, 0.3), state.around)
        state.inwards = torch.where(walking, self._set(state.inwards, good, 0.1), state.inwards)
        state.found = state.found | fooled.any(1)

    def _set(self, length: Tensor, share: Tensor, wanted: float) -> Tensor:
        way = (share > wanted).to(length) - (share < wanted).to(length)
        return (length * self.rate**way).clamp_(1e-6, 0.5)


def somewhere(problem: Problem, draw: int | Tensor) -> Tensor:
    """Random points of the box, ``(S, ...)``: uniform, or (every other time) of box ends alone."""
    lo, hi = ends(problem.region)
    shape, draws = lo.shape[1:], problem.draws
    noise = draws.split(10).uniform(draw, shape, lo.dtype)
    coin = draws.split(11).bits(draw, ()) & 1 == 1
    noise = torch.where(per_example(coin, noise), noise.round(), noise)
    return lo + noise * (hi - lo)


def blend(x0: Tensor, x: Tensor, share: Tensor) -> Tensor:
    """Points on the way from ``x0`` to ``x`` (S, ...), at shares (S, K): ``(S, K, ...)``."""
    far = (x - x0).unsqueeze(1)
    return torch.addcmul(x0.unsqueeze(1), far, share.view(*share.shape, *[1] * (x.dim() - 1)))


def where_rows(rows: Tensor, yes: Tensor, no: Tensor) -> Tensor:
    """``yes`` (S, ...) in the rows where ``rows`` (S,) is set, ``no`` elsewhere."""
    return torch.where(per_example(rows, yes), yes, no)


def into_box(region: Region, spread: Tensor) -> Tensor:
    """The points of a spread ``(S, K, ...)`` clipped to the box."""
    lo, hi = ends(region)
    return spread.maximum(lo.unsqueeze(1)).minimum(hi.unsqueeze(1))


def members(region: Region, spread: Tensor) -> Tensor:
    """Which points of a spread ``(S, K, ...)`` lie in the threat, ``(S, K)``."""
    k = spread.shape[1]
    each = torch.arange(len(spread), device=spread.device).repeat_interleave(k)
    return region.take(each).contains(spread.flatten(0, 1)).view(-1, k)


def _only(response: Response, allowed: Tensor) -> Response:
    """The same, but nothing for the points outside the threat."""
    loss = torch.where(allowed, response.loss, -torch.inf)
    return Response(
        loss=loss, fooled=response.fooled & allowed, grad=None, any_fooled=response.any_fooled
    )
