"""How the loss of an attack rises from step to step, one curve for each of its settings."""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from itertools import product
from typing import Any, Unpack

import torch
from torch import Tensor, nn

from hauberk.analysis.runs import How
from hauberk.attacks.base import Attack
from hauberk.errors import InputError
from hauberk.objectives.base import Objective
from hauberk.objectives.traced import Traced
from hauberk.store.files import plain
from hauberk.threats.base import Threat

Z = 1.959964  # of a 95% interval


@dataclass(frozen=True, eq=False, kw_only=True)
class LossTrace:
    """The loss at each point that an attack asked for, of every example.

    Evaluation 0 is that of the starting point, evaluation t that of the point after t steps. An
    example that has ended keeps what it had; with restarts, the trace is that of the attempt whose
    point was kept.

    Attributes:
        name: of the curve.
        threat: what was allowed.
        shown: the loss.
        current: loss of the iterate, ``(B, T)`` float64.
        best: largest loss so far of the iterates in the threat, ``(B, T)``; NaN before the first.
        broken: whether an iterate in the threat has fooled the model by then, ``(B, T)`` bool.

    Example:
        >>> from hauberk import Linf
        >>> from hauberk.attacks import PGD
        >>> model, x, y = torch.nn.Linear(4, 3), torch.rand(2, 4), torch.tensor([0, 1])
        >>> found = trace(model, x, y, Linf(0.1), {"pgd": PGD(steps=5)})
        >>> found[0].steps, found[0].current.shape
        (5, torch.Size([2, 6]))
    """

    name: str
    threat: str
    shown: str
    current: Tensor = field(repr=False)
    best: Tensor = field(repr=False)
    broken: Tensor = field(repr=False)

    @property
    def steps(self) -> int:
        """Steps of the longest trace."""
        return self.current.shape[1] - 1

    def curve(self, which: str = "current") -> dict[str, Tensor]:
        """Mean over the examples and the ends of its 95% interval, ``(T,)`` each.

        Args:
            which: ``current`` or ``best``.

        Raises:
            InputError: for another word.
        """
        if which not in ("current", "best"):
            raise InputError(f"which is '{which}': give current or best")
        rows: Tensor = getattr(self, which)
        count = rows.isfinite().sum(0)
        rows = torch.where(rows.isfinite(), rows, torch.nan)
        mean = rows.nanmean(0)
        variance = (rows - mean).square().nansum(0) / (count - 1).clamp_min(1)
        half = Z * (variance / count.clamp_min(1)).sqrt()
        return {"mean": mean, "low": mean - half, "high": mean + half}

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON: the two curves and the share broken, at every step."""
        return {
            "name": self.name,
            "threat": self.threat,
            "loss": self.shown,
            "examples": len(self.current),
            "steps": self.steps,
            "current": plain(self.curve("current")),
            "best": plain(self.curve("best")),
            "broken": plain(self.broken.double().mean(0)),
        }


def trace(
    model: nn.Module,
    images: Tensor,
    labels: Tensor,
    threat: Threat | str,
    attacks: Mapping[str, Attack[Any]],
    *,
    loss: str = "ce",
    **how: Unpack[How],
) -> list[LossTrace]:
    """Run attacks to their ends and keep the loss of every iterate.

    Args:
        model: a module that takes inputs in the box.
        images: ``(B, ...)``, floats in the box.
        labels: ``(B,)`` integer classes.
        threat: what may be done to an image.
        attacks: by the name of the curve (:func:`varied`).
        loss: what is looked at, such as ``ce`` or ``margin``; each attack climbs its own.
        how: ``box``, ``seed`` and ``batch_size``, see :class:`~hauberk.analysis.runs.How`.

    Raises:
        InputError: for bad input, an unknown loss, or an attack on several domains at once.

    Source: Tramèr & Boneh 2019, Figure 2.

    Example:
        >>> from hauberk import L1
        >>> from hauberk.attacks import PGD
        >>> net, x, y = torch.nn.Linear(4, 3), torch.rand(2, 4), torch.tensor([0, 1])
        >>> settings = varied(PGD(steps=4), {"share": [None, 0.5]})
        >>> [found.name for found in trace(net, x, y, L1(1), settings)]
        ['share=one', 'share=0.5']
    """
    if not attacks:
        raise InputError("no attack to trace: give at least one")
    threat = Threat.of(threat)
    return [_one(name, model, images, labels, threat, attack, loss, how)
            for name, attack in attacks.items()]  # fmt: skip


def varied(attack: Attack[Any], settings: Mapping[str, Any]) -> dict[str, Attack[Any]]:
    """An attack at every combination of some settings, by name such as ``steps=10``.

    Args:
        attack: the other settings.
        settings: values by setting. ``q`` stands for ``1 - share``: the percentile at or above
            which a sparse step moves coordinates, as Tramèr & Boneh 2019 write it; None for a step
            of one coordinate.

    Raises:
        InputError: for a setting that the attack does not have, or a value that it refuses.

    Example:
        >>> from hauberk.attacks import PGD
        >>> {name: a.share for name, a in varied(PGD(), {"q": [0.75, None]}).items()}
        {'q=0.75': 0.25, 'q=one': None}
    """
    known = {f.name for f in fields(attack) if f.init}
    for name, values in settings.items():
        if (name not in known) and not (name == "q" and "share" in known):
            kind = type(attack).__name__
            raise InputError(f"{kind} has no setting '{name}': it has {', '.join(sorted(known))}")
        if not values:
            raise InputError(f"{name} has no values: give at least one")
    made = {}
    for combination in product(*settings.values()):
        pairs = list(zip(settings, combination, strict=True))
        words = ", ".join(f"{name}={_word(name, value)}" for name, value in pairs)
        made[words or type(attack).__name__] = replace(attack, **dict(_field(*p) for p in pairs))
    return made


def _field(name: str, value: Any) -> tuple[str, Any]:
    if name != "q":
        return name, value
    if value is not None and not (isinstance(value, int | float) and 0 <= value < 1):
        raise InputError(f"q is {value}: give a number in [0, 1)")
    return "share", None if value is None else 1 - value


def _word(name: str, value: Any) -> str:
    if value is None:
        return "one" if name in ("q", "share") else "default"
    return f"{value:g}" if isinstance(value, int | float) else str(value)


def _one(
    name: str, model: nn.Module, images: Tensor, labels: Tensor, threat: Threat,
    attack: Attack[Any], loss: str, how: How,
) -> LossTrace:  # fmt: skip
    if not isinstance(attack, Attack):
        raise InputError(f"{name} is no attack whose steps can be traced: give one such as PGD")
    if isinstance(attack.loss, Objective):
        raise InputError(f"{name} has an objective of its own: give a loss by name or a function")
    # The softening is the attack's own: `Stepper.objective` takes it from there.
    watched = replace(attack, loss=Traced(attack.loss, shown=loss))
    found = watched(model, images, labels, threat, stop=False, **how)
    if found.path is None:
        raise InputError("no examples: give at least one")
    loss_, fooled, inside = found.path.double().cpu().unbind(2)
    last = (~inside.isnan()).sum(1, keepdim=True) - 1
    place = torch.minimum(torch.arange(inside.shape[1]).expand_as(inside), last.clamp_min(0))
    loss_, fooled, inside = (row.gather(1, place) for row in (loss_, fooled, inside))
    # A point of NaN logits fools: no loss is larger.
    within = torch.where(inside > 0, loss_.nan_to_num(nan=torch.inf), -torch.inf)
    best = within.cummax(1).values
    return LossTrace(
        name=name, threat=str(threat), shown=loss, current=loss_,
        best=torch.where(best == -torch.inf, torch.nan, best),
        broken=((fooled > 0) & (inside > 0)).cummax(1).values,
    )  # fmt: skip
