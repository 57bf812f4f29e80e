"""Expectation over the draws of a stochastic model, or of a random transformation."""

from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Literal

import torch
from torch import Tensor

from hauberk.errors import InputError
from hauberk.maths.rows import Rows
from hauberk.objectives.base import Evaluation, Objective
from hauberk.victims.averaged import (
    SURE,
    Averaged,
    check_draws,
    mean_log_softmax,
    repeated,
    surely_wrong,
)
from hauberk.victims.victim import Victim


@dataclass(frozen=True)
class Expectation(Objective):
    """The mean loss over several draws of a stochastic model, or of a random transform.

    All draws go through the model in one stacked forward, and the gradient is that of the mean.
    The victim counts as fooled where the mean of its softmax over the draws decides wrongly, by
    more than luck; on a victim that votes, where half of the draws or more are wrong.
    Source: Athalye, Engstrom, Ilyas & Kwok 2018, section 2 (expectation over transformation).

    Args:
        draws: passes per evaluation, 1 or more.
        transform: random inputs ``(N, ...)`` from inputs ``(N, ...)``, differentiable; drawn anew
            for each row, before the model. It should draw from torch's global generators: run
            inside ``with seeded(seed):``, or on an :class:`Averaged` victim, to repeat a run.
        mean: what is averaged: ``loss``, as published, or ``probabilities`` (the loss of the log
            of the mean softmax, which is what decides). On an MNIST network behind Gaussian noise
            of 0.3 or 0.4, 150 examples, 10 draws, PGD and APGD of 20 steps with ``ce`` and
            ``margin``, the loss left fewer robust in ten of twelve settings, by 0.6 to 4 points,
            more in two, by 1.3 and 6; a single draw left 19 to 53 points more.
        sure: as of :class:`Averaged`.
    """

    draws: int = 20
    transform: Callable[[Tensor], Tensor] | None = None
    mean: Literal["loss", "probabilities"] = "loss"
    sure: float = SURE

    def __post_init__(self) -> None:
        super().__post_init__()
        check_draws(self.draws, self.sure)
        if self.mean not in ("loss", "probabilities"):
            raise InputError(f"unknown mean '{self.mean}': choose loss or probabilities")
        if self.transform is not None and not callable(self.transform):
            raise InputError("transform must be a function from inputs (N, ...) to inputs (N, ...)")

    @property
    def samples(self) -> int:
        return self.draws

    def __call__(
        self, victim: Victim, x: Tensor, y: Tensor, target: Tensor | None, weights: Rows | None
    ) -> Evaluation:
        n, rows = self.draws, repeated(x, self.draws)
        if self.transform is not None:
            rows = self.transform(rows)
            if not isinstance(rows, Tensor) or len(rows) != n * len(x):
                raise InputError("transform must return one input for each that it was given")
        ask, counted = victim.logits, 1
        if isinstance(victim, Averaged):
            # It would draw for each of these draws again.
            ask, counted = victim.once, victim.draws
        logits = ask(rows, self.soften)
        if torch.is_grad_enabled() and x.requires_grad:
            # The victim counts one pass back per point, or its own number of draws.
            victim.backwards += (n - counted) * len(x)
        fooled = decided(victim, logits.detach(), y, n, self.sure)
        if self.mean == "probabilities":
            stacked = logits.view(n, len(x), logits.shape[1])
            return self._found(mean_log_softmax(stacked, 0), y, target, 1, fooled)
        return self._found(logits, y, target, n, fooled)

    def _found(
        self, logits: Tensor, y: Tensor, target: Tensor | None, n: int, fooled: Tensor
    ) -> Evaluation:
        """The mean of the losses of ``logits`` (n B, C) over n."""
        terms = self.terms(
            logits, *(v.repeat(n) for v in ((y,) if target is None else (y, target)))
        )
        share = None if n == 1 else torch.full_like(terms.loss, 1 / n)
        return Evaluation(terms.loss.view(n, -1).mean(0), fooled, *terms.back(share))

    def __str__(self) -> str:
        """As the manifest records it: functions by name, so that a run resumed finds the same."""
        settings = (f"{f.name}={_name(getattr(self, f.name))}" for f in fields(self))
        return f"{type(self).__name__}({', '.join(settings)})"


def decided(victim: Victim, logits: Tensor, y: Tensor, draws: int, sure: float) -> Tensor:
    """Whether draws of logits (draws * B, C) on a victim are wrong together, ``(B,)`` bool.

    By the mean softmax, where it is wrong beyond luck; on a victim that votes, where half of the
    draws or more are wrong.
    """
    if draws == 1:
        return victim.wrong(logits, y)
    if victim.plain or isinstance(victim, Averaged):
        return surely_wrong(logits.view(draws, len(y), logits.shape[1]), y, sure)
    each = victim.wrong(logits, y.repeat(draws))
    return each.view(draws, -1).sum(0) * 2 >= draws


def _name(value: object) -> str:
    return (
        str(getattr(value, "__qualname__", None) or repr(value))
        if callable(value)
        else f"{value!r}"
    )
