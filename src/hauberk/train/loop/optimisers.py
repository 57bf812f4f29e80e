"""Optimisers by name, or from a function of the user's."""

from collections.abc import Callable, Iterable
from typing import TypeAlias

import torch
from torch import nn

from hauberk.errors import InputError

Maker: TypeAlias = Callable[[list[nn.Parameter]], torch.optim.Optimizer]
NAMES = ("adam", "sgd")


def make_optimiser(
    which: str | Maker,
    parameters: Iterable[nn.Parameter],
    learning_rate: float,
    momentum: float = 0.9,
    weight_decay: float = 0.0,
    nesterov: bool = False,
) -> torch.optim.Optimizer:
    """An optimiser by name, or what a function of the parameters returns.

    Args:
        which: ``adam``, ``sgd``, or a function of the list of parameters.
        parameters: Those of the model; the ones that need a gradient are trained.
        learning_rate: That of the first step.
        momentum: Of sgd.
        weight_decay: Of adam and sgd.
        nesterov: Nesterov's momentum, of sgd.

    Raises:
        InputError: for an unknown name, for a function that returns something else, and if there is
            nothing to train.

    Example:
        >>> type(make_optimiser("sgd", nn.Linear(2, 1).parameters(), 0.1)).__name__
        'SGD'
    """
    trained = [p for p in parameters if p.requires_grad]
    if not trained:
        raise InputError(
            "nothing to train: no parameter of the model needs a gradient; "
            "call model.requires_grad_(True) or unfreeze some"
        )
    if which == "adam":
        return torch.optim.Adam(trained, lr=learning_rate, weight_decay=weight_decay)
    if which == "sgd":
        return torch.optim.SGD(
            trained, lr=learning_rate, momentum=momentum, weight_decay=weight_decay,
            nesterov=nesterov,
        )  # fmt: skip
    if callable(which):
        made = which(trained)
        if not isinstance(made, torch.optim.Optimizer):
            raise InputError(
                f"the optimiser function returned a {type(made).__name__}: "
                "return a torch.optim.Optimizer"
            )
        held = {id(p) for group in made.param_groups for p in group["params"]}
        if not held & set(map(id, trained)):
            raise InputError(
                "the optimiser function returned an optimiser of other parameters: make one of "
                "the list that it is given"
            )
        return made
    raise InputError(
        f"unknown optimiser {which!r}: choose {' or '.join(NAMES)}, or give a function of the "
        "parameters"
    )
