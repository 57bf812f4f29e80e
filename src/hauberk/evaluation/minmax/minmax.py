"""Attack several domains at once by one perturbation, and report the weights of the domains."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Unpack

from torch import Tensor, nn

from hauberk.attacks.apgd import APGD
from hauberk.attacks.base import Attack
from hauberk.attacks.pgd import PGD
from hauberk.data.examples import Examples
from hauberk.errors import InputError
from hauberk.evaluation.core.options import RunFields, RunOptions, with_run_options
from hauberk.evaluation.core.prepare import Model
from hauberk.evaluation.core.run import run as ask
from hauberk.evaluation.minmax.question import OnePerturbation
from hauberk.evaluation.minmax.result import MinMaxResult
from hauberk.objectives.combined import Combined
from hauberk.objectives.domains import Domain
from hauberk.threats.base import Box, Threat
from hauberk.victims.victim import Victim

Models = Model | Sequence[Model] | Mapping[str, Model]


@with_run_options
def minmax(
    models: Models,
    images: Examples,
    labels: Tensor,
    threat: Threat | str,
    *,
    transforms: Sequence[Callable[..., Tensor]] = (),
    domains: Sequence[Domain] = (),
    group: int | None = None,
    by_class: bool = False,
    gamma: float = 3.0,
    beta: float = 1 / 50,
    attack: Attack | None = None,
    objectives: Mapping[str, Combined] | None = None,
    draws: int = 1,
    judge_draws: int = 10,
    stop: bool | None = None,
    **run: Unpack[RunFields],
) -> MinMaxResult:
    """One perturbation against all of several domains: min-max beside the average of the losses.

    The domains are every model behind every transformation, times the images of a group. The judge
    decides what is fooled: it runs the models again and measures the perturbation.

    Args:
        models: one or several, which all take the same inputs and have the same classes; a
            dictionary names them.
        images: ``(N, ...)``, floats in the box, or uint8; or a data set or loader that holds the
            labels too (see :func:`hauberk.data.labelled.labelled`).
        labels: ``(N,)`` classes; left out with such a data set: ``minmax(model, loader, ...)``.
        threat: a ball or a warp, or its notation. Of a union, every part gets a perturbation of its
            own (:class:`~hauberk.threats.each.Each`) and the weights go to the strongest, unless
            the attack is multi steepest descent, which moves one through the whole union.
        transforms: what every perturbed image must survive, e.g. those of
            :func:`hauberk.transforms.wang2021`; none by default.
        domains: further domains, of kinds of one's own
            (:class:`~hauberk.objectives.domains.Domain`), beside the models behind the
            transformations; one without a model stands for all models.
        group: so many images share one perturbation (universal perturbations), in order. What does
            not fill a group is left out.
        by_class: make groups of one class each.
        gamma: of :class:`~hauberk.objectives.minmax.MinMax`, unless ``objectives`` are given.
        beta: the same.
        attack: any gradient attack, whose loss the domains combine; 50 steps of APGD on the margin
            up to 50 by default.
        objectives: what to compare, by name, instead of ``average`` and ``minmax``.
        draws: passes over which the loss of a random transformation is averaged.
        judge_draws: fresh draws of random transformations that the judge decides by.
        stop: leave an example as soon as all its domains are fooled; otherwise every example costs
            the same. Off by default for random transformations, which one draw may flatter.
        run: the options of every run, see :class:`~hauberk.evaluation.core.options.RunOptions`.

    Raises:
        InputError: for bad input, before anything is written.

    Source: Wang et al. 2021.

    Example:
        >>> import torch
        >>> nets = [nn.Sequential(nn.Flatten(), nn.Linear(4, 2)) for _ in range(2)]
        >>> x, y = torch.rand(3, 1, 2, 2), torch.tensor([0, 1, 0])
        >>> found = minmax(nets, x, y, "linf:0.5", attack=PGD(loss="cw", steps=3))
        >>> tuple(found.weights.shape)
        (3, 2)
    """
    options = RunOptions(**run)
    if attack is not None and not isinstance(attack, Attack):
        raise InputError(f"attack is {attack!r}: give one such as hauberk.attacks.APGD(steps=50)")
    for what, given in (("transforms", transforms), ("domains", domains)):
        if callable(given) or isinstance(given, Domain):
            raise InputError(f"{what} is {given!r}: give a list, with that one in it")
    threat = Threat.of(threat)
    method = default_attack(len(threat.parts) > 1) if attack is None else attack
    question = OnePerturbation(
        threat, method, tuple(transforms), tuple(domains), group, by_class, gamma, beta, objectives,
        draws, judge_draws, stop,
    )  # fmt: skip
    return ask(question, named_models(models, options.box), images, labels, options)


def default_attack(several: bool, loss: str = "cw", steps: int = 50) -> Attack:
    """APGD; for ``several`` threats at once PGD, since APGD's sparse steps are for l1 alone."""
    if several:
        return PGD(loss=loss, steps=steps, share=0.1)
    return APGD(loss=loss, steps=steps)


def named_models(models: Models, box: Any) -> dict[str, Model]:
    """Models by name: their own names, or those of their classes with a number.

    Raises:
        InputError: for what is no model, none at all, or one that takes inputs in another box.

    Example:
        >>> list(named_models([nn.Flatten(), nn.Flatten()], (0, 1)))
        ['Flatten 1', 'Flatten 2']
    """
    if isinstance(models, Mapping):
        named = {str(name): model for name, model in models.items()}
    else:
        several = list(models) if isinstance(models, Sequence) else [models]
        kinds = [type(getattr(m, "model", m)).__name__ for m in several]
        named = {
            f"{kind} {number}" if kinds.count(kind) > 1 else kind: model
            for number, (kind, model) in enumerate(zip(kinds, several, strict=True), start=1)
        }
    bounds = Box.of(box)
    for name, model in named.items():
        if not isinstance(model, nn.Module | Victim):
            raise InputError(f"model {name} is {model!r}: give a torch.nn.Module")
        own = getattr(model, "box", None)
        if own is not None and str(Box.of(own)) != str(bounds):
            raise InputError(
                f"model {name} takes inputs in {Box.of(own)}, not {bounds}: one perturbation of "
                "one input needs one box for all models; put the scaling into the model"
            )
    devices = {str(Victim.of(model).device) for model in named.values()}
    if len(devices) > 1:
        raise InputError(f"the models are on {' and '.join(sorted(devices))}: move them together")
    return named
