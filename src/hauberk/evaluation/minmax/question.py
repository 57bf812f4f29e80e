"""The question of :func:`hauberk.minmax`: can one perturbation fool several domains at once?"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, Self

import numpy as np
import torch
from torch import Tensor

from hauberk.attacks.msd import MultiSteepestDescent
from hauberk.data.examples import Picked
from hauberk.engine.method import Method
from hauberk.errors import InputError
from hauberk.evaluation.core.bound import of_models
from hauberk.evaluation.core.judge import DomainJudge, Judge
from hauberk.evaluation.core.prepare import Setting
from hauberk.evaluation.core.question import Question
from hauberk.evaluation.core.recorded import attack_from, threat_from
from hauberk.evaluation.core.task import Block, Portion, Report, Search, Task, outcomes
from hauberk.evaluation.minmax.domains import domains_of, recorded_domains
from hauberk.evaluation.minmax.groups import groups
from hauberk.evaluation.minmax.objectives import chosen, described, objective_from, with_loss
from hauberk.evaluation.minmax.result import MinMaxResult, result_of, summarise
from hauberk.maths.seeding import seeded
from hauberk.objectives.combined import Combined
from hauberk.objectives.domains import Domain
from hauberk.objectives.minmax import Average, MinMax
from hauberk.store.files import Columns
from hauberk.store.ledger import Store
from hauberk.threats.base import Threat, Union
from hauberk.threats.each import Each
from hauberk.threats.shared import Shared
from hauberk.threats.union import Whole

OBJECTIVE = "objective-{}-"
"""What the keys of an objective's parts begin with."""


@dataclass(frozen=True)
class OnePerturbation(Question[MinMaxResult]):
    """One perturbation against all of several domains, for each objective.

    Args:
        threat: what the perturbation may be.
        attack: what searches, on a plain loss that the objectives combine.
        transforms: every model stands behind each of them.
        domains: further domains.
        group: images that share one perturbation; None for one each. With ``by_class``, groups are
            of one class.
        gamma, beta: of the default objectives.
        objectives: what to compare, by name; None for the average and min-max.
        draws: passes over which the loss of a random transformation is averaged.
        judge_draws: of random transformations, by which the judge decides.
        stop: leave an example when all domains are fooled; None leaves it to the domains.
        every: the domains of a bound question, models and all.
        index: places of the examples in the data, ``(B,)`` or ``(B, M)``.
        names: of the domains, as a manifest records them.
    """

    kind = "minmax"
    block: ClassVar[int] = 200

    threat: Threat
    attack: Method
    transforms: Sequence[Callable[..., Tensor]] = ()
    domains: Sequence[Domain] = ()
    group: int | None = None
    by_class: bool = False
    gamma: float = 3.0
    beta: float = 1 / 50
    objectives: Mapping[str, Combined] | None = None
    draws: int = 1
    judge_draws: int = 10
    stop: bool | None = None
    every: Sequence[Domain] = field(default=(), repr=False)
    index: Tensor | None = field(default=None, repr=False, compare=False)
    names: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.group is not None and not isinstance(self.group, int):
            raise InputError(f"group is {self.group!r}: give the number of images in each group")
        for name in ("draws", "judge_draws", "group"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise InputError(f"{name} is {value}: give 1 or more")
        if self.by_class and self.group is None:
            raise InputError("by_class makes groups of one class: give group=, the images in each")
        if isinstance(self.loss, Combined):
            raise InputError("the attack's loss combines domains already: give it a plain loss")
        if self.objectives is None:
            MinMax(gamma=self.gamma, beta=self.beta)  # refuses other numbers
        bound_to(self.threat, self.attack, self.group)  # refuses what does not go together

    @property
    def loss(self) -> Any:
        """The attack's own loss, which the objectives combine."""
        return getattr(self.attack, "loss", None)

    @property
    def members(self) -> tuple[Threat, ...]:
        """The threats that each have a perturbation of their own; none without several."""
        return self.threat.parts if isinstance(self.threat, Each) else ()

    def facts(self) -> dict[str, Any]:
        parts = (self.threat.threat if isinstance(self.threat, Shared) else self.threat).parts
        return {
            "threat": str(self.threat),
            "threats": [str(part) for part in parts],
            "clip": isinstance(self.threat, Shared) and self.threat.clip,
            "members": [str(part) for part in self.members],
            "parts": list(self.names),
            "transforms": [str(Domain(transform=t)) for t in self.transforms],
            "domains": [str(domain) for domain in self.domains],
            "group": self.group,
            "by_class": self.by_class,
            "attack": self.attack.describe(),
            "objectives": {name: described(o) for name, o in (self.objectives or {}).items()},
            "draws_of_transforms": self.draws,
            "judge_draws": self.judge_draws,
            "stop": self.stop,
        }

    @classmethod
    def of(cls, manifest: Mapping[str, Any], objects: Mapping[str, Any] = {}) -> Self:
        attack = objects.get("attack") or attack_from(manifest["attack"])
        parts = [threat_from(name, objects) for name in manifest["threats"]]
        threat: Threat = parts[0] if len(parts) == 1 else Whole(Union(*parts))
        if manifest["members"]:
            threat = Each(*parts)
        elif manifest["group"] is not None:
            threat = Shared(threat, clip=manifest["clip"])
        transforms, domains = recorded_domains(manifest, objects)
        return cls(
            threat, attack, transforms, domains, manifest["group"], manifest["by_class"],
            objectives={
                name: objects.get(name) or objective_from(facts)
                for name, facts in manifest["objectives"].items()
            },
            draws=manifest["draws_of_transforms"], judge_draws=manifest["judge_draws"],
            stop=manifest["stop"], names=tuple(manifest["parts"]),
        )  # fmt: skip

    def bind(self, setting: Setting) -> tuple[Self, Setting]:
        bound = self.recall(setting)
        threat = bound_to(bound.threat, self.attack, self.group)
        stop = bound.stop
        if stop is None:
            stop = not any(domain.varies for domain in bound.every)
        objectives = self.objectives
        if objectives is None:
            toward: Any = "strong" if isinstance(threat, Each) else "hard"
            plain: dict[str, Any] = {"toward": toward, "loss": self.loss}
            objectives = {
                "average": Average(bound.every, **plain),
                "minmax": MinMax(bound.every, self.gamma, self.beta, **plain),
            }
        else:
            objectives = chosen(objectives, self.attack, bound.every, threat, self.group)
        index = torch.arange(len(setting.x))
        if self.group is not None:
            index = groups(setting.y, self.group, self.by_class)
            x = Picked(setting.x, index)
            setting = replace(setting, x=x, y=setting.y[index], ids=setting.ids[index])
        bound = replace(bound, threat=threat, stop=stop, objectives=objectives, index=index)
        return bound, setting

    def recall(self, setting: Setting) -> Self:
        few = setting.few(2)
        every = domains_of(setting.victims, self.transforms, self.domains, few, self.draws)
        names = tuple(str(domain) for domain in every)
        threat = of_models(self.threat, setting.victims)
        return replace(self, threat=threat, every=every, names=names)

    def parts(self) -> Any:
        return {
            "domains": self.every, "objectives": self.objectives, "attack": self.attack,
            "threat": self.threat,
        }  # fmt: skip

    def tasks(self, setting: Setting) -> Sequence["AgainstAll"]:
        return [
            AgainstAll(
                OBJECTIVE.format(name) + "{}", name, self.threat, attack=self.attack,
                objective=objective, stop=bool(self.stop), domains=tuple(self.every),
            )
            for name, objective in (self.objectives or {}).items()
        ]  # fmt: skip

    def judge(self, setting: Setting) -> Judge:
        return DomainJudge(
            self.every, setting.box, setting.seed, self.judge_draws, each=len(self.members)
        )

    def summarise(self, store: Store) -> dict[str, Any]:
        return summarise(self._answer(store), store)

    def result(self, store: Store, summary: dict[str, Any]) -> MinMaxResult:
        return replace(self._answer(store), summary=summary)

    def _answer(self, store: Store) -> MinMaxResult:
        index, size = self.index, int(store.manifest["block"])
        if index is not None:  # of the blocks that are there: a shard has not all
            numbers = [int(key.rpartition("-")[2]) for key in store.keys("clean-")]
            index = torch.cat([index[k * size : (k + 1) * size] for k in numbers])
        return result_of(store, list(self.objectives or ()), index)


@dataclass(frozen=True, kw_only=True)
class AgainstAll(Task):
    """An attack with the losses of all domains combined by one objective.

    Args:
        attack: what searches; its loss becomes the objective.
        objective: what the domains' losses become.
        stop: leave an example when all domains are fooled.
        domains: for the victim of the first.
    """

    keeps_all = on_all = True

    attack: Method
    objective: Combined
    stop: bool
    domains: tuple[Domain, ...]

    @property
    def label(self) -> str:
        return self.name

    def method(self) -> Method:
        return with_loss(self.attack, self.objective)

    def search(self, block: Block, index: Tensor, report: Report) -> Search:
        setting = block.setting
        victim: Any = self.domains[0].model
        # Seeded for transforms that draw from torch's generators.
        with seeded(setting.seed, victim.device):
            job = replace(block.job(self.threat, index, report), stop=self.stop)
            found = self.method().run(victim, job)
        yield index, found

    def columns(self, found: Sequence[Portion]) -> Columns:
        return {
            "allowed": np.concatenate([f.verdict.allowed.cpu().numpy() for f in found]),
            "loss": outcomes(found, "loss", np.float64),
        }

    def tensors(self, found: Sequence[Portion]) -> dict[str, Tensor]:
        tensors = {}
        for name in ("weights", "path"):
            values = [getattr(f.outcome, name) for f in found]
            if all(value is not None for value in values):
                tensors[name] = torch.cat([value.cpu() for value in values]).contiguous()
        return tensors

    def fits(self, points: Tensor, x: Tensor) -> bool:
        lead = 1 if isinstance(self.threat, Each) else 0
        return points.shape[1 + lead :] == x.shape[1:]


def bound_to(threat: Threat, attack: Method, group: int | None) -> Threat:
    """The threat as the attack meets it: shared in a group, each of several, or a whole union.

    Raises:
        InputError: if threat and groups do not go together.
    """
    if isinstance(threat, Shared) and group is None:
        raise InputError(f"{threat} needs groups: give group=, the number of images in each")
    if group is not None:
        if getattr(attack, "targets", 0):
            raise InputError("a perturbation that a group shares takes no targets: leave them out")
        if isinstance(attack, MultiSteepestDescent):
            raise InputError("a group shares a perturbation in one ball: give another attack")
        return threat if isinstance(threat, Shared) else Shared(threat)
    if isinstance(threat, Each | Whole) or len(threat.parts) == 1:
        return threat
    return Whole(threat) if isinstance(attack, MultiSteepestDescent) else Each(*threat.parts)
