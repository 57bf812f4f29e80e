"""The goal of a run: bound to its examples, recorded, and read again."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from hauberk.data.examples import Picked
from hauberk.errors import InputError
from hauberk.evaluation.core.prepare import Setting
from hauberk.threats.base import Threat
from hauberk.victims.goals import Goal, Toward


def settled(
    goal: Goal, setting: Setting, threats: Sequence[Threat] = ()
) -> tuple[Goal, Setting, int]:
    """A goal for the examples of a setting, and the setting whose model it is wanted of.

    Examples that are of the target class already are left out: nobody can turn them to it.

    Args:
        threats: of the run, which must not differ from example to example if some are left out.

    Returns:
        The goal, the setting, and how many examples were left out.

    Raises:
        InputError: for a goal that does not go with model and examples.
    """
    goal.check(setting.classes)
    bound = goal.bound(setting.ids)
    kept = torch.ones(len(setting.y), dtype=torch.bool)
    if isinstance(bound, Toward):
        kept = bound.aims(setting.y.cpu(), setting.ids) != setting.y.cpu()
    out = int((~kept).sum())
    if out == len(kept):
        raise InputError(f"all {out} examples are of the class of {goal} already: give others")
    if out:
        fits = [getattr(part, "fit", None) for threat in threats for part in threat.parts]
        if any(fit is not None and fit.differs(len(setting.x.shape)) for fit in fits):
            raise InputError(
                f"{out} examples are of the class of {goal} already, and the threats differ from "
                "example to example: leave these examples out of data and threats"
            )
        setting = _of_rows(setting, kept.nonzero().squeeze(1))
    victims = {name: victim.aiming(bound) for name, victim in setting.victims.items()}
    return bound, replace(setting, victims=victims), out


def _of_rows(setting: Setting, rows: Tensor) -> Setting:
    """The setting with some of its examples, ``rows`` (M,)."""
    x, y, ids = setting.x, setting.y, setting.ids
    some = x[rows.to(x.device)] if isinstance(x, Tensor) else Picked(x, rows)
    return replace(setting, x=some, y=y[rows.to(y.device)], ids=ids[rows])


def facts(goal: Goal | None, left_out: int) -> dict[str, Any]:
    """What a manifest says of a goal; nothing without one.

    Example:
        >>> facts(Goal.of("target=3"), 2), facts(None, 0)
        ({'goal': 'target=3', 'left_out': 2}, {})
    """
    return {} if goal is None else {"goal": str(goal), "left_out": left_out}


def recorded(manifest: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of a question that a manifest says them for."""
    if manifest.get("goal") is None:
        return {}
    return {"goal": Goal.of(manifest["goal"]), "left_out": int(manifest["left_out"])}
