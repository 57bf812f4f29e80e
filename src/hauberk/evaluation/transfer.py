"""Points of one model tried on another: a model that only hides its gradient falls to them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Self, Unpack

import numpy as np
import torch
from torch import Tensor

from hauberk.engine.method import Method
from hauberk.errors import InputError
from hauberk.evaluation.core.judge import DomainJudge, Judge
from hauberk.evaluation.core.options import RunFields, RunOptions, with_run_options
from hauberk.evaluation.core.prepare import Model, Setting
from hauberk.evaluation.core.question import Question
from hauberk.evaluation.core.recorded import attack_from, threat_from
from hauberk.evaluation.core.run import run as ask
from hauberk.evaluation.core.summary import RunResult, head, interval
from hauberk.evaluation.core.task import Block, Report, Search, Task
from hauberk.objectives.domains import Domain
from hauberk.report.tables.transfer import table
from hauberk.store.ledger import Store, places
from hauberk.threats.base import Threat, Union
from hauberk.victims.victim import Victim


@dataclass(frozen=True)
class TransferReport(RunResult):
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

    Example:
        >>> one = {"net": 0.5}
        >>> TransferReport("l2:1", {"net": 0.9}, one, one, {"net": {"net": 0.4}}, 60, 50).gap
        {'net': 0.0}
    """

    threat: str
    clean: dict[str, float]
    whitebox: dict[str, float]
    combined: dict[str, float]
    broke: dict[str, dict[str, float]]
    forwards: int
    backwards: int
    summary: dict[str, Any] = field(default_factory=dict, repr=False, compare=False)
    store: Store | None = field(default=None, repr=False, compare=False)

    @property
    def gap(self) -> dict[str, float]:
        """TransferGap, white-box less combined accuracy, per model; large if gradients mislead."""
        return {name: self.whitebox[name] - self.combined[name] for name in self.clean}

    def table(self) -> str:
        """The report as text (:func:`hauberk.report.tables.transfer.table`)."""
        names = ("threat", "clean", "whitebox", "combined", "broke", "gap")
        return table({name: getattr(self, name) for name in names})

    def __str__(self) -> str:
        return self.table()


@with_run_options
def transfer(
    models: Mapping[str, Model],
    images: Tensor,
    labels: Tensor,
    threat: Threat,
    attack: Method | Sequence[Method],
    *,
    stop: bool = False,
    **run: Unpack[RunFields],
) -> TransferReport:
    """Craft points on every model, and judge them on every model.

    For several radii: ``[transfer(models, x, y, Linf(eps), attack) for eps in (0.1, 0.2, 0.3)]``.

    Args:
        models: names and models of the same inputs and classes.
        images: ``(N, ...)``, floats in the box.
        labels: ``(N,)`` integer classes.
        threat: what points may do; under a union a point may use any of its parts.
        attack: one or several (the paper has half with ``ce``, half with ``cw``). An attack gives
            one point per example and model, its best: give restarts as attacks of their own for
            all their points to be tried.
        stop: whether crafting stops at the first point that fools its own model; by default it
            goes on to the largest loss, which transfers better.
        run: the options of every run, see :class:`~hauberk.evaluation.core.options.RunOptions`.

    Raises:
        InputError: for bad input, no model or no attack.

    Example:
        >>> from hauberk import Linf
        >>> from hauberk.attacks import FGSM
        >>> nets = {n: torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(4, 2)) for n in "ab"}
        >>> x = torch.rand(4, 1, 2, 2)
        >>> found = transfer(nets, x, nets["a"](x).argmax(1), Linf(0.1), FGSM())
        >>> found.clean["a"]
        1.0
    """
    attacks = (attack,) if isinstance(attack, Method) else tuple(attack)
    if not attacks or not all(isinstance(one, Method) for one in attacks):
        raise InputError("give at least one attack, e.g. PGD(loss='ce', steps=100)")
    if not models:
        raise InputError("give at least one model: a dictionary of names and models")
    question = TransferTable(threat.parts, attacks, stop)
    return ask(question, dict(models), images, labels, RunOptions(**run))


@dataclass(frozen=True)
class TransferTable(Question[TransferReport]):
    """Which points, crafted on one model, break which others.

    Args:
        threats: a point may use any of them.
        attacks: each gives a point for each example, model and threat.
        stop: whether crafting stops at the first point that fools its own model.
    """

    kind = "transfer"

    threats: tuple[Threat, ...]
    attacks: tuple[Method, ...]
    stop: bool = False

    def facts(self) -> dict[str, Any]:
        return {
            "threats": [str(threat) for threat in self.threats],
            "attacks": [attack.describe() for attack in self.attacks],
            "stop": self.stop,
        }

    @classmethod
    def of(cls, manifest: Mapping[str, Any], objects: Mapping[str, Any] = {}) -> Self:
        threats = tuple(threat_from(name, objects) for name in manifest["threats"])
        attacks = tuple(attack_from(facts) for facts in manifest["attacks"])
        return cls(threats, attacks, manifest["stop"])

    def parts(self) -> Any:
        return {"attacks": self.attacks, "threats": self.threats}

    def tasks(self, setting: Setting) -> Sequence["Craft"]:
        jobs = [(threat, attack) for threat in self.threats for attack in self.attacks]
        return [
            Craft(
                f"craft-{{}}-{place:02d}-{stream:03d}", source, threat, victim=victim,
                attack=attack, stream=stream, stop=self.stop,
            )
            for place, (source, victim) in enumerate(setting.victims.items())
            for stream, (threat, attack) in enumerate(jobs)
        ]  # fmt: skip

    def judge(self, setting: Setting) -> Judge:
        domains = [Domain(model=victim, name=name) for name, victim in setting.victims.items()]
        return DomainJudge(domains, setting.box, setting.seed)

    def summarise(self, store: Store) -> dict[str, Any]:
        clean, points = store.rows("clean-"), store.rows("craft-")
        names = list(store.manifest["model_draws"])
        wrong = [store.tensors(key)["wrong"][:, 0] for key in store.keys("clean-")]
        right = ~torch.cat(wrong).bool().numpy()
        fell = {source: np.zeros_like(right) for source in names}
        for key in store.keys("craft-"):
            part = store.part(key)
            broke = store.tensors(key)["wrong"][:, 0].bool().numpy()
            at = places(clean["id"], part["id"])
            fell[str(part["task"][0])][at] |= broke & right[at]
        own = np.stack([right[:, k] & ~fell[name][:, k] for k, name in enumerate(names)], 1)
        both = right & ~np.stack(list(fell.values())).any(0)
        shares = {"clean": right, "whitebox": own, "combined": both}
        return head(store.manifest, clean, [points]) | {
            **{name: _shares(rows, names) for name, rows in shares.items()},
            "combined_interval": {name: interval(both[:, k]) for k, name in enumerate(names)},
            "broke": {source: _shares(rows, names) for source, rows in fell.items()},
            "threat": str(Union(*self.threats)),
        }

    def result(self, store: Store, summary: dict[str, Any]) -> TransferReport:
        spent = store.rows("craft-")
        names = ("threat", "clean", "whitebox", "combined", "broke")
        return TransferReport(
            **{name: summary[name] for name in names},
            forwards=int(spent["forwards"].sum()), backwards=int(spent["backwards"].sum()),
            summary=summary, store=store,
        )  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Craft(Task):
    """Points crafted on one model, by one attack under one threat.

    Args:
        victim: the model that they are crafted on; the task has its name.
        attack: what crafts them; stream: number of its random numbers.
        stop: whether it stops at the first point that fools.
    """

    keeps_all = on_all = True

    victim: Victim
    attack: Method
    stream: int
    stop: bool

    def method(self) -> Method:
        return self.attack

    def search(self, block: Block, index: Tensor, report: Report) -> Search:
        job = block.job(self.threat, index, report)
        yield index, self.attack.run(self.victim, replace(job, stop=self.stop, stream=self.stream))


def _shares(mask: Any, names: Sequence[str]) -> dict[str, float]:
    """Share of True in each column of ``(N, K)``, by the names of the columns."""
    shares = [int(column.sum()) / max(1, len(mask)) for column in mask.T]
    return dict(zip(names, shares, strict=True))
