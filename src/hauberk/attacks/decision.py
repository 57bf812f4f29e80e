"""What attacks that use decisions alone share: walks over adversarial points, no gradients."""

from abc import abstractmethod
from dataclasses import dataclass, field
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor

from hauberk.attacks.base import Attack, which_lie_in
from hauberk.engine.method import Kind
from hauberk.engine.state import Clock, Response, State
from hauberk.engine.stepper import S
from hauberk.errors import InputError
from hauberk.maths.rng import Draws
from hauberk.maths.steps import per_example
from hauberk.objectives.problem import Problem
from hauberk.threats.base import Threat
from hauberk.threats.region import InputRegion


@dataclass(frozen=True, kw_only=True)
class ForwardOnly(Attack[S]):
    """An attack that asks for ``rows`` points and one more at each of its steps, forwards only.

    Args:
        steps: queries of one attempt, each of ``rows + 1`` forwards.

    Raises:
        InputError: for targets (the decision alone is used); when it runs, for a threat that does
            not move the input itself, and mostly for an infinite box.
    """

    kind = Kind.FREE
    counts_candidates = True

    steps: int = 100

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.targets:
            raise InputError(f"{type(self).__name__} takes no targets: leave targets at 0")

    @property
    @abstractmethod
    def rows(self) -> int:
        """Candidates of one query."""

    def spread_size(self, threat: Threat) -> int:
        return self.rows

    @property
    def passes(self) -> int:
        return self.steps * (self.rows + 1)

    def finished(self, state: S, response: Response) -> np.ndarray | None:
        clock = response.clock
        return clock.count >= self.steps - 1 if clock.most >= self.steps - 1 else None

    def wants_gradient(self, clock: Clock) -> bool:
        return False

    def require_at_least(self, name: str, least: int) -> None:
        """Refuse a setting below ``least``."""
        if getattr(self, name) < least:
            raise InputError(f"{name} is {getattr(self, name)}: give {least} or more")


@dataclass(kw_only=True)
class BoundaryWalkState(State):
    """Where a walk over adversarial points stands."""

    x: Tensor = field(repr=False)
    """The walk's point, ``(S, ...)``: adversarial where ``found``, in the threat or not."""
    found: Tensor
    """Whether a first adversarial point is known, ``(S,)`` bool."""
    aim: Tensor = field(repr=False)
    """The point of the box towards which a first adversarial point is looked for."""
    number: Tensor
    """Number of the present query, ``(S,)`` int64: the draw of its random numbers."""


W = TypeVar("W", bound=BoundaryWalkState)


@dataclass(frozen=True, kw_only=True)
class BoundaryWalk(ForwardOnly[W]):
    """A walk over adversarial points that may lie outside the threat, towards the clean input.

    The candidates say where the model is fooled; those inside the threat are results. After them,
    ``u`` is by default the walk's point projected into the threat.

    Args:
        trials: candidates per query.
    """

    trials: int = 25

    def __post_init__(self) -> None:
        super().__post_init__()
        self.require_at_least("trials", 2)

    @property
    def rows(self) -> int:
        return self.trials

    @abstractmethod
    def begin(self, problem: Problem, common: BoundaryWalkState) -> W:
        """The walk's own state, from what all walks have in common; no candidates yet."""

    @abstractmethod
    def propose(self, problem: Problem, state: W) -> Tensor:
        """The next candidates, ``(S, rows, ...)``, in the box."""

    @abstractmethod
    def move(self, problem: Problem, state: W, fooled: Tensor) -> None:
        """Move ``x``, from which candidates fool the model, ``(S, rows)``."""

    def single(self, problem: Problem, state: W) -> Tensor:
        """The point to evaluate alone after the candidates, ``(S, ...)``."""
        return problem.region.project_(state.x.clone())

    def init(self, problem: Problem) -> W:
        region = InputRegion.require(problem.region, self)
        lo, hi = region.finite_ends(self)
        x0 = region.x0
        number = torch.zeros(len(x0), dtype=torch.int64, device=x0.device)
        aim = self.aim(problem, number)
        if problem.warm is not None and problem.has_warm is not None:
            near = region.encode(problem.warm)
            assert near is not None  # of a region whose ``u`` is the input
            warm = near.to(aim).maximum(lo).minimum(hi)
            aim = torch.where(per_example(problem.has_warm, aim), warm, aim)
        common = BoundaryWalkState(
            u=x0.clone(), feasible=torch.ones_like(number, dtype=torch.bool), x=x0.clone(),
            aim=aim, found=torch.zeros_like(number, dtype=torch.bool), number=number,
        )  # fmt: skip
        return self._with_candidates(problem, self.begin(problem, common))

    def _with_candidates(self, problem: Problem, state: W) -> W:
        state.candidates = self.propose(problem, state)
        state.candidates_feasible = which_lie_in(problem.region, state.candidates)
        return state

    def ended_at(self, problem: Problem, state: W) -> Tensor | None:
        return state.x

    def select(self, problem: Problem, state: W, response: Response) -> W:
        self.move(problem, state, response.fooled)
        # First of all, the clean input itself.
        state.u = where_rows(state.number == 0, problem.region.x0, self.single(problem, state))
        state.feasible = problem.region.contains(problem.region.decode(state.u))
        return state

    def step(self, problem: Problem, state: W, response: Response) -> W:
        self.receive(problem, state, response.fooled)
        state.number += 1
        # Where nothing was found yet, look in another direction.
        aim = self.aim(problem, state.number)
        state.aim = torch.where(per_example(state.found, aim), state.aim, aim)
        return self._with_candidates(problem, state)

    def aim(self, problem: Problem, draw: Tensor) -> Tensor:
        """A random point of the box to look for a first adversarial point at, ``(S, ...)``."""
        return random_in_box(InputRegion.require(problem.region, self), problem.draws, draw)

    def receive(self, problem: Problem, state: W, fooled: Tensor) -> None:
        """Use the decision at ``u``, (S,) bool; nothing to do by default."""


def random_in_box(region: InputRegion, draws: Draws, draw: int | Tensor) -> Tensor:
    """Random points of the box, ``(S, ...)``: uniform, or (every other time) of its ends alone."""
    lo, hi = region.ends()
    shape = lo.shape[1:]
    noise = draws.split(10).uniform(draw, shape, lo.dtype)
    coin = draws.split(11).bits(draw, ()) & 1 == 1
    noise = torch.where(per_example(coin, noise), noise.round(), noise)
    return lo + noise * (hi - lo)


def salt_and_pepper(region: InputRegion, draws: Draws, draw: int | Tensor) -> Tensor:
    """Every feature at a random end of the box, ``(S, ...)``."""
    lo, hi = region.ends()
    return torch.where(draws.bits(draw, lo.shape[1:]) & 1 == 1, hi, lo)


def between(x0: Tensor, x: Tensor, share: Tensor) -> Tensor:
    """Points between ``x0`` and ``x`` (S, ...), at shares (S, K) of the segment: ``(S, K, ...)``.

    Example:
        >>> between(torch.zeros(1, 2), torch.ones(1, 2), torch.tensor([[0.5, 1.0]]))
        tensor([[[0.5000, 0.5000],
                 [1.0000, 1.0000]]])
    """
    whole = (x - x0).unsqueeze(1)
    return torch.addcmul(x0.unsqueeze(1), whole, share.view(*share.shape, *[1] * (x.dim() - 1)))


def equal_shares(like: Tensor, k: int) -> Tensor:
    """``(S, k)``: 1/k, 2/k, ... 1 for every row of ``like``."""
    steps = torch.arange(1, k + 1, dtype=like.dtype, device=like.device) / k
    return steps.expand(len(like), k)


def where_rows(rows: Tensor, yes: Tensor, no: Tensor) -> Tensor:
    """``yes`` (S, ...) in the rows where ``rows`` (S,) is set, ``no`` elsewhere."""
    return torch.where(per_example(rows, yes), yes, no)
