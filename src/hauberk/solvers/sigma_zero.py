"""Sigma-zero: gradient descent on a smoothed count of changed features."""

from dataclasses import dataclass

import torch
from torch import Tensor

from hauberk.engine.state import Response, State
from hauberk.errors import InputError
from hauberk.maths.steps import per_example
from hauberk.objectives.problem import Problem
from hauberk.solvers.base import MinNormSolver, cosine


@dataclass(kw_only=True)
class SigmaZeroState(State):
    """The threshold below which changes are undone."""

    tau: Tensor
    """Changes below this are undone, ``(S,)``, in units of the box's mean width."""


@dataclass(frozen=True, kw_only=True)
class SigmaZero(MinNormSolver[SigmaZeroState]):
    """Sigma-zero (Cinà et al. 2025, Algorithm 1), l0; lengths in units of the box's mean width.

    Where the model is not fooled the margin counts as well as ``sum d^2 / (d^2 + sigma)`` over the
    number of features; steps have length ``rate`` in linf and changes below ``tau`` are undone.

    Args:
        sigma: width of the smoothed count.
        rate: first step length, falling to 0 along a cosine.
        tau: first threshold; it moves by ``shift`` times the step length, up where the model is
            fooled, down where it is not.

    Example:
        >>> import torch
        >>> model = torch.nn.Linear(4, 3)
        >>> images, labels = torch.full((2, 4), 0.5), torch.tensor([0, 1])
        >>> outcome = SigmaZero(steps=10)(model, images, labels, "l0")
        >>> bool((model(outcome.points).argmax(1) != labels)[outcome.fooled].all())
        True
    """

    norms = (0,)

    steps: int = 1000
    sigma: float = 1e-3
    rate: float = 1.0
    tau: float = 0.3
    shift: float = 0.01

    def __post_init__(self) -> None:
        super().__post_init__()
        if not (self.sigma > 0 and self.rate > 0 and 0 <= self.tau <= 1 and self.shift >= 0):
            raise InputError("sigma and rate must be above 0, tau in [0, 1], shift 0 or more")

    def init(self, problem: Problem) -> SigmaZeroState:
        u = problem.start()
        return SigmaZeroState(u=u, tau=u.new_full((len(u),), self.tau))

    def step(self, problem: Problem, state: SigmaZeroState, response: Response) -> SigmaZeroState:
        region, u = self.region(problem), state.u
        width = per_example(region.mean_width, u)
        delta = (u - region.x0) / width
        count = 2 * self.sigma * delta / (delta.square() + self.sigma).square()
        climb = response.grad * width * per_example(~response.fooled, u)
        slope = count / max(1, delta[0].numel()) - climb
        top = slope.flatten(1).abs().amax(1).clamp_min_(torch.finfo(u.dtype).tiny)
        rate = cosine(response.clock, self.steps, self.rate, 0.0, u)
        delta = delta - slope / per_example(top, u) * per_example(rate, u)
        moved = region.project_(region.x0 + delta * width)
        change = self.shift * rate
        tau = (state.tau + torch.where(response.fooled, change, -change)).clamp_(0, 1)
        small = (moved - region.x0).abs() < per_example(tau, u) * width
        return SigmaZeroState(u=torch.where(small, region.x0, moved), tau=tau)
