"""An objective that keeps the loss of every point that an attack asks for."""

from dataclasses import dataclass

import torch
from torch import Tensor

from hauberk.errors import InputError
from hauberk.maths.losses import LOSSES
from hauberk.maths.rows import Rows
from hauberk.objectives.base import Evaluation, Objective
from hauberk.objectives.problem import Problem
from hauberk.victims.victim import Victim


@dataclass
class Seen(Rows):
    """What the last evaluation said: its loss, and 1 where the model was fooled, ``(S,)`` each."""

    loss: Tensor
    fooled: Tensor


@dataclass(frozen=True)
class Traced(Objective):
    """One loss on one victim, and beside it a loss to be looked at, kept from every evaluation.

    An outcome's ``path`` (B, T, 3) then holds, of each point that the attack asked for: the loss
    looked at, 1 where the model was fooled, and 1 where the point lies in the threat.

    Args:
        shown: the loss to be looked at, a name from :data:`hauberk.maths.losses.LOSSES`; the attack
            climbs ``loss`` all the same.

    Raises:
        InputError: for an unknown loss.

    Example:
        >>> import torch, hauberk as hb
        >>> net, x = hb.models.MLP((4, 3)), torch.rand(2, 4)
        >>> attack = hb.attacks.PGD(steps=3, loss=Traced("margin", shown="ce"))
        >>> attack(net, x, torch.tensor([0, 1]), hb.Linf(0.1), stop=False).path.shape
        torch.Size([2, 4, 3])
    """

    shown: str = "ce"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.shown not in LOSSES:
            raise InputError(f"unknown loss '{self.shown}': choose one of {', '.join(LOSSES)}")

    def start(self, problem: Problem) -> Seen:
        none = torch.full(problem.y.shape, torch.nan, device=problem.y.device)
        return Seen(none, none)

    def traced(self, state: Rows | None, inside: Tensor | None = None) -> Tensor | None:
        if not isinstance(state, Seen):
            return None
        ones = torch.ones_like(state.loss)
        return torch.stack((state.loss, state.fooled, ones if inside is None else ones * inside), 1)

    def __call__(
        self, victim: Victim, x: Tensor, y: Tensor, target: Tensor | None, weights: Rows | None
    ) -> Evaluation:
        if y.dim() != 1:
            raise InputError("several inputs share one perturbation: their losses have no trace")
        logits = victim.logits(x, self.soften)
        found = self.judged(victim, logits, y, target)
        with torch.no_grad():
            loss = LOSSES[self.shown](logits.detach(), y)
        found.weights = Seen(loss.float(), found.fooled.float())
        return found
