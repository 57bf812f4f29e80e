"""HopSkipJump: gradient directions at the decision boundary, estimated from decisions alone."""

from dataclasses import dataclass, field
from math import inf

import torch
from torch import Tensor

from hauberk.attacks.decision import (
    BoundaryWalk,
    BoundaryWalkState,
    between,
    equal_shares,
    where_rows,
)
from hauberk.engine.state import pick
from hauberk.errors import InputError
from hauberk.maths.norms import norm
from hauberk.maths.steps import per_example
from hauberk.objectives.problem import Problem
from hauberk.threats.region import InputRegion

SEARCH, ESTIMATE, JUMP = 0, 1, 2


@dataclass(kw_only=True)
class HopState(BoundaryWalkState):
    """The stage of each slot, its bracket of the boundary and its estimate of a direction."""

    stage: Tensor
    """SEARCH for the boundary, ESTIMATE a direction there, or JUMP along it, ``(S,)`` int64."""
    queries: Tensor
    """Queries since the stage was entered, ``(S,)`` int64."""
    round: Tensor
    """Iterations done, ``(S,)`` int64."""
    low: Tensor
    """Largest share of the segment from the clean input to ``aim`` that does not fool, ``(S,)``."""
    high: Tensor
    """And the smallest one that does."""
    votes: Tensor
    """Of the present estimate: the sum of the decisions (1 or -1), ``(S,)``."""
    voted: Tensor = field(repr=False)
    """The sum of the directions, each times its decision."""
    drawn: Tensor = field(repr=False)
    """The sum of the directions."""


@dataclass(frozen=True, kw_only=True)
class HopSkipJump(BoundaryWalk[HopState]):
    """HopSkipJump (Chen, Jordan & Wainwright 2020, Algorithm 2), for l2 and linf, in any ball.

    Each iteration: bisection to the boundary (``trials`` points of the segment at once); a Monte
    Carlo estimate of the direction in which the model is fooled (decisions at random points nearby,
    less their mean; iteration t takes ``first * sqrt(t)`` of them); then a jump along it
    (``trials`` lengths at once: ``distance / sqrt(t)`` and its halves; the longest that fools is
    taken). Where the threat is a box (linf), bisection, jumps and distances are linf's; l2's
    elsewhere.

    Args:
        first: decisions for the first estimate, rounded up to whole queries.
        most: and for the later ones at most.
        precision: of the bisection: ``precision / d**1.5`` of the distance for l2,
            ``precision / d**2`` for linf.

    Example:
        >>> import torch
        >>> from hauberk import L2
        >>> model = torch.nn.Linear(4, 3)
        >>> images, labels = torch.full((2, 4), 0.5), torch.tensor([0, 1])
        >>> outcome = HopSkipJump(steps=3, trials=5)(model, images, labels, L2(0.1))
        >>> outcome.backwards
        tensor([0, 0])
    """

    steps: int = 500
    first: int = 100
    most: int = 10_000
    precision: float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        self.require_at_least("first", 1)
        self.require_at_least("most", self.first)
        if not self.precision > 0:
            raise InputError(f"precision is {self.precision}: give more than 0")

    def begin(self, problem: Problem, common: BoundaryWalkState) -> HopState:
        x, zero = common.x, torch.zeros_like(common.number)
        none = x.new_zeros(len(x))
        return HopState(
            **vars(common), stage=zero, queries=zero, round=zero, low=none, high=none + 1,
            votes=none, voted=torch.zeros_like(x), drawn=torch.zeros_like(x),
        )  # fmt: skip

    def propose(self, problem: Problem, state: HopState) -> Tensor:
        region, x = InputRegion.require(problem.region, self), state.x
        split = equal_shares(x, self.trials)
        # The ends of the bracket were evaluated before.
        inner = split * (self.trials / (self.trials + 1))
        split = torch.where(state.found.unsqueeze(1), inner, split)
        split = state.low.unsqueeze(1) + (state.high - state.low).unsqueeze(1) * split
        search = self.towards(region, state.aim, split)
        noise = self.directions(problem, state)
        estimate = x.unsqueeze(1) + noise * per_example(self.width(region, state), noise)
        jumps = 0.5 ** torch.arange(self.trials, dtype=x.dtype, device=x.device)
        length = self.length(region, x) / (state.round + 1).to(x.dtype).sqrt()
        jump = between(x, x + self.direction(region, state), length.unsqueeze(1) * jumps)
        points = where_rows(state.stage == ESTIMATE, estimate, search)
        return region.clip(where_rows(state.stage == JUMP, jump, points))

    def move(self, problem: Problem, state: HopState, fooled: Tensor) -> None:
        assert state.candidates is not None
        region, d = InputRegion.require(problem.region, self), max(1, state.x.shape[1:].numel())
        searching, jumping = state.stage == SEARCH, state.stage == JUMP
        estimating = state.stage == ESTIMATE
        some, where = fooled.any(1), fooled.to(torch.uint8).argmax(1)
        taken = pick(state.candidates, where)
        # The first that fools: the smallest share of the segment, or the longest jump.
        moves = some & ~estimating
        x = state.x = torch.where(per_example(moves, taken), taken, state.x)
        part = (state.high - state.low) / torch.where(state.found, self.trials + 1, self.trials)
        high = torch.where(some, state.low + part * (where + 1), state.high)
        low = torch.where(some, state.low + part * where, state.high - part)
        narrowed = searching & (some | state.found)
        state.high = torch.where(narrowed, high, state.high)
        state.low = torch.where(narrowed, low, state.low)
        state.found = state.found | (some & searching)

        sign = (fooled.to(x.dtype) * 2 - 1).view(*fooled.shape, *[1] * (x.dim() - 1))
        width = per_example(self.width(region, state).clamp_min(1e-30), state.candidates)
        noise = (state.candidates - x.unsqueeze(1)) / width
        counts = per_example(estimating, x)
        state.votes = torch.where(estimating, state.votes + sign.flatten(1).sum(1), state.votes)
        state.voted = torch.where(counts, state.voted + (noise * sign).sum(1), state.voted)
        state.drawn = torch.where(counts, state.drawn + noise.sum(1), state.drawn)

        queries = state.queries + 1
        searched = searching & state.found & (state.high - state.low <= self.fine(region, d))
        estimated = estimating & (queries >= self.queries_for(state))
        stage = torch.where(searched, ESTIMATE, torch.where(estimated, JUMP, state.stage))
        state.stage = torch.where(jumping, SEARCH, stage)
        state.queries = torch.where(searched | estimated | jumping, 0, queries)
        state.round = state.round + jumping.long()
        fresh = per_example(searched, x)
        state.votes = torch.where(searched, 0.0, state.votes)
        state.voted = torch.where(fresh, 0.0, state.voted)
        state.drawn = torch.where(fresh, 0.0, state.drawn)
        # After a jump, the segment to search ends at its point.
        state.aim = torch.where(per_example(jumping, x), x, state.aim)
        state.low = torch.where(jumping, 0.0, state.low)
        state.high = torch.where(jumping, 1.0, state.high)

    def fine(self, region: InputRegion, d: int) -> float:
        """Precision of the bisection, never below what floats can tell apart."""
        power = 2.0 if region.ball_is_box else 1.5
        finest = 16 * torch.finfo(region.x0.dtype).eps
        return float(max(self.precision / d**power, finest))

    def towards(self, region: InputRegion, aim: Tensor, share: Tensor) -> Tensor:
        """Points at shares (S, K) of the distance from the clean input to ``aim``."""
        x0 = region.x0
        if not region.ball_is_box:
            return between(x0, aim, share)
        whole = (aim - x0).unsqueeze(1)
        size = whole.abs().flatten(1).amax(1, keepdim=True) * share
        size = size.view(*size.shape, *[1] * (aim.dim() - 1))
        return x0.unsqueeze(1) + whole.minimum(size).maximum(-size)

    def length(self, region: InputRegion, x: Tensor) -> Tensor:
        """Distance of ``x`` from the clean input, l2 or linf, ``(S,)``."""
        return norm(x.double() - region.x0.double(), inf if region.ball_is_box else 2).to(x.dtype)

    def width(self, region: InputRegion, state: HopState) -> Tensor:
        """Distance of the estimate's points from ``x``, ``(S,)``."""
        d = max(1, state.x.shape[1:].numel())
        lo, hi = region.ends()
        first = 0.1 * (hi - lo).flatten(1).amax(1)
        later = self.length(region, state.x) * self.fine(region, d)
        return torch.where(state.round == 0, first, later * (d if region.ball_is_box else d**0.5))

    def queries_for(self, state: HopState) -> Tensor:
        """Queries of ``trials`` decisions that the present estimate takes, ``(S,)``."""
        wanted = self.first * (state.round + 1).to(state.x.dtype).sqrt()
        return (wanted.clamp(max=self.most) / self.trials).ceil()

    def directions(self, problem: Problem, state: HopState) -> Tensor:
        """Random directions of l2 length one, ``(S, trials, ...)``."""
        shape, draws = state.x.shape[1:], problem.draws.split(12)
        if problem.region.ball_is_box:
            noise = (
                draws.uniform(state.number, (self.trials, *shape), state.x.dtype).mul_(2).sub_(1)
            )
        else:
            noise = draws.normal(state.number, (self.trials, *shape), state.x.dtype)
        size = torch.linalg.vector_norm(noise.flatten(2), dim=2).clamp_min_(1e-30)
        unit: Tensor = noise / size.view(*size.shape, *[1] * len(shape))
        return unit

    def direction(self, region: InputRegion, state: HopState) -> Tensor:
        """The estimated direction, of length one, ``(S, ...)``: decisions less their mean."""
        mean = state.votes / (self.queries_for(state) * self.trials)
        # All alike: there is no contrast, the directions themselves have to do.
        base = torch.where(mean.abs() == 1, 0.0, mean)
        direction = state.voted - per_example(base, state.voted) * state.drawn
        if region.ball_is_box:
            return direction.sign()
        size = torch.linalg.vector_norm(direction.flatten(1), dim=1).clamp_min_(1e-30)
        return direction / per_example(size, direction)
