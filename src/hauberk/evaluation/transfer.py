"""Points of one model tried on another: a model that only hides its gradient falls to them."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor, nn

from hauberk.engine.inputs import check
from hauberk.engine.method import Job, Method
from hauberk.errors import InputError
from hauberk.evaluation.core.judge import decide, judge
from hauberk.report.tables.transfer import table
from hauberk.threats.base import Box, Threat
from hauberk.victims.victim import Victim

Model = nn.Module | Victim


@dataclass(frozen=True)
class TransferReport:
    """What each model withstands alone, and with the others' points. Shares of all examples.

    Source: Ding et al. 2020, section 3.2 and appendix D.

    Attributes:
        threat: its notation.
        clean: accuracy on the clean inputs, per model.
        whitebox: accuracy on the points crafted on the model itself.
        combined: accuracy on these and on all points crafted on the other models.
        broke: ``broke[source][target]``: share of examples that the target gets right when clean
            and wrong at a point crafted on the source.
        forwards, backwards: passes spent in all, the judge's not counted.
    """

    threat: str
    clean: dict[str, float]
    whitebox: dict[str, float]
    combined: dict[str, float]
    broke: dict[str, dict[str, float]]
    forwards: int
    backwards: int

    @property
    def gap(self) -> dict[str, float]:
        """TransferGap, white-box less combined accuracy, per model; large if gradients mislead."""
        return {name: self.whitebox[name] - self.combined[name] for name in self.clean}

    def table(self) -> str:
        """The report as text (:func:`hauberk.report.tables.transfer.table`)."""
        return table({**asdict(self), "gap": self.gap})


def transfer(
    models: Mapping[str, Model],
    x: Tensor,
    y: Tensor,
    threat: Threat,
    attack: Method | Sequence[Method],
    *,
    box: Box | Sequence[Any] = (0.0, 1.0),
    seed: int = 0,
    ids: Tensor | None = None,
    stop: bool = False,
    batch_size: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> TransferReport:
    """Craft points on every model, and judge them on every model.

    For several radii: ``[transfer(models, x, y, Linf(eps), attack) for eps in (0.1, 0.2, 0.3)]``.

    Args:
        models: names and models of the same inputs and classes.
        x, y: examples ``(B, ...)`` in the box and labels ``(B,)``.
        threat: what points may do; under a union a point may use any of its parts.
        attack: one or several (the paper has half with ``ce``, half with ``cw``). An attack gives
            one point per example and model, its best: give restarts as attacks of their own for
            all their points to be tried.
        stop: whether crafting stops at the first point that fools its own model; by default it
            goes on to the largest loss, which transfers better.
        progress: called with the models attacked and all of them.

    Raises:
        InputError: for bad input, no model or no attack.
    """
    attacks = (attack,) if isinstance(attack, Method) else tuple(attack)
    if not attacks or not all(isinstance(one, Method) for one in attacks):
        raise InputError("give at least one attack, e.g. PGD(loss='ce', steps=100)")
    if not models:
        raise InputError("give at least one model: a dictionary of names and models")
    bounds = Box.of(box)
    x, y = check(x, y, bounds)
    victims = {name: Victim.of(model, batch_size) for name, model in models.items()}
    right = {name: _right(victim, x, y) for name, victim in victims.items()}
    fell: dict[str, dict[str, Tensor]] = {}
    forwards = backwards = 0
    jobs = [(part, one) for part in threat.parts for one in attacks]
    for done, (source, maker) in enumerate(victims.items(), start=1):
        row = fell[source] = {name: torch.zeros(len(x), dtype=torch.bool) for name in victims}
        for stream, (part, one) in enumerate(jobs):
            job = Job(
                threat=part, x=x, y=y, box=bounds, seed=seed, ids=ids, stop=stop, stream=stream
            )
            found = one.run(maker, job)
            forwards += int(found.forwards.sum())
            backwards += int(found.backwards.sum())
            for name, victim in victims.items():
                witness = None if found.witness is None else found.witness.to(victim.device)
                verdict = judge(victim, part, x, found.points, y, bounds, witness)
                row[name] |= verdict.broken.cpu() & right[name]
        if progress is not None:
            progress(done, len(victims))
    own = {name: right[name] & ~fell[name][name] for name in victims}
    both = {
        name: right[name] & ~torch.stack([r[name] for r in fell.values()]).any(0) for name in own
    }
    return TransferReport(
        threat=str(threat),
        clean=_shares(right),
        whitebox=_shares(own),
        combined=_shares(both),
        broke={source: _shares(row) for source, row in fell.items()},
        forwards=forwards,
        backwards=backwards,
    )


def _shares(which: Mapping[str, Tensor]) -> dict[str, float]:
    return {name: int(rows.sum()) / max(1, len(rows)) for name, rows in which.items()}


def _right(victim: Victim, x: Tensor, y: Tensor) -> Tensor:
    """Whether the victim is right on clean inputs, ``(B,)`` on the host."""
    _, wrong = decide(victim, x.to(victim.device), y.to(victim.device))
    return ~wrong.cpu()
