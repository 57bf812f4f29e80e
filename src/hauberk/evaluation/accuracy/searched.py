"""The search of an attack, on the model or on a faster copy of it."""

from dataclasses import fields, replace
from typing import Any

from torch import Tensor

from hauberk.engine.method import Job, Kind, Method
from hauberk.engine.outcome import Outcome
from hauberk.errors import warn
from hauberk.evaluation.core.judge import decide
from hauberk.evaluation.core.prepare import Setting
from hauberk.victims.fast_copy import FastCopy, SearchOn, fast_copy
from hauberk.victims.victim import Victim

COPIED = frozenset({Kind.GRADIENT, Kind.FREE})
"""Kinds of methods that may search on a copy: they look at nothing but the model."""


def searched(setting: Setting, attack: Method, job: Job) -> Outcome:
    """What an attack finds on the model of a run.

    With a faster copy (:attr:`Setting.copy`) it searches there, and points about which the copy may
    have been mistaken go back to the same search on the model itself: those that it took for
    fooling and that do not fool the model, and those so near to the decision boundary that the
    copy's rounding hides on which side they are. Passes are those of both searches, and one forward
    for every point that is looked at.
    """
    fast = setting.copy
    if fast is None or attack.kind not in COPIED:
        return attack.run(setting.victim, job)
    with fast.counted():
        found = attack.run(fast, job)
    if not len(found):
        return found
    rows = doubtful(setting.victim, fast, found, job.y)
    found = replace(found, forwards=found.forwards + 1)
    if not len(rows):
        return found
    return merged(found, rows, attack.run(setting.victim, job.take(rows)))


def copy_of(setting: Setting, on: SearchOn) -> FastCopy | None:
    """A faster copy of the model of a run; None, with a warning, where there can be none."""
    fast, why = fast_copy(setting.victim, on, setting.x[:4])
    if fast is None:
        warn(f"attacks search on the model itself, without {', '.join(on.facts())}: {why}")
    return fast


def doubtful(victim: Victim, fast: FastCopy, found: Outcome, y: Tensor) -> Tensor:
    """Rows of an outcome about which a copy may have been mistaken, ``(M,)`` int64."""
    points, labels = found.points.to(victim.device), y.to(victim.device)
    logits, wrong = decide(victim, points, labels)
    margin = -victim.margin(logits, labels)
    scale = logits.double().abs().nan_to_num(nan=0.0, posinf=0.0).amax(1)
    near = margin <= fast.rounding * scale
    claimed = found.fooled.to(wrong.device)
    return (~wrong & (claimed | near)).nonzero().squeeze(1).cpu()


def merged(found: Outcome, rows: Tensor, again: Outcome) -> Outcome:
    """An outcome with some rows (M,) replaced by another's; passes add up.

    Example:
        >>> import torch
        >>> def outcome(*values):
        ...     one, n = torch.tensor(values), torch.ones(len(values), dtype=torch.int64)
        ...     return Outcome(one, one, one > 0, one.double(), n, n, n)
        >>> both = merged(outcome(1.0, 2.0, 3.0), torch.tensor([1]), outcome(7.0))
        >>> both.loss.tolist(), both.forwards.tolist()
        ([1.0, 7.0, 3.0], [1, 2, 1])
    """
    new: dict[str, Any] = {}
    for field in fields(Outcome):
        one, other = getattr(found, field.name), getattr(again, field.name)
        if field.name == "report":
            new[field.name] = {k: _put(v, rows, other[k]) for k, v in one.items() if k in other}
        elif field.name == "by" and one is not None:
            names = list(one)
            for row, name in zip(rows.tolist(), other or [None] * len(rows), strict=True):
                names[row] = name
            new[field.name] = tuple(names)
        elif isinstance(one, Tensor) and isinstance(other, Tensor):
            spent = field.name in ("forwards", "backwards")
            at = rows.to(one.device)
            new[field.name] = _put(one, rows, other.to(one.device) + (one[at] if spent else 0))
        else:
            new[field.name] = None
    return Outcome(**new)


def _put(values: Tensor, rows: Tensor, other: Tensor) -> Tensor:
    """Values with those of ``other`` in some rows; None of either is changed."""
    made = values.clone()
    made[rows.to(made.device)] = other.to(made)
    return made
