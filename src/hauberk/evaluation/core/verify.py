"""Verification: a run of any kind, judged again from what lies on disk."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from hauberk.data.labelled import labelled
from hauberk.errors import InputError
from hauberk.evaluation.core.checks import Checks, Data, Point
from hauberk.evaluation.core.given import held_by
from hauberk.evaluation.core.identity import fingerprint
from hauberk.evaluation.core.prepare import Model, Setting, box_of
from hauberk.evaluation.core.question import Question
from hauberk.evaluation.core.run import originals
from hauberk.spec.arrays import given
from hauberk.store.ledger import Ledger
from hauberk.threats.base import Box
from hauberk.victims.alone import Alone
from hauberk.victims.averaged import Averaged
from hauberk.victims.threads import choose, tell
from hauberk.victims.victim import Victim

__all__ = ["Data", "Point", "Verification", "verify"]


@dataclass(frozen=True)
class Verification:
    """What became of a ledger's claims.

    Attributes:
        points: how many points the ledger calls broken.
        confirmed: how many of them break the model again.
        refuted: those that do not, each with the reason.
        unsettled: those within rounding of the boundary, then and now: another batch size or
            device decides them otherwise. They do not count against the run.
        problems: whatever else does not hold, one line each.
        finished: whether the run was finished; otherwise what is there was verified.

    Example:
        >>> print(Verification(points=3, confirmed=3))
        3 broken points: 3 confirmed, 0 refuted
    """

    points: int
    confirmed: int
    refuted: list[Point] = field(default_factory=list)
    unsettled: list[Point] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    finished: bool = True

    @property
    def ok(self) -> bool:
        """Whether nothing was refuted and nothing else is wrong."""
        return not self.refuted and not self.problems

    def __str__(self) -> str:
        lines = [f"{self.points} broken points: {self.confirmed} confirmed, "]
        lines[0] += f"{len(self.refuted)} refuted"
        if self.unsettled:
            lines[0] += f", {len(self.unsettled)} within rounding of the boundary"
        if not self.finished:
            lines.append("the run is unfinished: only what is there was verified")
        lines += [
            f"refuted: example {p.id}, {p.attack} under {p.threat}: {p.reason}"
            for p in self.refuted[:10]
        ]
        if len(self.refuted) > 10:
            lines.append(f"refuted: {len(self.refuted) - 10} more")
        lines += [f"problem: {problem}" for problem in self.problems]
        return "\n".join(lines)


def verify(
    path: str | Path,
    model: Model | Sequence[Model] | Mapping[str, Model],
    *,
    data: Data | None = None,
    batch_size: int | None = None,
    threads: int | None = None,
    objects: Mapping[str, Any] | None = None,
) -> Verification:
    """Open the ledger of a run, of whatever kind, and check every claim in it.

    Decides every clean input and judges every recorded point again, compares what the parts record
    with what was found, and what they add up to with ``summary.json``. Where something does not
    hold, the first problems name the models whose fingerprints are not those of the manifest.

    Args:
        path: the ledger's folder.
        model: the model of the run; of a run on several, all of them by name, or in its order.
        data: the data set or loader: checks as well that the ledger's clean inputs and labels are
            its own.
        batch_size: examples through the model at once; chosen if left out.
        threads: of the CPU; if left out, as in a run, or what the run had.
        objects: what a manifest cannot hold as text, by its name there: own distances, domains and
            transformations that are Python functions.

    Raises:
        InputError: if there is no ledger, or its manifest cannot be read or does not say what was
            asked; for other models than the run names.

    Example:
        >>> from tempfile import TemporaryDirectory
        >>> import hauberk as hb
        >>> net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(4, 2))
        >>> x = torch.rand(4, 1, 2, 2)
        >>> with TemporaryDirectory() as run:
        ...     _ = hb.evaluate(net, x, net(x).argmax(1), hb.Linf(0.1), suite="fast", out=run)
        ...     verify(run, net).ok
        True
    """
    ledger = Ledger.open(path)
    manifest, size = ledger.manifest, 0
    try:
        kind = Question.kinds.get(str(manifest["kind"]))
        if kind is None:
            raise ValueError(f"its kind is {manifest['kind']!r}")
        with given(held_by(ledger)):
            question = kind.of(manifest, objects or {})
        box, size = box_of(manifest), int(manifest["block"])
    except InputError:
        raise
    except (KeyError, TypeError, ValueError) as error:
        why = f"lacks {error}" if isinstance(error, KeyError) else str(error)
        raise InputError(
            f"{ledger.path / 'manifest.json'} does not say what was run ({why}): "
            "restore it from a copy"
        ) from error
    if data is not None and not hasattr(data, "ids"):
        data = labelled(data, None, box)
    victims = victims_of(manifest, model, batch_size)
    chosen = choose(list(victims.values()), torch.zeros(0), threads, manifest.get("threads"))
    with tell(chosen).used():
        setting = _setting(ledger, victims, box)
        question = question.recall(setting)
        checks = Checks(ledger, question, setting, data, size)
        checks.blocks()
        finished = checks.totals()
    if checks.problems or checks.refuted:
        checks.problems[:0] = other_models(manifest.get("models") or {}, victims)
    return Verification(
        points=checks.confirmed + len(checks.refuted) + len(checks.unsettled),
        confirmed=checks.confirmed,
        refuted=checks.refuted,
        unsettled=checks.unsettled,
        problems=list(dict.fromkeys(checks.problems)),
        finished=finished,
    )


def victims_of(
    manifest: Mapping[str, Any], model: Any, batch_size: int | None
) -> dict[str, Victim]:
    """The models as a run saw them: by name, and averaged over as many draws.

    Raises:
        InputError: for other models than the run names.
    """
    draws: Mapping[str, int] = manifest.get("model_draws") or {"model": 1}
    given = model if isinstance(model, Mapping) else None
    if given is None:
        several = list(model) if isinstance(model, list | tuple) else [model]
        if len(several) != len(draws):
            raise InputError(
                f"the run has {len(draws)} models ({', '.join(draws)}) and {len(several)} "
                f"{'is' if len(several) == 1 else 'are'} given: give each, by name or in this order"
            )
        given = dict(zip(draws, several, strict=True))
    if missing := [name for name in draws if name not in given]:
        raise InputError(f"the run has a model {missing[0]}: give {', '.join(draws)} by name")
    victims: dict[str, Victim] = {}
    for name, many in draws.items():
        victim = Victim.of(given[name], batch_size)
        if name in (manifest.get("alone") or ()) and type(victim) is Victim:
            victim = Alone(victim.model, batch_size)
        if many != victim.draws and type(victim) is Victim:
            victim = Averaged(victim.model, many, seed=manifest["seed"], batch_size=batch_size)
        victims[name] = victim
    return victims


def other_models(recorded: Mapping[str, Any], victims: Mapping[str, Victim]) -> list[str]:
    """A line on each model that has another fingerprint than the recorded one of its name."""
    found = []
    for name, victim in victims.items():
        there = recorded.get(name) or {}
        here = fingerprint(victim, there.get("varies") or ())
        if other := [
            what
            for what in ("architecture", "weights")
            if there.get(what, here[what]) != here[what]
        ]:
            found.append(
                f"the {' and '.join(other)} of model {name} differ from the run's: give the model "
                "that was run"
            )
    return found


def _setting(ledger: Ledger, victims: dict[str, Victim], box: Box) -> Setting:
    """The setting of the run, with the first examples of the ledger that can be read."""
    x = torch.zeros(0)
    y = ids = torch.zeros(0, dtype=torch.int64)
    for key in ledger.keys("clean-"):
        try:
            x, y, ids = originals(ledger, key)
            break
        except (InputError, KeyError):
            continue
    classes = 2
    if len(x):
        few = x[:1] if y.dim() == 1 else x[0, :1]
        victim = next(iter(victims.values()))
        with victim.held():
            classes = victim.predict(few).shape[1]
    return Setting(victims, x, y, ids, box, int(ledger.manifest["seed"]), classes=classes)
