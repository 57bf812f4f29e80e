"""Several models as one: by their mean logits, their mean probabilities, or a majority vote."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from hauberk.errors import InputError
from hauberk.victims.averaged import mean_log_softmax
from hauberk.victims.outputs import as_logits
from hauberk.victims.victim import Victim


class Ensemble(nn.Module):
    """Models that are asked together; subclasses say what they answer together.

    Members take the same inputs and have the same classes. Each gets a copy of the input in its
    own floating dtype; all must be on one device. One example through all of them is one pass.

    Raises:
        InputError: without members, or if their answers do not fit together.
    """

    def __init__(self, models: Sequence[nn.Module]) -> None:
        super().__init__()
        given = list(models)
        if not given or not all(isinstance(model, nn.Module) for model in given):
            raise InputError("an ensemble needs at least one torch.nn.Module: give a list of them")
        self.models = nn.ModuleList(given)
        self._dtypes = [_dtype(model) for model in given]

    def members(self, x: Tensor) -> Tensor:
        """Logits of all members, ``(B, ...) -> (B, M, C)``, at least in float32."""
        answers = [
            as_logits(
                model(x.to(dtype) if dtype is not None and x.dtype != dtype else x.clone()), len(x)
            ).values
            for model, dtype in zip(self.models, self._dtypes, strict=True)
        ]
        for answer in answers:
            if answer.shape != answers[0].shape:
                raise InputError(
                    f"members have {answers[0].shape[1]} and {answer.shape[1]} classes: "
                    "an ensemble needs the same classes in all of them"
                )
        return torch.stack([a if a.dtype == torch.float64 else a.float() for a in answers], 1)

    def forward(self, x: Tensor) -> Tensor:
        """The members' logits side by side, ``(B, M * C)``."""
        return self.members(x).flatten(1)


class MeanLogits(Ensemble):
    """The mean of the members' logits, ``(B, ...) -> (B, C)``; infinite ones count as huge."""

    def forward(self, x: Tensor) -> Tensor:
        first, *others = self.members(x).clamp(-1e30, 1e30).unbind(1)
        mean = first
        # A running mean: that of equal members is their logits to the last bit.
        for number, logits in enumerate(others, start=2):
            mean = mean + (logits - mean) / number
        return mean


class MeanProbabilities(Ensemble):
    """The log of the mean of the members' softmax, ``(B, ...) -> (B, C)``."""

    def forward(self, x: Tensor) -> Tensor:
        return mean_log_softmax(self.members(x), 1)


class Vote(Victim):
    """A majority vote: every member has one vote, the mean softmax breaks ties of votes.

    A member votes for the class whose logit is strictly the largest. A member that cannot decide
    (its largest logits tie, or one is NaN) votes against any label: the ensemble then decides for
    a class only if that class leads by more votes than there are such members.

    ``logits`` (B, C) float64 are made for decisions: the class's votes plus half its mean softmax,
    all 0 where no decision stands (NaN if NaN logits are why). Their gradient is that of the mean
    softmax alone; the objectives in :mod:`hauberk.objectives.votes` use all members' logits.

    Args:
        models: the members, or an :class:`Ensemble` whose members these are.
    """

    plain = False

    def __init__(
        self, models: Sequence[nn.Module] | Ensemble, batch_size: int | None = None
    ) -> None:
        stack = Ensemble(list(models.models) if isinstance(models, Ensemble) else models)
        super().__init__(stack, batch_size)
        self.size = len(stack.models)

    def members(self, x: Tensor, soften: float = 0.0) -> Tensor:
        """Logits of all members, ``(B, M, C)``, on the autograd graph if ``x`` is on it.

        Raises:
            InputError: if the members have too few classes for the labels.
        """
        flat = super().logits(x, soften)
        classes = flat.shape[1] // self.size
        if classes < 2 or classes <= self.top_label:
            raise InputError(
                f"labels reach {self.top_label} but the members have {classes} classes: "
                "each needs at least two, and one for every label"
            )
        return flat.view(len(x), self.size, classes)

    def logits(self, x: Tensor, soften: float = 0.0) -> Tensor:
        return tally(self.members(x, soften))

    def wrong(self, logits: Tensor, y: Tensor) -> Tensor:
        """True where the vote is not for ``y``; takes :meth:`logits` (B, C)."""
        return super().wrong(logits, y)


def ballots(members: Tensor) -> tuple[Tensor, Tensor]:
    """Votes of members' logits (B, M, C): one-hot ``(B, M, C)`` bool, and who has none (B, M).

    A member votes for its strictly largest logit; with a tie at the top or a NaN it has no vote.
    """
    z = members.detach()
    top = z.argmax(2, keepdim=True)
    below = z < z.gather(2, top)
    decided = below.sum(2) == z.shape[2] - 1
    votes = torch.zeros_like(below).scatter_(2, top, True) & decided.unsqueeze(2)
    return votes, ~decided


def tally(members: Tensor) -> Tensor:
    """What members' logits (B, M, C) decide, as numbers (B, C) float64: see :class:`Vote`."""
    votes, abstained = ballots(members)
    counts = votes.sum(1)
    lead = counts.topk(2, dim=1).values
    against = abstained.sum(1)
    stands = (against == 0) | (lead[:, 0] - lead[:, 1] > against)
    # Where a NaN decides nothing any more, the others' mean must not carry it on.
    share = members.double().nan_to_num(nan=0.0, posinf=1e30, neginf=-1e30)
    mean = mean_log_softmax(share, 1).exp()
    undecided = torch.where(members.detach().isnan().flatten(1).any(1), torch.nan, 0.0).double()
    decided = counts + mean / 2
    return torch.where(stands.unsqueeze(1), decided, undecided.unsqueeze(1))


def _dtype(model: nn.Module) -> torch.dtype | None:
    """The dtype of the model's first floating parameter or buffer, None without."""
    for tensor in (*model.parameters(), *model.buffers()):
        if tensor.is_floating_point():
            return tensor.dtype
    return None
