"""Momentum iterative method."""

from dataclasses import dataclass

from torch import Tensor

from hauberk.attacks.pgd import PGD
from hauberk.errors import InputError
from hauberk.threats.base import Region


@dataclass(frozen=True, kw_only=True)
class MomentumIterative(PGD):
    """Momentum iterative method (Dong et al. 2018, Algorithm 1 and eqs. 6 to 8), for every ball.

    Each step goes along the steepest direction of ``v <- momentum * v + g / ||g||_1``, v = 0 at the
    start. In a sparse geometry (l1) that is few coordinates of v.

    Args:
        steps: 10 as published.
        step_size: in the threat's unit; ``eps / steps`` if left out.
        momentum: decay of what was accumulated; 1 forgets nothing, 0 is plain ascent.
        random_start: off as published: attempts with neither targets nor other warm starts are then
            all the same, so turn it on for ``restarts``.

    Example:
        >>> import torch
        >>> from hauberk import Linf
        >>> model = torch.nn.Linear(4, 3)
        >>> images, labels = torch.full((2, 4), 0.5), torch.tensor([0, 1])
        >>> outcome = MomentumIterative(steps=3)(model, images, labels, Linf(0.1), stop=False)
        >>> outcome.forwards
        tensor([4, 4])
    """

    steps: int = 10
    random_start: bool = False
    momentum: float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.rule != "steepest":
            raise InputError("the momentum method takes steepest steps: use PGD for other rules")

    def length(self, region: Region) -> Tensor:
        return region.eps * (self.step_share or 1 / self.steps)
