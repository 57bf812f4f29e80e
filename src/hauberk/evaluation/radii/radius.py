"""Measure the radius of every example: the least perturbation that fools the model."""

from collections.abc import Sequence
from typing import Unpack, overload

from torch import Tensor

from hauberk.data.examples import Examples
from hauberk.evaluation.core.options import RunFields, RunOptions, with_run_options
from hauberk.evaluation.core.prepare import Model
from hauberk.evaluation.core.run import run as ask
from hauberk.evaluation.radii.question import LeastDistances, One, Sizes
from hauberk.evaluation.radii.result import Radii, RadiiSet
from hauberk.solvers.base import Solver
from hauberk.victims.goals import Goal
from hauberk.victims.victim import Boundary


@overload
def radius(  # type: ignore[overload-overlap]
    model: Model, images: Examples, labels: Tensor, metric: One, *, budget: int = ...,
    solver: str | Solver = ..., soften: float | None = ..., eps: Sizes = ...,
    boundary: Boundary = ..., goal: Goal | str | None = ..., **run: Unpack[RunFields],
) -> Radii: ...  # fmt: skip
@overload
def radius(
    model: Model, images: Examples, labels: Tensor, metric: Sequence[One], *, budget: int = ...,
    solver: str | Solver = ..., soften: float | None = ..., eps: Sizes = ...,
    boundary: Boundary = ..., goal: Goal | str | None = ..., **run: Unpack[RunFields],
) -> RadiiSet: ...  # fmt: skip
@with_run_options
def radius(
    model: Model,
    images: Examples,
    labels: Tensor,
    metric: One | Sequence[One],
    *,
    budget: int = 2000,
    solver: str | Solver = "best",
    soften: float | None = None,
    eps: Sizes = (),
    boundary: Boundary = "decision",
    goal: Goal | str | None = None,
    **run: Unpack[RunFields],
) -> Radii | RadiiSet:
    """The least distance at which the model decides wrongly, example by example (problem 2).

    A radius counts only if the judge, who runs the model again and measures in float64, confirms
    its point. Radii of a :class:`hauberk.Union` of balls are in units of their sizes: the least
    scale at which one of the balls holds an adversarial point.

    Args:
        model: a classifier from inputs to logits ``(B, C)``, or a victim.
        images: ``(N, ...)``, floats in the box, or uint8; or a data set or loader that holds the
            labels too (see :func:`hauberk.data.labelled.labelled`).
        labels: ``(N,)`` classes; left out with such a data set: ``radius(model, loader, ...)``.
        metric: ``linf``, ``l2``, ``l1``, ``l0`` or ``lP``, a
            :class:`~hauberk.threats.metric.Metric`, a measured or perceptual threat whatever its
            size, or a union of balls. Of several, in a list, the result is a :class:`RadiiSet`.
        budget: passes per example and metric, forwards and backwards together; the clean pass and
            the judge's come on top.
        solver: a name of :data:`hauberk.solvers.SOLVERS`, or a solver, which then has its own
            steps.
        soften: width of softened gradients; None leaves it to the solver.
        eps: sizes at which the summary has the accuracy, for all metrics or by name.
        boundary: ``decision``, or ``soft_margin`` for SLM-margins (Ding et al. 2020, Remark 2.2):
            the least distance at which the other classes together weigh as much as the label, a
            lower bound of the margin. The judge computes that, too; examples with no more than half
            of the probability count as wrong already, and a point found need not fool the model.
        goal: what counts as success, if not every wrong class, as of :func:`hauberk.evaluate`.
        run: the options of every run, see :class:`~hauberk.evaluation.core.options.RunOptions`.

    Raises:
        InputError: for bad input, before anything is written.

    Example:
        >>> import torch
        >>> net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(4, 2))
        >>> x = torch.rand(3, 1, 2, 2)
        >>> found = radius(net, x, net(x).argmax(1), "l2", budget=60, box=(-9, 9))
        >>> bool(found.found.all())
        True
    """
    question = LeastDistances.asked(
        metric, solver=solver, budget=budget, soften=soften, eps=eps, boundary=boundary, goal=goal
    )
    return ask(question, {"model": model}, images, labels, RunOptions(**run))
