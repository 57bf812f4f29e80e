"""The question of :func:`hauberk.transfer`: which points of one model break which others?"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np
from torch import Tensor

from hauberk.engine.method import Method
from hauberk.evaluation.core.judge import DomainJudge, Judge
from hauberk.evaluation.core.prepare import Setting
from hauberk.evaluation.core.question import Question
from hauberk.evaluation.core.recorded import attack_from, threat_from
from hauberk.evaluation.core.task import Block, Portion, Report, Search, Task
from hauberk.evaluation.transfers.result import TransferReport, TransferReports
from hauberk.evaluation.transfers.summary import summarise
from hauberk.objectives.domains import Domain
from hauberk.store.files import Columns
from hauberk.store.ledger import Store
from hauberk.threats.base import Threat, Union
from hauberk.victims.ensembles import Vote
from hauberk.victims.victim import Victim


@dataclass(frozen=True)
class TransferTable(Question[TransferReport | TransferReports]):
    """Which points, crafted on one model, break which others.

    Args:
        threats: a point may use any of them; of ``several``, each is a case of its own.
        attacks: each gives a point for each example, model and threat.
        stop: whether crafting stops at the first point that fools its own model.
        several: whether each threat has its own accuracies.
        vote_attacks: what crafts on models that vote; ``attacks`` if empty.
        check: a further attack on every model, whose points count for nothing else: whether it
            breaks what the others do not.
        checked: on so many of the examples, the first ones.
    """

    kind = "transfer"

    threats: tuple[Threat, ...]
    attacks: tuple[Method, ...]
    stop: bool = False
    several: bool = False
    vote_attacks: tuple[Method, ...] = ()
    check: Method | None = None
    checked: int = 100

    def facts(self) -> dict[str, Any]:
        found: dict[str, Any] = {
            "threats": [str(threat) for threat in self.threats],
            "attacks": [attack.describe() for attack in self.attacks],
            "stop": self.stop,
        }
        if self.several:
            found["several"] = True
        if self.vote_attacks:
            found["vote_attacks"] = [attack.describe() for attack in self.vote_attacks]
        if self.check is not None:
            found |= {"check": self.check.describe(), "checked": self.checked}
        return found

    @classmethod
    def of(cls, manifest: Mapping[str, Any], objects: Mapping[str, Any] = {}) -> Self:
        attacks, votes = (
            tuple(attack_from(facts) for facts in manifest.get(name) or ())
            for name in ("attacks", "vote_attacks")
        )
        check = manifest.get("check")
        return cls(
            tuple(threat_from(name, objects) for name in manifest["threats"]),
            attacks,
            manifest["stop"],
            bool(manifest.get("several")),
            votes,
            None if check is None else attack_from(check),
            int(manifest.get("checked", 100)),
        )

    def parts(self) -> Any:
        own = {"attacks": self.attacks, "threats": self.threats}
        own |= {"vote_attacks": self.vote_attacks} if self.vote_attacks else {}
        return own | ({"check": self.check} if self.check is not None else {})

    @property
    def cases(self) -> tuple[Threat, ...]:
        """What has accuracies of its own: each threat, or the union of all."""
        return self.threats if self.several else (Union(*self.threats),)

    def jobs(self, votes: bool) -> list[tuple[Threat, Threat, Method]]:
        """What is crafted on a model: the case, the threat and the attack of each run, in order.

        Args:
            votes: whether the model is a majority vote.
        """
        attacks = self.vote_attacks if votes and self.vote_attacks else self.attacks
        return [
            (case, threat, attack)
            for case in self.cases
            for threat in case.parts
            for attack in attacks
        ]

    def tasks(self, setting: Setting) -> Sequence["Craft"]:
        made: list[Craft] = []
        for place, (source, victim) in enumerate(setting.victims.items()):
            for stream, (case, threat, attack) in enumerate(self.jobs(isinstance(victim, Vote))):
                made.append(
                    Craft(
                        f"craft-{{}}-{place:02d}-{stream:03d}", source, threat, victim=victim,
                        attack=attack, stream=stream, stop=self.stop, case=self.named(case),
                    )
                )  # fmt: skip
        if self.check is None:
            return made
        threats = [(case, threat) for case in self.cases for threat in case.parts]
        for place, (source, victim) in enumerate(setting.victims.items()):
            for number, (case, threat) in enumerate(threats):
                made.append(
                    Check(
                        f"check-{{}}-{place:02d}-{number:03d}", source, threat, victim=victim,
                        attack=self.check, stream=_CHECK + number, stop=True,
                        case=self.named(case), place=place, first=self.checked,
                    )
                )  # fmt: skip
        return made

    def named(self, case: Threat) -> str:
        """The name of a case in the ledger; none if there is only one."""
        return str(case) if self.several else ""

    def judge(self, setting: Setting) -> Judge:
        domains = [Domain(model=victim, name=name) for name, victim in setting.victims.items()]
        return DomainJudge(domains, setting.box, setting.seed)

    def summarise(self, store: Store) -> dict[str, Any]:
        check = None if self.check is None else (type(self.check).__name__, self.checked)
        found = summarise(store, [str(case) for case in self.cases], check)
        if self.several:
            return found
        ((threat, only),) = found["threats"].items()
        names = ("whitebox", "combined", "combined_interval", "broke")
        return found | {name: only[name] for name in names} | {"threat": threat}

    def result(self, store: Store, summary: dict[str, Any]) -> TransferReport | TransferReports:
        spent = store.rows("craft-")
        costs = {name: int(spent[name].sum()) for name in ("forwards", "backwards")}
        reports = {
            case: TransferReport(
                threat=case, clean=summary["clean"], whitebox=row["whitebox"],
                combined=row["combined"], broke=row["broke"], summary=summary, store=store, **costs,
            )
            for case, row in summary["threats"].items()
        }  # fmt: skip
        if self.several:
            return TransferReports(reports, summary, store)
        return next(iter(reports.values()))


@dataclass(frozen=True, kw_only=True)
class Craft(Task):
    """Points crafted on one model, by one attack under one threat.

    Args:
        victim: the model that they are crafted on; the task has its name.
        attack: what crafts them; stream: number of its random numbers.
        stop: whether it stops at the first point that fools.
        case: what its points count for, of several cases; empty if there is one.
    """

    keeps_all = on_all = True

    victim: Victim
    attack: Method
    stream: int
    stop: bool
    case: str = ""

    def method(self) -> Method:
        return self.attack

    def search(self, block: Block, index: Tensor, report: Report) -> Search:
        job = block.job(self.threat, index, report)
        yield index, self.attack.run(self.victim, replace(job, stop=self.stop, stream=self.stream))

    def columns(self, found: Sequence[Portion]) -> Columns:
        if not self.case:
            return {}
        return {"case": np.full(sum(len(f.index) for f in found), self.case)}


@dataclass(frozen=True, kw_only=True)
class Check(Craft):
    """The further attack on one model, on the first examples that the model gets right.

    Args:
        place: of the model among all.
        first: so many examples.
    """

    place: int
    first: int

    def due(self, block: Block) -> Tensor:
        right = ~block.clean.tensors["wrong"][:, 0, self.place].bool()
        right[max(0, self.first - block.start) :] = False
        return right.nonzero().squeeze(1)


_CHECK = 1 << 20
"""Streams of random numbers that no crafted point has."""
