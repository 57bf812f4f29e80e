"""Attack several domains at once by one perturbation, and say what the domain weights tell."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from hauberk.attacks.apgd import APGD
from hauberk.attacks.base import Attack
from hauberk.attacks.pgd import PGD
from hauberk.errors import InputError
from hauberk.evaluation.accuracy.evaluate import _ids, facts_of
from hauberk.evaluation.core.identity import fingerprints
from hauberk.evaluation.minmax.groups import groups
from hauberk.evaluation.minmax.result import MinMaxResult
from hauberk.evaluation.minmax.run import Run
from hauberk.evaluation.minmax.setup import (
    Models,
    bound_to,
    chosen,
    domains_of,
    told_of,
    victims_of,
)
from hauberk.objectives.combined import Combined
from hauberk.objectives.domains import Domain
from hauberk.objectives.minmax import Average, MinMax
from hauberk.store.ledger import Ledger, MemoryLedger
from hauberk.threats.base import Box, Threat
from hauberk.threats.each import Each
from hauberk.threats.notation import threat as read_threat

BLOCK = 200
"""Perturbations that are written down together."""


def minmax(
    models: Models,
    images: Tensor,
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
    box: Box | Sequence[Any] = (0.0, 1.0),
    seed: int = 0,
    ids: Tensor | None = None,
    batch_size: int | None = None,
    out: str | Path | None = None,
    resume: bool = False,
    progress: Callable[["Step"], None] | None = None,
    manifest: Mapping[str, Any] | None = None,
) -> MinMaxResult:
    """One perturbation against all of several domains: min-max beside the average of the losses.

    The domains are every model behind every transformation, times the images of a group. What
    fools is for the judge to say, who runs the models again and measures the perturbation.

    Args:
        models: one or several, which all take the same inputs and know the same classes; a
            dictionary names them.
        images: ``(N, ...)``, floats in the box; labels: ``(N,)`` integer classes.
        threat: a ball or a warp, or its notation. Of a union, every part gets a perturbation of its
            own (:class:`~hauberk.threats.each.Each`) and the weights go to the strongest, unless
            the attack is MSD, which walks one perturbation through the whole union.
        transforms: what every perturbed image must survive, e.g. those of
            :func:`hauberk.transforms.wang2021`; none by default.
        domains: further domains, of kinds of one's own
        (:class:`~hauberk.objectives.domains.Domain`),
            beside the models behind the transformations; one without a model stands for all models.
        group: so many images share one perturbation (universal perturbations), in order, or
            ``by_class``. What does not fill a group is left out.
        gamma, beta: of :class:`~hauberk.objectives.minmax.MinMax`, unless ``objectives`` are given.
        attack: any gradient attack, whose loss the domains combine; 50 steps of APGD on the margin
            up to 50 by default.
        objectives: what to compare, by name, instead of ``average`` and ``minmax``.
        draws: passes over which the loss of a random transformation is averaged.
        judge_draws: fresh draws of random transformations that the judge decides by.
        stop: leave an example as soon as all its domains are fooled; otherwise every example costs
            the same. Off by default for random transformations, which one draw may flatter.
        box, seed, ids, batch_size, out, resume, manifest: as :func:`hauberk.evaluate` has them.
        progress: called after each block with a :class:`Step`.

    Raises:
        InputError: for bad input, before anything is written.

    Source: Wang et al. 2021.
    """
    if resume and out is None:
        raise InputError("resume continues the run that out= holds: give out=, or leave it out")
    for name, value in (("draws", draws), ("judge_draws", judge_draws)):
        if value < 1:
            raise InputError(f"{name} is {value}: give 1 or more")
    if attack is not None and not isinstance(attack, Attack):
        raise InputError(f"attack is {attack!r}: give one such as hauberk.attacks.APGD(steps=50)")
    if group is not None and not isinstance(group, int):
        raise InputError(f"group is {group!r}: give the number of images in each group")
    if by_class and group is None:
        raise InputError("by_class makes groups of one class: give group=, the images in each")
    bounds = Box.of(box)
    threat = read_threat(threat) if isinstance(threat, str) else threat
    method = default_attack(len(threat.parts) > 1) if attack is None else attack
    if isinstance(method.loss, Combined):
        raise InputError("the attack's loss combines domains already: give it a plain loss")
    named, x, y, warned = victims_of(models, images, labels, bounds, seed, batch_size)
    names = _ids(ids, len(x))
    every = domains_of(named, transforms, domains, x[:2], draws)
    if stop is None:
        stop = not any(domain.varies for domain in every)
    bound = bound_to(threat, method, group)
    toward: Literal["strong", "hard"] = "strong" if isinstance(bound, Each) else "hard"
    if objectives is None:
        objectives = {
            "average": Average(every, toward=toward, loss=method.loss),
            "minmax": MinMax(every, gamma, beta, toward=toward, loss=method.loss),
        }
    else:
        objectives = chosen(objectives, method, every, bound, group)
    if group is not None:
        index = groups(y, group, by_class)
        x, y, names = x[index], y[index], names[index]
    else:
        index = torch.arange(len(x))
    facts = {
        "kind": "minmax",
        "threat": str(bound),
        "parts": [str(domain) for domain in every],
        "models": fingerprints(
            named, {"domains": every, "objectives": objectives, "attack": method, "threat": bound}
        ),
        "group": group,
        "by_class": by_class,
        "attack": method.describe(),
        "objectives": {name: told_of(o) for name, o in objectives.items()},
        "draws_of_transforms": draws,
        "judge_draws": judge_draws,
        "stop": stop,
        "block": BLOCK,
        "members": [] if not isinstance(bound, Each) else [str(part) for part in bound.parts],
        **facts_of(next(iter(named.values())), x, y, names, bounds, seed, batch_size, warned),
        **(manifest or {}),
    }
    store = MemoryLedger(facts) if out is None else Ledger.create(out, facts, resume=resume)
    run = Run(method, bound, every, x, y, names, bounds, seed, judge_draws, stop, store, BLOCK)
    run.clean()
    total = len(objectives) * -(-len(x) // BLOCK)
    for number, (name, objective, start) in enumerate(
        (name, o, start) for start in range(0, len(x), BLOCK) for name, o in objectives.items()
    ):
        run.block(name, objective, start)
        if progress is not None:
            progress(Step((number + 1) / total, f"{name} {start}", *run.spent))
    result = MinMaxResult.read(store, list(objectives), index)
    store.write_summary(result.summary)
    return result


def default_attack(several: bool, loss: str = "cw", steps: int = 50) -> Attack:
    """APGD; for ``several`` threats at once PGD, since APGD's sparse steps are for l1 alone."""
    if several:
        return PGD(loss=loss, steps=steps, share=0.1)
    return APGD(loss=loss, steps=steps)


@dataclass(frozen=True)
class Step:
    """How far a run is: share done, what was done last, passes of this process so far."""

    done: float
    doing: str
    forwards: int
    backwards: int
