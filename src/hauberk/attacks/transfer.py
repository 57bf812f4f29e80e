"""Points of other models, tried on the victim: it falls to them if it only hides its gradient."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor, nn

from hauberk.engine.method import Job, Kind, Method
from hauberk.engine.outcome import Outcome
from hauberk.errors import InputError
from hauberk.objectives.base import Objective
from hauberk.victims.memory import MEMORY_ERRORS
from hauberk.victims.victim import Victim

Model = nn.Module | Victim


@dataclass(frozen=True, kw_only=True)
class Transfer(Method):
    """Points crafted on other models, then tried on the victim, whose gradient is not used.

    The attack runs on each source in turn, and the victim is evaluated once at the points it found.
    With ``stop=True``, examples that the victim then gets wrong go to no further source; else the
    point of the victim's largest ``loss`` is kept. The outcome counts the passes of sources and
    victim together; its ``attempt`` is the source's number. Source: Ding et al. 2020, appendix D.

    Args:
        sources: models, or names and models, of the same inputs and classes; on any device.
        attack: what crafts the points; its own loss is the sources'.
        loss: untargeted, of the victim.
        persist: whether crafting goes on, on a source that is fooled already, to the largest loss:
            it costs more, and such points transfer better.

    Example:
        >>> from hauberk.attacks import PGD
        >>> from hauberk.threats import Linf
        >>> source, victim = torch.nn.Linear(2, 2), torch.nn.Linear(2, 2)
        >>> x, y = torch.full((3, 2), 0.5), torch.zeros(3, dtype=torch.long)
        >>> outcome = Transfer(sources=[source], attack=PGD(steps=2))(victim, x, y, Linf(0.1))
        >>> outcome.forwards  # three of PGD on the source, one of the victim
        tensor([4, 4, 4])
    """

    kind = Kind.TRANSFER

    sources: Sequence[Model] | Mapping[str, Model] = field(hash=False)
    attack: Method
    loss: Any = "margin"
    persist: bool = True

    def __post_init__(self) -> None:
        if not self._sources:
            raise InputError("Transfer needs at least one source model")
        if not isinstance(self.attack, Method):
            raise InputError("Transfer needs an attack to craft with, e.g. attack=APGD(steps=100)")
        _ = self._objective  # refuses an unknown loss now, not when it runs

    @property
    def _objective(self) -> Objective:
        return self.loss if isinstance(self.loss, Objective) else Objective(self.loss)

    @property
    def _sources(self) -> list[tuple[str, Model]]:
        if isinstance(self.sources, Mapping):
            return list(self.sources.items())
        return [(type(Victim.of(source).model).__name__, source) for source in self.sources]

    @property
    def passes(self) -> int:
        aims = int(getattr(self.attack, "targets", 0))
        # With targets, each source is evaluated once more, to rank its classes.
        each = self.attack.attempts(aims + 1) * self.attack.passes + (1 if aims else 0)
        return len(self._sources) * (each + self._objective.samples)

    def check(self, job: Job) -> None:
        self.attack.check(job)

    def describe(self) -> dict[str, Any]:
        """Name, sources by name, and how the attack on them is set."""
        return {
            "attack": type(self).__name__,
            "kind": str(self.kind),
            "sources": [name for name, _ in self._sources],
            "crafted": self.attack.describe(),
            "loss": self.loss,
            "persist": self.persist,
        }

    def run(self, victim: Victim, job: Job) -> Outcome:
        """Craft on every source, then evaluate on the victim."""
        best: Outcome | None = None
        live = torch.arange(len(job))
        sources = self._sources
        # The clean logits are the victim's: the sources rank the classes by their own.
        job = replace(job, clean_logits=None, targets=None)
        crafted = replace(job, stop=job.stop and not self.persist, progress=None)
        for number, (_, source) in enumerate(sources):
            part = replace(crafted.take(live), stream=job.stream + (number << 40))
            found = self.attack.run(Victim.of(source), part)
            seen = self._evaluated(victim, found, part.y)
            best = seen if best is None else _merge(best, seen, live, number, job.stop)
            if job.stop:
                live = (~best.fooled).nonzero().squeeze(1).cpu()
            if job.progress is not None:
                job.progress((number + 1) * len(job), len(sources) * len(job))
        assert best is not None
        return best

    def _evaluated(self, victim: Victim, found: Outcome, y: Tensor) -> Outcome:
        """The outcome as the victim sees it: its loss and decision, one evaluation more."""
        objective, device, start = self._objective, victim.device, 0
        points, y = found.points.to(device), y.to(device)
        size = max(1, victim.batch_size(points[:1]) // objective.samples) if len(points) else 1
        losses, fooled = [found.loss[:0].to(device)], [found.fooled[:0].to(device)]
        victim.top_label = int(y.max()) if len(y) else 0
        try:
            with victim.held(), torch.no_grad():
                while start < len(points):
                    part = slice(start, start + size)
                    try:
                        seen = objective(victim, points[part], y[part], None, None)
                    except MEMORY_ERRORS as error:
                        size = victim.shrink(error, size)
                        continue
                    losses.append(seen.loss.to(found.loss.dtype))
                    fooled.append(seen.fooled)
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
            violation=None if found.violation is None else found.violation.to(device),
        )


def _merge(best: Outcome, new: Outcome, live: Tensor, number: int, stop: bool) -> Outcome:
    """``best`` with the rows ``live`` replaced where ``new`` is better; passes add up."""
    at = live.to(best.points.device)
    gain = new.loss.nan_to_num(nan=torch.inf) > best.loss[at].nan_to_num(nan=torch.inf)
    better = new.fooled | gain if stop else gain

    def put(old: Tensor, rows: Tensor) -> Tensor:
        return old.index_copy(0, at[better], rows[better].to(old))

    def both(old: Tensor | None, theirs: Tensor | None) -> Tensor | None:
        return None if old is None or theirs is None else put(old, theirs)

    return Outcome(
        points=put(best.points, new.points),
        loss=put(best.loss, new.loss),
        fooled=put(best.fooled, new.fooled),
        distance=put(best.distance, new.distance),
        attempt=put(best.attempt, torch.full_like(new.attempt, number)),
        forwards=best.forwards.index_add(0, live, new.forwards),
        backwards=best.backwards.index_add(0, live, new.backwards),
        witness=both(best.witness, new.witness),
        violation=both(best.violation, new.violation),
    )
