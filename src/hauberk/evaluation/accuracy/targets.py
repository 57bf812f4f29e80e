"""Targets by linearised distance: one Jacobian of a block serves the attacks of all its threats."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from hauberk.engine.method import Method
from hauberk.engine.outcome import Outcome
from hauberk.engine.stepper import Stepper
from hauberk.engine.targets import linearised, metric_of
from hauberk.evaluation.core.task import Block
from hauberk.threats.ball import Ball
from hauberk.threats.base import Threat, kind_of
from hauberk.threats.metric import Metric
from hauberk.threats.notation import metric


@dataclass(frozen=True)
class Aims:
    """Where a targeted attack on some examples aims, and what it cost to find out.

    Attributes:
        classes: wrong classes of each, the nearest first, ``(M, C - 1)``; None for the attack's
            own order.
        forwards, backwards: passes of each example, ``(M,)`` int64.
    """

    classes: Tensor | None = None
    forwards: Tensor | None = None
    backwards: Tensor | None = None

    def counted(self, outcome: Outcome) -> Outcome:
        """The attack's outcome with these passes counted."""
        if self.forwards is None or self.backwards is None:
            return outcome
        return replace(
            outcome, forwards=outcome.forwards + self.forwards.to(outcome.forwards.device),
            backwards=outcome.backwards + self.backwards.to(outcome.backwards.device),
        )  # fmt: skip


def linear_targets(
    block: Block, threat: Threat, attack: Method, index: Tensor, threats: Sequence[str]
) -> Aims:
    """Where an attack with ``rank="linear"`` aims on the examples ``index`` (M,) of a block.

    What is computed stays with the block, for all threats and for later attacks of the same
    ``soften``; its passes count for the first attack that used it, as the ledger has it, so that a
    resumed run counts as one that was not interrupted.

    Args:
        threats: notations of all threats of the run.
    """
    soften = _soften(attack, threat)
    if soften is None:
        return Aims()
    own = _own(threat)
    orders = _orders(block, soften, threats, None if own is None else str(own))
    missing = index[~orders.known[index]]
    if len(missing):
        setting = block.setting
        metrics = [own.take(block.places(missing))] if own else list(map(metric, orders.classes))
        found = linearised(
            setting.victim, block.x[missing], block.aims(missing), metrics, box=setting.box,
            soften=soften,
        )  # fmt: skip
        for row, kind in enumerate(orders.classes):
            ranked = found.ranked(row).cpu()
            kept = orders.classes[kind]
            if kept is None:
                kept = orders.classes[kind] = ranked.new_zeros(len(block.x), ranked.shape[1])
            kept[missing] = ranked
        orders.known[missing] = True
        orders.passes = found.forwards, found.backwards
    new = ~_paid(block, soften, own)[index]
    forwards, backwards = orders.passes
    classes = orders.classes[str(own) if own else threat.kind]
    assert classes is not None
    return Aims(classes[index], new * forwards, new * backwards)


@dataclass
class _Orders:
    """The classes of a block's examples in order, by kind of threat, and which are computed."""

    classes: dict[str, Tensor | None]
    known: Tensor
    passes: tuple[int, int] = (0, 0)


def _orders(block: Block, soften: float, threats: Sequence[str], own: str | None) -> _Orders:
    """The orders in the plain norms of a run's balls, or in one that is measured in its own way."""
    made: dict[tuple[float, str | None], _Orders] = block.notes.setdefault("linear", {})
    if (soften, own) not in made:
        kinds = dict.fromkeys(kind_of(name) for name in threats) if own is None else {own: None}
        balls = {kind: None for kind in kinds if own or re.fullmatch(Ball.kinds, kind)}
        made[soften, own] = _Orders(dict(balls), torch.zeros(len(block.x), dtype=torch.bool))
    return made[soften, own]


def _soften(attack: Any, threat: Threat) -> float | None:
    """The width that an attack linearises with; None if it does not rank by distance."""
    linear = isinstance(attack, Stepper) and attack.targets > 0 and attack.rank == "linear"
    return attack.objective.soften if linear and metric_of(threat) is not None else None


def _own(threat: Threat) -> Metric | None:
    """What a ball with options of its own is measured in; None for other threats."""
    metric = metric_of(threat)
    return metric if metric is not None and metric.fit is not None else None


def _paid(block: Block, soften: float, own: Metric | None) -> Tensor:
    """Which examples some earlier attack of the block linearised, ``(B,)`` bool."""
    paid = torch.zeros(len(block.x), dtype=torch.bool)
    for task, _, part in block.taken:
        if _soften(task.method(), task.threat) == soften and _own(task.threat) == own:
            paid[torch.from_numpy(block.at(part))] = True
    return paid
