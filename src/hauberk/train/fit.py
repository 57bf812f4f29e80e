"""Training: a model, data and a strategy in; a trained model and its history out."""

import difflib
import inspect
from collections.abc import Callable
from dataclasses import fields
from functools import wraps
from textwrap import fill
from typing import Any, ParamSpec, Protocol

from torch import nn

from hauberk.errors import InputError
from hauberk.maths.modules import exported
from hauberk.train.loop.examples import Data
from hauberk.train.loop.trainer import Trainer
from hauberk.train.result import Trained
from hauberk.train.settings import Options, described
from hauberk.train.strategies.base import Strategy

P = ParamSpec("P")


class Fit(Protocol[P]):
    """A function of model, data and strategy, with the keywords of :class:`Options`."""

    def __call__(
        self, model: nn.Module, data: Data, strategy: Strategy, *args: P.args, **kwargs: P.kwargs
    ) -> Trained:
        """Train the model."""


def with_keywords(
    options: Callable[P, Options],
) -> Callable[[Callable[[nn.Module, Data, Strategy, Options], Trained]], Fit[P]]:
    """Give a function the fields of ``options`` as keywords, checked and documented."""
    kind: Any = options
    entries = {entry.name: entry for entry in fields(kind)}

    def decorate(train: Callable[[nn.Module, Data, Strategy, Options], Trained]) -> Fit[P]:
        @wraps(train)
        def fit(
            model: nn.Module, data: Data, strategy: Strategy, *args: P.args, **kwargs: P.kwargs
        ) -> Trained:
            for name in kwargs.keys() - entries.keys():
                near = difflib.get_close_matches(name, entries, n=1) or ["help(hauberk.train.fit)"]
                raise TypeError(f"fit() has no keyword {name!r}: see {near[0]}")
            return train(model, data, strategy, options(*args, **kwargs))

        own = list(inspect.signature(train).parameters.values())[:3]
        keywords = inspect.signature(kind).parameters.values()
        fit.__signature__ = inspect.Signature(  # type: ignore[attr-defined]
            [*own, *keywords], return_annotation=Trained
        )
        bullets = [
            fill(
                f"{k}: {described(v, python=True)}.",
                100,
                initial_indent=4 * " ",
                subsequent_indent=8 * " ",
            )
            for k, v in entries.items()
        ]
        head, _, raises = inspect.cleandoc(train.__doc__ or "").partition("\n\nRaises:")
        head += "" if "\nArgs:" in head else "\n\nArgs:"
        fit.__doc__ = "\n".join([head, *bullets]) + f"\n\nRaises:{raises}"
        return fit

    return decorate


@with_keywords(Options)
def fit(model: nn.Module, data: Data, strategy: Strategy, options: Options) -> Trained:
    """Train a model in place with a strategy.

    All random numbers depend on (seed, epoch or step, example) alone, so a run that was killed at
    any moment and resumed ends where an uninterrupted one does, within rounding.

    Example:
        >>> import torch
        >>> import hauberk as hb
        >>> from hauberk.models import MLP
        >>> data = torch.rand(8, 4), torch.arange(8) % 2
        >>> strategy = hb.train.Single(hb.Linf(0.1), steps=2)
        >>> trained = hb.train.fit(MLP((4, 2)), data, strategy, epochs=1, minibatch=4)
        >>> trained.summary["epochs"], trained.model.training
        (1, False)

    Args:
        model: A classifier from inputs ``(B, ...)`` to logits ``(B, C)``; trained in place.
        data: A data set, or images ``(N, ...)`` in the box and labels ``(N,)``.
        strategy: How a minibatch becomes a loss, e.g. ``hauberk.train.MAX(threats)``.

    Raises:
        InputError: Before epoch 0, for whatever cannot work; later for a full disk, and for a
            strategy whose ``loss`` returns no loss.
        TrainingError: If the loss or a weight is not finite.
    """
    if any(True for _ in exported(model)):
        raise InputError(
            "the model is a graph of torch.export, whose mode was fixed by the export: train the "
            "module that it was made from"
        )
    trainer = Trainer(model, data, strategy, options)
    try:
        trainer.open()
        with trainer.threads.used():
            return trainer.run()
    finally:
        trainer.close()
