"""Points of one model tried on another: a model that only hides its gradient falls to them."""

from collections.abc import Mapping, Sequence
from typing import Unpack, overload

from torch import Tensor

from hauberk.data.examples import Examples
from hauberk.engine.method import Method
from hauberk.errors import InputError
from hauberk.evaluation.core.options import RunFields, RunOptions, with_run_options
from hauberk.evaluation.core.prepare import Model
from hauberk.evaluation.core.run import run as ask
from hauberk.evaluation.transfers.question import TransferTable as TransferTable
from hauberk.evaluation.transfers.result import TransferReport as TransferReport
from hauberk.evaluation.transfers.result import TransferReports as TransferReports
from hauberk.threats.base import Threat, several


@overload
def transfer(  # type: ignore[overload-overlap]  # a str is a sequence too
    models: Mapping[str, Model], images: Examples, labels: Tensor, threat: Threat | str,
    attack: Method | Sequence[Method], *, stop: bool = ...,
    vote_attack: Method | Sequence[Method] = ..., check: Method | None = ..., checked: int = ...,
    **run: Unpack[RunFields],
) -> TransferReport: ...  # fmt: skip
@overload
def transfer(
    models: Mapping[str, Model], images: Examples, labels: Tensor, threat: Sequence[Threat | str],
    attack: Method | Sequence[Method], *, stop: bool = ...,
    vote_attack: Method | Sequence[Method] = ..., check: Method | None = ..., checked: int = ...,
    **run: Unpack[RunFields],
) -> TransferReports: ...  # fmt: skip
@with_run_options
def transfer(
    models: Mapping[str, Model],
    images: Examples,
    labels: Tensor,
    threat: Threat | str | Sequence[Threat | str],
    attack: Method | Sequence[Method],
    *,
    stop: bool = False,
    vote_attack: Method | Sequence[Method] = (),
    check: Method | None = None,
    checked: int = 100,
    **run: Unpack[RunFields],
) -> TransferReport | TransferReports:
    """Craft points on every model, and judge them on every model.

    Args:
        models: names and models of the same inputs and classes; a
            :class:`~hauberk.victims.ensembles.Vote` is one of them, as a source and as a target.
        images: ``(N, ...)``, floats in the box, or uint8; or a data set or loader that holds the
            labels too (see :func:`hauberk.data.labelled.labelled`).
        labels: ``(N,)`` classes; left out with such a data set: ``transfer(model, loader, ...)``.
        threat: what points may do, or its notation; under a union a point may use any of its
            parts. Of several, in a list (``[Linf(eps) for eps in (0.1, 0.2)]``), each has
            accuracies of its own, and the result is a :class:`TransferReports` with their averages.
        attack: one or several (the paper has half with ``ce``, half with ``cw``:
            :func:`hauberk.evaluation.transfers.presets.ding2020`). An attack gives one point per
            example and model, its best: give restarts as attacks of their own for all their points
            to be tried.
        stop: whether crafting stops at the first point that fools its own model; by default it
            goes on to the largest loss, which transfers better.
        vote_attack: what crafts on models that vote, instead of ``attack``: PGD with a loss of
            :mod:`hauberk.objectives.votes`, say.
        check: a further attack on every model, such as :class:`hauberk.attacks.SPSA`, that counts
            for no accuracy: the summary says what it breaks and the model's own points do not.
        checked: it is run on so many of the examples, the first ones.
        run: the options of every run, see :class:`~hauberk.evaluation.core.options.RunOptions`.

    Raises:
        InputError: for bad input, no model or no attack.

    Source: Ding et al. 2020, section 3.2 and appendix D.

    Example:
        >>> import torch
        >>> from hauberk import Linf
        >>> from hauberk.attacks import FGSM
        >>> nets = {n: torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(4, 2)) for n in "ab"}
        >>> x = torch.rand(4, 1, 2, 2)
        >>> found = transfer(nets, x, nets["a"](x).argmax(1), Linf(0.1), FGSM())
        >>> found.clean["a"]
        1.0
    """
    attacks, votes = _several(attack), _several(vote_attack)
    if not attacks or not all(isinstance(one, Method) for one in (*attacks, *votes)):
        raise InputError("give at least one attack, e.g. PGD(loss='ce', steps=100)")
    if check is not None and not isinstance(check, Method):
        raise InputError(f"check is {check!r}: give an attack, e.g. SPSA()")
    if checked < 1:
        raise InputError(f"checked is {checked}: give 1 or more examples")
    if not models:
        raise InputError("give at least one model: a dictionary of names and models")
    one = isinstance(threat, Threat | str)
    threats = cases(threat)
    question = TransferTable(threats, attacks, stop, not one, votes, check, checked)
    return ask(question, dict(models), images, labels, RunOptions(**run))


def cases(threat: Threat | str | Sequence[Threat | str]) -> tuple[Threat, ...]:
    """The parts of one threat, or several threats as they are.

    Raises:
        InputError: for none, and for one that is named twice.

    Example:
        >>> from hauberk import L2, Linf
        >>> [len(cases(given)) for given in (Linf(0.1) | L2(1), [Linf(0.1) | L2(1)])]
        [2, 1]
    """
    found = several(threat)
    if isinstance(threat, Threat | str):
        return found[0].parts
    names = [str(one) for one in found]
    for name in names:
        if names.count(name) > 1:
            raise InputError(f"threat {name} is named twice: name each once")
    return found


def _several(given: Method | Sequence[Method]) -> tuple[Method, ...]:
    return (given,) if isinstance(given, Method) else tuple(given)
