"""Random noise with a line search over its size."""

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from hauberk.attacks.decision import ForwardOnly, equal_shares, salt_and_pepper
from hauberk.engine.state import Response, State
from hauberk.errors import InputError
from hauberk.maths.steps import per_example
from hauberk.objectives.problem import Problem
from hauberk.threats.region import InputRegion

KINDS = ("gaussian", "uniform", "salt_and_pepper")
BEYOND = 2.0
"""Largest size of dense noise in units of the threat's: box and projection take the excess."""


@dataclass(frozen=True, kw_only=True)
class Noise(ForwardOnly[State]):
    """Random noise of growing size in any ball (Rauber et al. 2017).

    Each step draws one noise and asks for ``sizes`` multiples of it, projected into the threat, and
    one point more: the clean input or the warm start at first, later the opposite of the largest
    multiple. Dense noise reaches the threat's full size; salt and pepper sets more and more random
    features to random ends of the box, until the budget is used.

    Args:
        noise: ``gaussian``, ``uniform`` or ``salt_and_pepper``.
        steps: noises drawn.
        sizes: sizes of each.

    Example:
        >>> import torch
        >>> from hauberk import Linf
        >>> model = torch.nn.Linear(4, 3)
        >>> images, labels = torch.full((2, 4), 0.5), torch.tensor([0, 1])
        >>> outcome = Noise(steps=2)(model, images, labels, Linf(0.1))
        >>> outcome.backwards
        tensor([0, 0])
    """

    noise: Literal["gaussian", "uniform", "salt_and_pepper"] = "gaussian"
    sizes: int = 10

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.noise not in KINDS:
            raise InputError(f"unknown noise '{self.noise}': choose one of {', '.join(KINDS)}")
        self.require_at_least("sizes", 1)

    @property
    def rows(self) -> int:
        return self.sizes

    def init(self, problem: Problem) -> State:
        region = InputRegion.require(problem.region, self)
        u = problem.start()
        if self.noise == "salt_and_pepper" or region.discrete:
            region.finite_ends(self)
        return State(u=u, candidates=self.propose(problem, 0))

    def select(self, problem: Problem, state: State, response: Response) -> State:
        return state

    def step(self, problem: Problem, state: State, response: Response) -> State:
        candidates = self.propose(problem, response.clock.on(state.u, later=1))
        # The opposite of the largest: one direction more for the price of one point.
        opposite = problem.region.x0 * 2 - candidates[:, -1]
        return State(u=problem.region.project_(opposite), candidates=candidates)

    def propose(self, problem: Problem, draw: int | Tensor) -> Tensor:
        """The sizes of one noise, ``(S, sizes, ...)``, inside the threat."""
        region, draws = InputRegion.require(problem.region, self), problem.draws
        x0 = region.x0
        size = equal_shares(x0, self.sizes)
        if self.noise == "salt_and_pepper":
            whole = salt_and_pepper(region, draws.split(20), draw)
            key = draws.split(21).uniform(draw, x0.shape[1:], torch.float64)
            spent = region.budget_used(whole - x0, key)
            points = [
                torch.where(spent <= per_example(share, spent), whole, x0) for share in size.T
            ]
        else:
            noise = region.full_size(self.dense(problem, draw))
            points = [torch.addcmul(x0, noise, per_example(share * BEYOND, x0)) for share in size.T]
        return torch.stack([region.project_(point) for point in points], 1)

    def dense(self, problem: Problem, draw: int | Tensor) -> Tensor:
        """Noise of about 1 in every feature, ``(S, ...)``."""
        shape, dtype = problem.region.x0.shape[1:], problem.region.x0.dtype
        if self.noise == "gaussian":
            return problem.draws.split(20).normal(draw, shape, dtype)
        return problem.draws.split(20).uniform(draw, shape, dtype) * 2 - 1
