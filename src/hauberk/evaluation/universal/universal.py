"""One perturbation for a whole data set: made on some images, tested on others."""

from typing import Unpack

from torch import Tensor

from hauberk.attacks.pgd import PGD
from hauberk.data.examples import Examples
from hauberk.evaluation.core.options import RunFields, RunOptions, with_run_options
from hauberk.evaluation.core.prepare import Model
from hauberk.evaluation.core.run import run as ask
from hauberk.evaluation.universal.question import ForAll
from hauberk.evaluation.universal.result import Universal
from hauberk.objectives.combined import Combined
from hauberk.threats.base import Threat


@with_run_options
def universal(
    model: Model,
    images: Examples,
    labels: Tensor,
    threat: Threat | str,
    *,
    epochs: int = 5,
    minibatch: int = 100,
    attack: PGD | None = None,
    objective: Combined | None = None,
    **run: Unpack[RunFields],
) -> Universal:
    """Make one perturbation that fools a model on as many inputs as possible, by minibatches.

    The classical setting: the ball alone bounds the perturbation, and inputs are clipped to the box
    after it is added (Moosavi-Dezfooli et al. 2017). Each minibatch is a group whose images share
    it, and one step of the attack is taken on it (Shafahi et al. 2020, algorithm 2); for few images
    and Wang et al. 2021's setting see ``group=`` of :func:`hauberk.minmax`. An interrupted run
    goes on from the minibatch at which the perturbation was last written down: at least once in
    ``block`` images, or at every minibatch that is larger.

    Args:
        model: a classifier from inputs to logits ``(B, C)``, or a victim.
        images: ``(N, ...)``, floats in the box, or uint8; or a data set or loader that holds the
            labels too (see :func:`hauberk.data.labelled.labelled`).
        labels: ``(N,)`` classes; left out with such a data set: ``universal(model, loader, ...)``.
        threat: an lp ball, or its notation.
        epochs: times that every image is used.
        minibatch: images behind each step.
        attack: PGD or a relative, whose ``steps`` are set to the number of minibatches; by default
            one with momentum 0.9 and steps of a tenth of the ball, on the margin up to 10: images
            that are fooled for good pull no more.
        objective: how the losses of a minibatch become one, e.g. with further models as domains;
            their average by default. Its weights start afresh with every minibatch.
        run: the options of every run, see :class:`~hauberk.evaluation.core.options.RunOptions`.

    Raises:
        InputError: for bad input, before anything is done.

    Example:
        >>> import torch
        >>> net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(4, 2))
        >>> x, y = torch.rand(6, 1, 2, 2), torch.tensor([0, 1, 0, 1, 0, 1])
        >>> found = universal(net, x, y, "linf:0.1", epochs=1, minibatch=3)
        >>> tuple(found.delta.shape), len(found.losses)
        ((1, 2, 2), 2)
    """
    question = ForAll(Threat.of(threat), epochs, minibatch, attack, objective)
    return ask(question, {"model": model}, images, labels, RunOptions(**run))
