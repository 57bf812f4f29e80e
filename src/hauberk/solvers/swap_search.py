"""Swap search: a fixed number of features at the ends of the box, exchanged by their gradients."""

from dataclasses import dataclass, field
from math import inf

import torch
from torch import Tensor

from hauberk.engine.state import Response, State
from hauberk.errors import InputError
from hauberk.objectives.problem import Problem
from hauberk.solvers.base import MinNormSolver, cosine
from hauberk.threats.distances import LpDistanceRegion

FAR = 10.0
"""Widths of the box that an end counts as away which is infinite."""


@dataclass(kw_only=True)
class SwapState(State):
    """Which features may not be changed for now."""

    banned: Tensor = field(repr=False)
    """For how many steps more each feature stays as it is, ``(S, N)``."""


@dataclass(frozen=True, kw_only=True)
class SwapSearch(MinNormSolver[SwapState]):
    """Search for one changed feature fewer than the nearest point so far has, l0.

    Changes go to an end of the box, and what a feature is worth is what its better end adds to the
    loss to first order (the saliency of Papernot et al. 2016). Of the features changed at present,
    the ones worth least are exchanged for the best of the others: a share of them at first, one in
    the end (as Croce et al. 2022 do at random, in Sparse-RS). A feature undone stays so for some
    steps, so that the search does not turn back (tabu search, Glover 1986), unless no others are
    left. Until the model is first fooled, a fifth more features are changed with every step, and
    one again after all of them.

    Args:
        share: of the changed features that the first step exchanges; falls to one feature along a
            cosine.
        tabu: for so many steps a feature that was undone is not changed again.

    Example:
        >>> import torch
        >>> model = torch.nn.Linear(4, 3)
        >>> images, labels = torch.full((2, 4), 0.5), torch.tensor([0, 1])
        >>> outcome = SwapSearch(steps=10)(model, images, labels, "l0")
        >>> bool((model(outcome.points).argmax(1) != labels)[outcome.fooled].all())
        True
    """

    norms = (0,)

    steps: int = 200
    share: float = 0.5
    tabu: int = 15

    def __post_init__(self) -> None:
        super().__post_init__()
        if not (0 <= self.share <= 1 and self.tabu >= 0):
            raise InputError("share must lie in [0, 1], tabu be 0 or more")

    def init(self, problem: Problem) -> SwapState:
        u = problem.start()
        return SwapState(u=u, banned=torch.zeros_like(u).flatten(1))

    def step(self, problem: Problem, state: SwapState, response: Response) -> SwapState:
        region, u, best = self.region(problem), state.u, response.best
        worth, change = worths(region, response.grad)
        changed = ((u - region.x0) != 0).flatten(1)
        more = (changed.sum(1) * 1.2 + 1).floor()
        more = torch.where(more > changed.shape[1], 1, more).to(u.dtype)
        wanted = torch.where(best.fooled, -best.loss - 1, more).clamp(min=1)
        share = cosine(response.clock, self.steps, self.share, 0.0, u)
        swaps = (wanted * share).floor().clamp(min=1)
        # The most useful of the present features stay; the best of all the rest join them.
        stay = changed & (rank(torch.where(changed, worth, -inf)) < (wanted - swaps).unsqueeze(1))
        behind = 2 * (worth.amax(1) - worth.amin(1)).unsqueeze(1)
        order = torch.where(~changed & (state.banned > 0), worth - behind, worth)
        chosen = rank(torch.where(stay, inf, order)) < wanted.unsqueeze(1)
        state.banned = (state.banned - 1).clamp_min(0)
        state.banned = torch.where(changed & ~chosen, float(self.tabu), state.banned)
        state.u = region.project_(region.x0 + (change * chosen).view_as(u))
        return state


def worths(region: LpDistanceRegion, grad: Tensor) -> tuple[Tensor, Tensor]:
    """What the better end of the box adds to the loss, and the way there, ``(S, N)`` each."""
    x0, far = region.x0.flatten(1), FAR * region.mean_width.unsqueeze(1)
    lo, hi = (end.flatten(1) - x0 for end in region.ends())
    lo, hi = torch.where(lo.isfinite(), lo, -far), torch.where(hi.isfinite(), hi, far)
    slope = grad.flatten(1)
    down, up = slope * lo, slope * hi
    return torch.maximum(down, up), torch.where(up >= down, hi, lo)


def rank(values: Tensor) -> Tensor:
    """The place of each value in its row ``(S, N)``, 0 for the largest; the first of equals first.

    Example:
        >>> rank(torch.tensor([[1.0, 3.0, 3.0, 2.0]]))
        tensor([[3, 0, 1, 2]])
    """
    return values.argsort(dim=1, descending=True, stable=True).argsort(dim=1)
