"""What an attack on a majority vote maximises (Ding et al. 2020, appendix D).

Pass one as an attack's loss: ``PGD(loss=VoteSum("ce"), steps=100)(Vote(models), x, y, threat)``.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from hauberk.errors import InputError
from hauberk.maths.losses import LOSSES, TARGETED
from hauberk.maths.rows import Rows
from hauberk.objectives.base import Evaluation, Objective
from hauberk.victims.ensembles import Vote, ballots, tally
from hauberk.victims.victim import Victim


@dataclass(frozen=True)
class VoteSum(Objective):
    """The sum of the members' losses. Source: Ding et al. 2020, appendix D, first attack.

    Args:
        loss: of each member: ``ce`` or ``cw`` in the paper, any other works as well.
    """

    loss: str | Callable[..., Tensor] = "cw"

    def __call__(
        self, victim: Victim, x: Tensor, y: Tensor, target: Tensor | None, weights: Rows | None
    ) -> Evaluation:
        members = _vote(victim, self).members(x, self.soften)
        loss = self.each(members, y, target).sum(1)
        fooled = victim.wrong(tally(members.detach()), y)
        return Evaluation(loss=loss.detach(), fooled=fooled, head=loss.sum())

    def each(self, members: Tensor, y: Tensor, target: Tensor | None) -> Tensor:
        """The members' losses, ``(B, M)``, of their logits (B, M, C)."""
        m = members.shape[1]
        given = [v.repeat_interleave(m) for v in ((y,) if target is None else (y, target))]
        losses = TARGETED if self.targeted else LOSSES
        loss = losses[self.loss] if isinstance(self.loss, str) else self.loss
        each: Tensor = loss(members.flatten(0, 1), *given)
        return each.view(-1, m)


@dataclass(frozen=True)
class VoteState(VoteSum):
    """A loss chosen anew at every step. Source: Ding et al. 2020, appendix D, second attack.

    While half of the members or fewer are wrong: the sum of the losses of those still right.
    Afterwards, with label 0 the most frequent wrong prediction (the mean softmax breaks ties), the
    sum over all members of a difference between its logit and the largest other one.

    On a vote of three robust MNIST networks (300 examples, PGD and APGD of 40 steps), robust
    accuracy in per cent; no loss is best everywhere, and all together leave 76.7 and 17.3:

    ============  ===========  ============  ==============  ==================
    threat        sum of cw    state, unite  state, printed  state, unite, ce
    l2:2          86.3, 80.7   86.0, 79.7    87.0, 80.3      90.3, 85.3
    linf:0.33     69.3, 40.7   66.0, 29.3    67.7, 32.0      52.3, 22.3
    ============  ===========  ============  ==============  ==================

    Args:
        loss: of the members still right; ``cw`` in the paper.
        sign: ``unite`` maximises the logit of label 0 less the other, which gathers the wrong votes
            on one class; ``printed`` maximises the opposite, as the paper prints it. The default
            was the stronger in all four settings above.
    """

    sign: Literal["unite", "printed"] = "unite"

    def __post_init__(self) -> None:
        if self.targeted:
            raise InputError("VoteState chooses its own target: leave targets at 0, or use VoteSum")
        super().__post_init__()
        if self.sign not in ("unite", "printed"):
            raise InputError(f"unknown sign '{self.sign}': choose unite or printed")

    def __call__(
        self, victim: Victim, x: Tensor, y: Tensor, target: Tensor | None, weights: Rows | None
    ) -> Evaluation:
        members = _vote(victim, self).members(x, self.soften)
        with torch.no_grad():
            votes, _ = ballots(members)
            own = y.view(-1, 1, 1).expand(-1, members.shape[1], 1)
            right = votes.gather(2, own).squeeze(2)
            many = (~right).sum(1) * 2 > members.shape[1]
            # Votes first, softmax among equals, the label never.
            finite = members.double().nan_to_num(nan=0.0, posinf=1e30, neginf=-1e30)
            rank = votes.sum(1) + finite.softmax(2).mean(1) / 2
            leading = rank.scatter(1, y.unsqueeze(1), -1.0).argmax(1)
        # A member whose loss is not counted must not hand on its NaN.
        still = torch.where(right, self.each(members, y, None), 0.0).sum(1)
        # The logit margin of label 0 is the largest other logit less its own.
        away = VoteSum("margin").each(members, leading, None).sum(1)
        loss = torch.where(many, away if self.sign == "printed" else -away, still)
        fooled = victim.wrong(tally(members.detach()), y)
        return Evaluation(loss=loss.detach(), fooled=fooled, head=loss.sum())


def _vote(victim: Victim, objective: Objective) -> Vote:
    if not isinstance(victim, Vote):
        raise InputError(
            f"{type(objective).__name__} attacks a majority vote: "
            "give hauberk.victims.ensembles.Vote(models) as the model"
        )
    return victim
