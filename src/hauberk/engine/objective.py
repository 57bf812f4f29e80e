"""What an attack maximises: one loss per seat, from one or several forward passes."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from hauberk.engine.victim import Victim
from hauberk.errors import InputError
from hauberk.maths.losses import LOSSES, SLOPES, TARGETED, TARGETED_SLOPES
from hauberk.maths.rows import Rows


@dataclass(frozen=True)
class Objective:
    """One loss on one victim. Subclasses combine several domains, and weigh them, in ``__call__``.

    Args:
        loss: a name from :data:`hauberk.maths.losses.LOSSES` (or, with targets, ``TARGETED``), or a
            function ``(logits (S, C), y (S,)) -> (S,)``; targeted ones also take ``target (S,)``.
        targeted: whether the loss wants a target class.
        soften: width of smoothed gradients (:class:`hauberk.engine.softened.Softened`); 0 for the
            model's own.
    """

    loss: str | Callable[..., Tensor] = "margin"
    targeted: bool = False
    soften: float = 0.0

    def __post_init__(self) -> None:
        known = TARGETED if self.targeted else LOSSES
        if isinstance(self.loss, str) and self.loss not in known:
            kind = "targeted loss" if self.targeted else "loss"
            raise InputError(f"unknown {kind} '{self.loss}': choose one of {', '.join(known)}")

    @property
    def samples(self) -> int:
        """Passes that one evaluation of one point takes."""
        return 1

    def start(self, seats: int) -> Rows | None:
        """The weights' state for new seats (domain weights and the like)."""
        return None

    def __call__(
        self, victim: Victim, x: Tensor, y: Tensor, target: Tensor | None, weights: Rows | None
    ) -> "Found":
        """Run the victim on ``x`` (S, ...) and combine what it says into one loss per seat."""
        logits = victim.logits(x, self.soften)
        given = (y,) if target is None else (y, target)
        slopes = TARGETED_SLOPES if self.targeted else SLOPES
        if isinstance(self.loss, str) and self.loss in slopes:
            with torch.no_grad():
                loss, slope = slopes[self.loss](logits.detach(), *given)
            found = Found(loss=loss, fooled=loss, head=logits, slope=slope.to(logits.dtype))
        else:
            known = TARGETED if self.targeted else LOSSES
            loss = (known[self.loss] if isinstance(self.loss, str) else self.loss)(logits, *given)
            found = Found(loss=loss.detach(), fooled=loss, head=loss.sum())
        if self.loss == "margin" and not self.targeted and victim.plain:
            found.fooled = (found.loss < 0).logical_not_()  # NaN is fooled too
        else:
            found.fooled = victim.wrong(logits.detach(), y)
        return found


@dataclass
class Found:
    """An objective's answer.

    Attributes:
        loss: one per seat, ``(S,)``, off the graph.
        fooled: whether the victim decides wrongly, ``(S,)`` bool.
        head: the tensor on the graph to go back from, and ``slope``, the gradient of the summed
            losses in it (None for a scalar).
        weights: the objective's new state.
    """

    loss: Tensor
    fooled: Tensor
    head: Tensor
    slope: Tensor | None = None
    weights: Rows | None = None
