"""Points of one model tried on another: a model that only hides its gradient falls to them."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from hauberk.attacks.base import Attack
from hauberk.engine.inputs import check
from hauberk.engine.outcome import Outcome
from hauberk.engine.state import Response, State
from hauberk.errors import InputError
from hauberk.evaluation.core.judge import decide, judge
from hauberk.objectives.problem import Problem
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
    attack: Attack | Sequence[Attack],
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
    attacks = (attack,) if isinstance(attack, Attack) else tuple(attack)
    if not attacks or not all(isinstance(one, Attack) for one in attacks):
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
            found = one.run(
                maker, part, x, y, box=bounds, seed=seed, ids=ids, stop=stop, stream=stream
            )
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


@dataclass(frozen=True, kw_only=True)
class Transfer(Attack):
    """Points crafted on other models, then looked at on the victim, whose gradient is not used.

    The attack runs on each source in turn, and the victim is asked once at the points it found.
    With ``stop=True``, examples that the victim then gets wrong go to no further source; else the
    point of the victim's largest ``loss`` is kept. The outcome counts the passes of sources and
    victim together; its ``attempt`` is the source's number. Source: Ding et al. 2020, appendix D.

    Args:
        sources: models, or names and models, of the same inputs and classes; on any device.
        attack: what crafts the points; its own loss is the sources'.
        loss: untargeted, of the victim.
        persist: whether crafting goes on, on a source that is fooled already, to the largest loss:
            dearer, and such points transfer better.
        steps, restarts, targets, soften: unused; set them on ``attack``.
    """

    kind: ClassVar[str] = "transfer"

    sources: Sequence[Model] | Mapping[str, Model] = field(hash=False)
    attack: Attack
    persist: bool = True

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self._sources:
            raise InputError("Transfer needs at least one source model")
        if not isinstance(self.attack, Attack):
            raise InputError("Transfer needs an attack to craft with, e.g. attack=APGD(steps=100)")
        if self.targets:
            raise InputError("Transfer takes no targets of its own: set them on its attack")

    @property
    def _sources(self) -> list[tuple[str, Model]]:
        if isinstance(self.sources, Mapping):
            return list(self.sources.items())
        return [(type(Victim.of(source).model).__name__, source) for source in self.sources]

    @property
    def passes(self) -> int:
        aims = self.attack.targets
        # With targets, each source is looked at once more, to rank its classes.
        each = self.attack.attempts(aims + 1) * self.attack.passes + (1 if aims else 0)
        return len(self._sources) * (each + self.objective.samples)

    def attempts(self, classes: int) -> int:
        return 1

    def start(self, problem: Problem) -> State:
        raise NotImplementedError("Transfer crafts on other models: it brings its own run")

    def step(self, problem: Problem, state: State, told: Response) -> State:
        return self.start(problem)

    def describe(self) -> dict[str, Any]:
        """Name, sources by name, and how the attack on them is set."""
        return {
            "attack": type(self).__name__,
            "kind": self.kind,
            "sources": [name for name, _ in self._sources],
            "crafted": self.attack.describe(),
            "loss": self.loss,
            "persist": self.persist,
        }

    def run(self, victim: Victim, threat: Threat, x: Tensor, y: Tensor, **options: Any) -> Outcome:
        """Craft on every source, look on the victim; options as of :meth:`Attack.run`."""
        stop, progress = options.get("stop", True), options.pop("progress", None)
        options.pop("clean_logits", None)  # the victim's: the sources rank by their own
        ids = options.pop("ids", None)
        x, y = check(x, y, options["box"])
        rows = {"ids": torch.arange(len(x)) if ids is None else ids}
        rows |= {name: options.pop(name, None) for name in ("warm", "has_warm")}
        options["stop"] = stop and not self.persist
        best: Outcome | None = None
        live = torch.arange(len(x))
        sources = self._sources
        for number, (_, source) in enumerate(sources):
            mine = {k: None if v is None else v[live.to(v.device)] for k, v in rows.items()}
            here = live.to(x.device)
            found = self.attack.run(
                Victim.of(source), threat, x[here], y[here],
                **{**options, **mine, "stream": options.get("stream", 0) + (number << 40)},
            )  # fmt: skip
            seen = self._look(victim, found, y[here])
            best = seen if best is None else _merge(best, seen, live, number, stop)
            if stop:
                live = (~best.fooled).nonzero().squeeze(1).cpu()
            if progress is not None:
                progress((number + 1) * len(x), len(sources) * len(x))
        assert best is not None
        return best

    def _look(self, victim: Victim, found: Outcome, y: Tensor) -> Outcome:
        """The outcome as the victim sees it: its loss and decision, one evaluation more."""
        objective, device, start = self.objective, victim.device, 0
        points, y = found.points.to(device), y.to(device)
        size = max(1, victim.batch_size(points[:1]) // objective.samples) if len(points) else 1
        losses, fooled = [found.loss[:0].to(device)], [found.fooled[:0].to(device)]
        victim.top_label = int(y.max()) if len(y) else 0
        try:
            with victim.held(), torch.no_grad():
                while start < len(points):
                    part = slice(start, start + size)
                    try:
                        told = objective(victim, points[part], y[part], None, None)
                    except RuntimeError as error:
                        size = victim.shrink(error, size)
                        continue
                    losses.append(told.loss.to(found.loss.dtype))
                    fooled.append(told.fooled)
                    start += size
        finally:
            victim.top_label = 0
        return Outcome(
            points=points,
            loss=torch.cat(losses),
            fooled=torch.cat(fooled),
            distance=found.distance.to(device),
            attempt=torch.zeros_like(found.attempt, device=device),
            forwards=found.forwards + objective.samples,
            backwards=found.backwards,
            witness=None if found.witness is None else found.witness.to(device),
        )


def _merge(best: Outcome, new: Outcome, live: Tensor, number: int, stop: bool) -> Outcome:
    """``best`` with the rows ``live`` replaced where ``new`` is better; passes add up."""
    at = live.to(best.points.device)
    gain = new.loss.nan_to_num(nan=torch.inf) > best.loss[at].nan_to_num(nan=torch.inf)
    better = new.fooled | gain if stop else gain

    def put(old: Tensor, rows: Tensor) -> Tensor:
        return old.index_copy(0, at[better], rows[better].to(old))

    old, theirs = best.witness, new.witness
    return Outcome(
        points=put(best.points, new.points),
        loss=put(best.loss, new.loss),
        fooled=put(best.fooled, new.fooled),
        distance=put(best.distance, new.distance),
        attempt=put(best.attempt, torch.full_like(new.attempt, number)),
        forwards=best.forwards.index_add(0, live, new.forwards),
        backwards=best.backwards.index_add(0, live, new.backwards),
        witness=None if old is None or theirs is None else put(old, theirs),
    )
