"""Boundary attack: random steps along the decision boundary, by decisions alone."""

from dataclasses import dataclass

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


@dataclass(kw_only=True)
class BoundaryState(BoundaryWalkState):
    """The lengths of the boundary attack's two steps, which adapt to their successes."""

    around: Tensor
    """Length of the orthogonal step, in units of the distance, ``(S,)``."""
    inwards: Tensor
    """The same of the step towards the clean input."""


@dataclass(frozen=True, kw_only=True)
class Boundary(BoundaryWalk[BoundaryState]):
    """Boundary attack (Brendel et al. 2018, Algorithm 1 and figure 2), with l2 steps in any ball.

    From an adversarial point, found between the clean input and random noise (or the warm start),
    random steps of fixed distance from the clean input, then towards it; the nearest point that
    still fools is kept. A fifth of the trials leave the second step out and set the length of the
    first; the rest set that of the second.
    (The paper aims at about half of the former fooling; with the best of many trials kept, a third
    goes further. Of the latter, a tenth.)

    Args:
        around, inwards: first lengths of the two steps, in units of the distance.
        rate: factor by which the lengths change.

    Example:
        >>> import torch
        >>> from hauberk import L2
        >>> model = torch.nn.Linear(4, 3)
        >>> images, labels = torch.full((2, 4), 0.5), torch.tensor([0, 1])
        >>> outcome = Boundary(steps=3, trials=5)(model, images, labels, L2(0.1))
        >>> outcome.backwards
        tensor([0, 0])
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

    def begin(self, problem: Problem, common: BoundaryWalkState) -> BoundaryState:
        ones = common.x.new_ones(len(common.x))
        return BoundaryState(**vars(common), around=ones * self.around, inwards=ones * self.inwards)

    def propose(self, problem: Problem, state: BoundaryState) -> Tensor:
        region = InputRegion.require(problem.region, self)
        x0, x, shape = region.x0, state.x, state.x.shape[1:]
        back = (x - x0).flatten(1)
        length = torch.linalg.vector_norm(back, dim=1).clamp_min(1e-30).view(-1, 1, 1)
        inward = back.unsqueeze(1) / length
        noise = problem.draws.split(12).normal(state.number, (self.trials, *shape), x.dtype)
        noise = noise.flatten(2)
        noise = noise - (noise * inward).sum(2, keepdim=True) * inward
        size = torch.linalg.vector_norm(noise, dim=2, keepdim=True)
        noise = noise / size.clamp_min_(1e-30)
        around = state.around.view(-1, 1, 1)
        # On the sphere, both components have their share of the radius.
        round_ = (inward + around * noise) / (1 + around.square()).sqrt()
        size = (1 - state.inwards).view(-1, 1, 1).repeat(1, self.trials, 1)
        size[:, : self._checks] = 1
        points = x0.unsqueeze(1) + (round_ * size * length).view(-1, self.trials, *shape)
        lines = between(x0, state.aim, equal_shares(x, self.trials))
        return region.clip(where_rows(state.found, points, lines))

    def move(self, problem: Problem, state: BoundaryState, fooled: Tensor) -> None:
        assert state.candidates is not None
        n, x0 = self._checks, problem.region.x0
        distance = norm((state.candidates - x0.unsqueeze(1)).flatten(0, 1).double(), 2).view_as(
            fooled
        )
        before = norm((state.x - x0).double(), 2)
        where = torch.where(fooled, distance, torch.inf).argmin(1)
        nearest = torch.where(fooled, distance, torch.inf).amin(1)
        walking = state.found
        better = torch.where(walking, nearest < before, fooled.any(1))
        state.x = torch.where(per_example(better, state.x), pick(state.candidates, where), state.x)
        easy = fooled[:, :n].to(distance).mean(1)
        good = fooled[:, n:].to(distance).mean(1)
        state.around = torch.where(walking, self._set(state.around, easy, 0.3), state.around)
        state.inwards = torch.where(walking, self._set(state.inwards, good, 0.1), state.inwards)
        state.found = state.found | fooled.any(1)

    def _set(self, length: Tensor, share: Tensor, wanted: float) -> Tensor:
        sign = (share > wanted).to(length) - (share < wanted).to(length)
        return (length * self.rate**sign).clamp_(1e-6, 0.5)
