"""What an attack maximises: one loss per slot, from one or several forward passes."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor

from hauberk.errors import InputError
from hauberk.maths.losses import LOSSES, SLOPES, TARGETED, TARGETED_SLOPES
from hauberk.maths.rows import Rows
from hauberk.objectives.problem import Problem
from hauberk.victims.victim import Victim


@dataclass(frozen=True)
class Objective:
    """One loss on one victim. Subclasses combine several domains, and weigh them, in ``__call__``.

    Args:
        loss: a name from :data:`hauberk.maths.losses.LOSSES` (or, with targets, ``TARGETED``), or a
            function ``(logits (S, C), y (S,)) -> (S,)``; targeted ones also take ``target (S,)``.
        targeted: whether the loss takes a target class.
        soften: width of smoothed gradients (:class:`hauberk.victims.softening.Softened`); 0 for the
            model's own.
    """

    loss: str | Callable[..., Tensor] = "margin"
    targeted: bool = False
    soften: float = 0.0

    def __post_init__(self) -> None:
        losses = TARGETED if self.targeted else LOSSES
        if isinstance(self.loss, str) and self.loss not in losses:
            kind = "targeted loss" if self.targeted else "loss"
            raise InputError(f"unknown {kind} '{self.loss}': choose one of {', '.join(losses)}")

    @property
    def samples(self) -> int:
        """Rows of logits that one evaluation of one input takes."""
        return 1

    def passes(self, victim: Victim) -> int:
        """Passes that one evaluation of one input on ``victim`` counts as."""
        return max(self.samples, victim.draws)

    @contextmanager
    def held(self, victim: Victim) -> Iterator[None]:
        """Whatever else must be ready for a run on ``victim``: other models in eval mode, say."""
        yield

    def start(self, problem: Problem) -> Rows | None:
        """The weights' state for new slots (domain weights and the like)."""
        return None

    def traced(self, state: Rows | None, inside: Tensor | None = None) -> Tensor | None:
        """What of the weights' state an outcome keeps from every evaluation, ``(S, K)``.

        Args:
            state: of the weights, after the evaluation.
            inside: whether the points lie in the threat, ``(S,)`` bool; None if all do.
        """
        return None

    def __call__(
        self, victim: Victim, x: Tensor, y: Tensor, target: Tensor | None, weights: Rows | None
    ) -> "Evaluation":
        """Run the victim on ``x`` (S, ...) and combine what it says into one loss per slot.

        Where M members share a slot, ``x`` is (S, M, ...) and ``y`` (S, M).
        """
        if y.dim() != 1:
            raise InputError(
                "several inputs share one perturbation: give the attack an objective that "
                "combines them, loss=Average() or loss=MinMax() of hauberk.objectives.minmax"
            )
        return self.judged(victim, victim.logits(x, self.soften), y, target)

    def judged(
        self, victim: Victim, logits: Tensor, y: Tensor, target: Tensor | None
    ) -> "Evaluation":
        """The loss of logits ``(S, C)`` of one input a slot, and whether they are wrong."""
        shown, own = victim.seen(logits, y)
        terms = self.terms(shown, *((own,) if target is None else (own, target)))
        found = Evaluation(terms.loss, terms.loss, *terms.back())
        simple = victim.plain and victim.boundary == "decision"
        if self.loss == "margin" and not self.targeted and simple:
            found.fooled = (found.loss < 0).logical_not_()  # NaN is fooled too
        else:
            found.fooled = victim.wrong(logits.detach(), y)
        return found

    def terms(self, logits: Tensor, *labels: Tensor) -> "Terms":
        """The loss of each row of logits (N, C), given labels (N,) and perhaps targets (N,)."""
        slopes = TARGETED_SLOPES if self.targeted else SLOPES
        if isinstance(self.loss, str) and self.loss in slopes:
            with torch.no_grad():
                loss, slope = slopes[self.loss](logits.detach(), *labels)
            return Terms(loss, logits, slope.to(logits.dtype))
        losses = TARGETED if self.targeted else LOSSES
        loss = (losses[self.loss] if isinstance(self.loss, str) else self.loss)(logits, *labels)
        if loss.shape != labels[0].shape:
            raise InputError(
                f"the loss returned shape {tuple(loss.shape)} for {len(labels[0])} inputs: it must "
                "return one number for each (reduction='none')"
            )
        return Terms(loss.detach(), loss, None)


@dataclass
class Terms:
    """Losses of rows: ``loss`` (N,) off the graph, and on it the losses, or logits and slopes."""

    loss: Tensor
    head: Tensor
    slope: Tensor | None

    def back(self, weights: Tensor | None = None) -> tuple[Tensor, Tensor | None]:
        """Head and slope to go back from, of the sum of the losses times ``weights`` (N,)."""
        if self.slope is None:
            return self.head, torch.ones_like(self.head) if weights is None else weights.to(
                self.head
            )
        if weights is None:
            return self.head, self.slope
        return self.head, self.slope * weights.to(self.slope).unsqueeze(1)


@dataclass
class Evaluation:
    """An objective's answer.

    Attributes:
        loss: one per slot, ``(S,)``, off the graph.
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
