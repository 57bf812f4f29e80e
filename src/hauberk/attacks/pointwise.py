"""Pointwise attack: undo a salt-and-pepper noise feature by feature while it still fools."""

from dataclasses import dataclass, field

import torch
from torch import Tensor

from hauberk.attacks.decision import (
    BoundaryWalk,
    BoundaryWalkState,
    equal_shares,
    salt_and_pepper,
)
from hauberk.engine.state import pick
from hauberk.errors import InputError
from hauberk.maths.steps import per_example
from hauberk.objectives.problem import Problem
from hauberk.threats.region import InputRegion


@dataclass(kw_only=True)
class PointwiseState(BoundaryWalkState):
    """Which features are reset, in groups, alone or by bisection, and the best descent."""

    low: Tensor = field(repr=False)
    """Values between clean and present ones that do not fool, ``(S, ...)``."""
    tried: Tensor = field(repr=False)
    """Features whose reset failed in this round, ``(S, d)`` bool."""
    group: Tensor = field(repr=False)
    """The trial that moves each feature, ``(S, d)`` int64; ``trials`` or more for none."""
    size: Tensor
    """Features that one trial moves, ``(S,)`` int64."""
    joined: Tensor
    """Share of the trials that fool to be joined in one point, ``(S,)``."""
    joint: Tensor = field(repr=False)
    """The point that joins them, and the first of them alone, ``(S, ...)`` each."""
    alone: Tensor = field(repr=False)
    fine: Tensor
    """Whether the resets are over and values are searched by bisection, ``(S,)`` bool."""
    moved: Tensor
    """Whether this round has reset something, ``(S,)`` bool."""
    near: Tensor = field(repr=False)
    """The nearest end of a descent so far, or the clean input, ``(S, ...)``."""
    round: Tensor
    """Rounds of single features so far, ``(S,)`` int64."""


@dataclass(frozen=True, kw_only=True)
class Pointwise(BoundaryWalk[PointwiseState]):
    """Pointwise attack (Schott et al. 2019), for l0 and l1; works in any ball.

    A first adversarial point is salt and pepper noise (of ``trials`` amounts; the least that fools)
    or the warm start, in the threat or not. Then features are put back to clean in random order as
    long as the model is fooled: for l0 until a round of single features changes nothing; elsewhere
    each change that remains is bisected towards clean, as long as that may still lead into the
    threat. Then it starts again, until the steps are used up.

    The paper resets one feature per query. Here the ``trials`` points of one query each reset their
    own group of features, first large groups, then ever smaller ones; those that fool are joined,
    and one more query decides whether all of them are kept or the first alone.

    Args:
        steps: queries, each of ``trials + 2`` forwards: the joined point, and the present one
            projected into the threat, beside the trials.
        rounds: most rounds of single features for l0; elsewhere there is one, since the bisection
            that follows takes back what another round would.
        precision: of the bisection, in units of the box.
        hop: start again from the nearest end so far, with some new noise added; otherwise (the
            paper's restarts) from noise on the clean input.
        reach: largest share of the features that a hop changes, in (0, 1].

    Example:
        >>> import torch
        >>> from hauberk import L0
        >>> model = torch.nn.Linear(4, 3)
        >>> images, labels = torch.full((2, 4), 0.5), torch.tensor([0, 1])
        >>> outcome = Pointwise(steps=3, trials=4)(model, images, labels, L0(2))
        >>> bool((outcome.distance <= 2).all())
        True
    """

    steps: int = 100
    trials: int = 10
    rounds: int = 10
    precision: float = 0.01
    hop: bool = True
    reach: float = 0.3

    def __post_init__(self) -> None:
        super().__post_init__()
        self.require_at_least("rounds", 1)
        if not 0 < self.precision <= 1:
            raise InputError(f"precision is {self.precision}: give a share of the box in (0, 1]")
        if not 0 < self.reach <= 1:
            raise InputError(f"reach is {self.reach}: give a share of the features in (0, 1]")

    @property
    def rows(self) -> int:
        return self.trials + 1

    def aim(self, problem: Problem, draw: Tensor) -> Tensor:
        region = InputRegion.require(problem.region, self)
        return salt_and_pepper(region, problem.draws.split(10), draw)

    def begin(self, problem: Problem, common: BoundaryWalkState) -> PointwiseState:
        x, none = common.x, common.found
        return PointwiseState(
            **vars(common), low=x, tried=torch.zeros_like(x, dtype=torch.bool).flatten(1),
            group=torch.zeros_like(x, dtype=torch.int64).flatten(1), joint=x, alone=x,
            size=torch.ones_like(common.number), joined=x.new_ones(len(x)),
            fine=none, moved=none, near=x, round=torch.zeros_like(common.number),
        )  # fmt: skip

    def propose(self, problem: Problem, state: PointwiseState) -> Tensor:
        region, k, shape = problem.region, self.trials, state.x.shape
        key = problem.draws.split(12).uniform(state.number, shape[1:], torch.float64).flatten(1)
        open_ = self.open(problem, state)
        rank = key.masked_fill(~open_, 2.0).argsort(dim=1).argsort(dim=1)
        state.group = (rank // state.size.unsqueeze(1)).masked_fill(~open_, k)
        trial = torch.arange(k, device=key.device).view(1, k, 1)
        found = state.found.view(-1, 1, 1)
        # Amounts grow with the square: small ones are the interesting ones.
        again = (state.x != region.x0).flatten(1).any(1, keepdim=True)
        amount = equal_shares(key, k).square() * torch.where(again, self.reach, 1.0)
        amount = amount.unsqueeze(2)
        moves = torch.where(found, state.group.unsqueeze(1) == trial, key.unsqueeze(1) <= amount)
        new = torch.where(per_example(state.found, state.x), self.goal(problem, state), state.aim)
        spread = torch.where(moves, new.flatten(1).unsqueeze(1), state.x.flatten(1).unsqueeze(1))
        near = region.project_(state.x.clone()).unsqueeze(1)
        return torch.cat((spread.view(-1, k, *shape[1:]), near), 1)

    def goal(self, problem: Problem, state: PointwiseState) -> Tensor:
        """Where a trial moves its features: clean, or halfway there, ``(S, ...)``."""
        half = state.low + (state.x - state.low) * 0.5
        return torch.where(per_example(state.fine, half), half, problem.region.x0)

    def open(self, problem: Problem, state: PointwiseState) -> Tensor:
        """The features that may be moved in this round, ``(S, d)`` bool."""
        lo, hi = InputRegion.require(problem.region, self).ends()
        wide = (state.x - state.low).abs() > self.precision * (hi - lo)
        changed = torch.where(per_example(state.fine, wide), wide, state.x != problem.region.x0)
        return changed.flatten(1) & ~state.tried & state.found.unsqueeze(1)

    def move(self, problem: Problem, state: PointwiseState, fooled: Tensor) -> None:
        assert state.candidates is not None
        k, x, goal = self.trials, state.x, self.goal(problem, state)
        fooled = fooled[:, :k]
        taken = state.group < k
        which = state.group.clamp(max=k - 1)
        failed = taken & ~fooled.gather(1, which)
        used = torch.zeros_like(fooled).scatter_reduce(1, which, taken, "amax")
        good = fooled & used
        wanted = (state.joined * good.sum(1)).ceil().unsqueeze(1)
        chosen = good & (good.cumsum(1) <= wanted)
        moves = taken & chosen.gather(1, which)
        # At first the least noise that fools; around an earlier end, any amount of it.
        again = (state.x != problem.region.x0).flatten(1).any(1)
        least = problem.draws.split(13).integers(state.number, (1,), k) * again.unsqueeze(1)
        late = fooled & (torch.arange(k, device=x.device) >= least)
        late = torch.where(late.any(1, keepdim=True), late, fooled)
        first = pick(state.candidates, late.to(torch.uint8).argmax(1))
        alone = pick(state.candidates, good.to(torch.uint8).argmax(1))
        some, walking = per_example(good.any(1), x), per_example(state.found, x)
        state.joint = torch.where(moves.view_as(x), goal, x)
        state.alone = torch.where(some, alone, x)
        state.low = torch.where(failed.view_as(x) & per_example(state.fine, x), goal, state.low)
        state.tried = state.tried | (failed & ~state.fine.unsqueeze(1))
        state.moved = state.moved | (good.any(1) & state.found)
        new = fooled.any(1) & ~state.found
        state.x = torch.where(per_example(new, x), first, x)
        state.joint = torch.where(walking, state.joint, state.x)
        state.alone = torch.where(walking, state.alone, state.x)
        changed = (state.x != problem.region.x0).flatten(1).sum(1)
        state.size = torch.where(new, ((changed + k - 1) // k).clamp_min(1), state.size)
        state.found = state.found | new

    def single(self, problem: Problem, state: PointwiseState) -> Tensor:
        return state.joint

    def receive(self, problem: Problem, state: PointwiseState, fooled: Tensor) -> None:
        # The first of all queries was the clean input.
        fooled = fooled & (state.number > 0)
        state.x = torch.where(per_example(fooled, state.x), state.joint, state.alone)
        joined = torch.where(fooled, state.joined * 2, state.joined / 2)
        state.joined = joined.clamp(1 / self.trials, 1)
        done = state.found & ~self.open(problem, state).any(1)
        smaller = done & ~state.fine & (state.size > 1)
        last = (state.size <= 1) & done
        exact = problem.region.discrete
        rounds = self.rounds if exact else 1
        again = last & ~state.fine & state.moved & (state.round + 1 < rounds)
        # Bisection ends at best where its lower ends are: not in the threat if these are beyond.
        x0, region = problem.region.x0, problem.region
        vain = (
            state.found & state.fine & (region.distance(region.decode(state.low)) > region.radius)
        )
        done = done | vain
        over = (last & ~again) | vain
        finer = over & ~state.fine & (not exact)
        anew = over & ~finer
        state.size = torch.where(smaller, (state.size + 1) // 2, state.size)
        state.round = torch.where(again, state.round + 1, torch.where(anew, 0, state.round))
        state.tried = state.tried & ~done.unsqueeze(1)
        state.moved = state.moved & ~done
        state.fine = (state.fine | finer) & ~anew
        state.found = state.found & ~anew
        some = (state.near != x0).flatten(1).any(1)
        now, best = (region.distance(region.decode(x)) for x in (state.x, state.near))
        nearer = anew & (~some | (now < best))
        state.near = torch.where(per_example(nearer, x0), state.x, state.near)
        anew = per_example(anew, x0)
        state.x = torch.where(anew, state.near if self.hop else x0, state.x)
        state.low = torch.where(anew, x0, state.low)
        state.joined = torch.where(state.found, state.joined, 1.0)
