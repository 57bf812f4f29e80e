"""Evaluate a classifier against a union of threats."""

from collections.abc import Mapping, Sequence
from typing import Unpack

from torch import Tensor

from hauberk.data.examples import Examples
from hauberk.engine.method import Method
from hauberk.evaluation.accuracy.question import Accuracy, Points
from hauberk.evaluation.accuracy.reading import suite_of
from hauberk.evaluation.accuracy.result import Result
from hauberk.evaluation.accuracy.suites import Stage, Suite
from hauberk.evaluation.core.options import RunFields, RunOptions, with_run_options
from hauberk.evaluation.core.prepare import Model
from hauberk.evaluation.core.run import run as ask
from hauberk.threats.base import Threat, Union, several
from hauberk.victims.fast_copy import SearchOn
from hauberk.victims.goals import Goal


@with_run_options
def evaluate(
    model: Model,
    images: Examples,
    labels: Tensor,
    threats: Threat | str | Sequence[Threat | str],
    *,
    suite: str | Suite | Mapping[str, Method | Stage] | Method = "standard",
    union_only: bool = False,
    all_attacks: bool = False,
    floor: int = 0,
    search_precision: str | SearchOn | None = None,
    goal: Goal | str | None = None,
    **run: Unpack[RunFields],
) -> Result:
    """Attack every example under every threat; an independent judge decides what counts as broken.

    Args:
        model: a classifier from inputs to logits ``(B, C)``, or a victim.
        images: ``(N, ...)``, floats in the box, or uint8; or a data set or loader that holds the
            labels too (see :func:`hauberk.data.labelled.labelled`).
        labels: ``(N,)`` classes; left out with such a data set: ``evaluate(model, loader, ...)``.
        threats: a threat, a union, or several threats; each as an object or by its notation,
            ``linf:8/255``.
        suite: a name of :data:`hauberk.evaluation.SUITES`, a YAML file, a Suite, an attack, or a
            dictionary of names and attacks or stages.
        union_only: a point broken under one threat is not attacked under the others: cheaper, and
            the accuracies per threat become upper bounds.
        all_attacks: run every attack on every point, to see what each breaks alone.
        floor: that many of the points left standing, drawn at random, get about ten times the
            passes of the suite, by other searches: ``summary["floor"]`` then bounds at 95%
            confidence how far the union accuracy could still fall. 60 say enough (none of 60
            broken: at most 4.9% of the standing points would); 0 for none.
        search_precision: ``bf16``, ``fp16`` or ``fp32``: attacks search on a copy of the model in
            that precision, and the model itself decides. Points about which the copy may have been
            mistaken go back to the same search on the model; the passes of both count. A
            :class:`~hauberk.victims.fast_copy.SearchOn` can say more: channels last, compiled.
        goal: what counts as broken, if not every wrong class: ``target=3`` (the model decides for
            class 3; examples of it are left out), ``target=FILE`` (a class for each example), or
            ``confident:0.9`` (a wrong class has that probability); see
            :mod:`hauberk.victims.goals`.
        run: the options of every run, see :class:`~hauberk.evaluation.core.options.RunOptions`.

    Raises:
        InputError: for bad input, before anything is written.

    Example:
        >>> import torch, hauberk as hb
        >>> net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(4, 2))
        >>> x = torch.rand(6, 1, 2, 2)
        >>> found = evaluate(net, x, net(x).argmax(1), hb.Linf(0.1), suite=hb.attacks.FGSM())
        >>> found.clean_accuracy
        1.0
    """
    wanted = None if goal is None else Goal.of(goal)
    points = Points.of(union_only, all_attacks)
    on = search_precision or SearchOn()
    on = on if isinstance(on, SearchOn) else SearchOn(precision=on)
    question = Accuracy(
        Union(*several(threats)).parts, suite_of(suite), points, floor=floor, on=on, goal=wanted
    )
    return ask(question, {"model": model}, images, labels, RunOptions(**run))
