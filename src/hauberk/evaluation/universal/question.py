"""The question of :func:`hauberk.universal`: one perturbation that fools a model on most inputs."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import ceil
from time import perf_counter
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor

from hauberk.attacks.pgd import PGD
from hauberk.engine.method import Method
from hauberk.engine.outcome import Outcome
from hauberk.errors import InputError
from hauberk.evaluation.core.prepare import Setting, box_of
from hauberk.evaluation.core.progress import Reporter
from hauberk.evaluation.core.question import Question
from hauberk.evaluation.core.recorded import RecordedAttack, attack_from, threat_from
from hauberk.evaluation.core.summary import cost, head, interval
from hauberk.evaluation.core.task import Block, Portion, Report, Search, Task, verdicts
from hauberk.evaluation.minmax.objectives import described, objective_from
from hauberk.evaluation.universal.result import Universal
from hauberk.evaluation.universal.stream import Stream, capped_margin, shuffled
from hauberk.objectives.combined import Combined
from hauberk.objectives.minmax import Average, Fixed
from hauberk.store.files import Columns
from hauberk.store.ledger import Store
from hauberk.threats.ball import Ball
from hauberk.threats.base import Threat
from hauberk.threats.shared import Shared
from hauberk.victims.memory import MEMORY_ERRORS, out_of_memory

STREAM = "stream-{:05d}"
"""Key of a part with a row for each of some steps, and where the perturbation stood after them."""


@dataclass(frozen=True)
class ForAll(Question[Universal]):
    """One perturbation for all images, made by minibatches, then added to each of them.

    Args:
        threat: an lp ball.
        epochs: times that every image is used; minibatch: images behind each step.
        attack: what steps; None for PGD with momentum.
        objective: how the losses of a minibatch become one; None for that of the attack.

    Example:
        >>> from hauberk import Linf
        >>> ForAll.of(ForAll(Linf(0.1), 2, 8).facts()).epochs
        2
    """

    kind = "universal"

    threat: Threat
    epochs: int = 5
    minibatch: int = 100
    attack: Method | None = None
    objective: Combined | None = None

    def __post_init__(self) -> None:
        for name in ("epochs", "minibatch"):
            if getattr(self, name) < 1:
                raise InputError(f"{name} is {getattr(self, name)}: give 1 or more")
        if not isinstance(self.threat, Ball):
            raise InputError(f"a universal perturbation lies in an lp ball, not in {self.threat}")
        fits = self.attack is None or isinstance(self.attack, PGD | RecordedAttack)
        if not fits or bool(getattr(self.attack, "targets", False)):
            raise InputError(
                f"attack is {self.attack!r}: a stream takes PGD or a relative, without targets"
            )
        if isinstance(self.objective, Fixed):
            raise InputError(
                "minibatches differ in size: give Average or MinMax, not Fixed weights"
            )

    def in_shards(self) -> None:
        raise InputError("a universal perturbation is made of all examples: leave shard out")

    def bind(self, setting: Setting) -> tuple[Self, Setting]:
        steps = self.epochs * ceil(len(setting.x) / self.minibatch)
        attack = self.attack
        if attack is None:
            # Few steps must be able to reach the edge of the ball.
            share = min(1.0, max(0.1, 2.5 / steps))
            attack = PGD(loss=capped_margin, step_share=share, momentum=0.9)
        if not isinstance(attack, PGD):
            raise InputError("the attack stands in the manifest as text only: give it to run it")
        own = attack.objective
        goal = self.objective or (own if isinstance(own, Combined) else Average(loss=own.loss))
        attack = replace(attack, steps=steps, random_start=False)
        return replace(self, attack=attack, objective=goal), setting

    def facts(self) -> dict[str, Any]:
        attack = None if self.attack is None else self.attack.describe()
        if attack is not None and isinstance(attack.get("loss"), Combined):
            attack["loss"] = described(attack["loss"])
        return {
            "threat": str(self.threat),
            "epochs": self.epochs,
            "minibatch": self.minibatch,
            "attack": attack,
            "objective": None if self.objective is None else described(self.objective),
        }

    @classmethod
    def of(cls, manifest: Mapping[str, Any], objects: Mapping[str, Any] = {}) -> Self:
        attack, objective = manifest["attack"], manifest["objective"]
        return cls(
            threat_from(manifest["threat"], objects), manifest["epochs"], manifest["minibatch"],
            objects.get("attack") or (None if attack is None else attack_from(attack)),
            objects.get("objective") or (None if objective is None else objective_from(objective)),
        )  # fmt: skip

    def parts(self) -> Any:
        return {"attack": self.attack, "objective": self.objective}

    def owns(self, key: str) -> bool:
        return key.startswith("stream-")

    def extra_weight(self, setting: Setting) -> float:
        return float(self.epochs * len(setting.x))

    def before(self, setting: Setting, store: Store, reporter: Reporter) -> None:
        assert isinstance(self.attack, PGD) and self.objective is not None  # noqa: PT018
        victim, n = setting.victim, len(setting.x)
        attack, shared = replace(self.attack, loss=self.objective), Shared(self.threat, clip=True)
        stream = Stream(attack, victim, shared, setting.box, setting.seed)
        orders = [shuffled(n, setting.seed, epoch) for epoch in range(self.epochs)]
        batches = [index for order in orders for index in order.split(self.minibatch)]
        each = max(1, store.manifest["block"] // self.minibatch)
        with victim.held(), self.objective.held(victim):
            for part, start in enumerate(range(0, len(batches), each)):
                key, end = STREAM.format(part), min(start + each, len(batches))
                if store.has(key):
                    stream.resume(store.tensors(key), end)
                    reporter.finish(float(sum(map(len, batches[start:end]))), "resumed")
                    continue
                rows = []
                for step in range(start, end):
                    rows.append(_step(stream, setting, step, batches[step]))
                    line = f"step {step + 1}, loss {rows[-1]['loss']:.3g}"
                    reporter.finish(float(len(batches[step])), line)
                columns = {name: [row[name] for row in rows] for name in rows[0]}
                store.write(key, columns, stream.tensors())

    def tasks(self, setting: Setting) -> Sequence["Apply"]:
        return [Apply("apply-{}", "universal", self.threat)]

    def summarise(self, store: Store) -> dict[str, Any]:
        clean, apply, steps = (store.rows(key) for key in ("clean-", "apply-", "stream-"))
        stands = ~apply["broken"].astype(bool)
        summary = head(store.manifest, clean, [apply])
        judged = summary["cost"]["judge_forwards"]
        return summary | {
            "cost": cost([clean, apply, steps], summary["n"] * store.manifest["draws"], judged),
            **{name: store.manifest[name] for name in ("threat", "epochs", "minibatch")},
            "accuracy": float(stands.mean()),
            "interval": interval(stands),
            "changed": float((apply["prediction"] != clean["prediction"]).mean()),
        }

    def result(self, store: Store, summary: dict[str, Any]) -> Universal:
        steps = store.rows("stream-")
        return Universal(
            delta=made(store), threat=Shared(self.threat, clip=True), box=box_of(store.manifest),
            losses=tuple(np.asarray(steps["loss"], dtype=float).tolist()),
            forwards=int(np.sum(steps["forwards"])), backwards=int(np.sum(steps["backwards"])),
            summary=summary, store=store,
        )  # fmt: skip


def _step(stream: Stream, setting: Setting, step: int, index: Tensor) -> dict[str, float]:
    """A step on the images ``index`` (M,); its row in the part."""
    victim, begun = setting.victim, perf_counter()
    forwards, backwards = victim.forwards, victim.backwards
    x, y = setting.x[index].to(victim.device), setting.y[index].to(victim.device)
    try:
        loss = float(stream.step(x, y))
    except MEMORY_ERRORS as error:
        if not out_of_memory(error):
            raise
        raise InputError(
            f"memory runs out with minibatches of {len(index)}: give a smaller minibatch; what was "
            "written down is kept"
        ) from error
    return {
        "id": step, "loss": loss, "forwards": victim.forwards - forwards,
        "backwards": victim.backwards - backwards, "seconds": perf_counter() - begun,
    }  # fmt: skip


def made(store: Store) -> Tensor:
    """The perturbation that a run made, ``(...)``: of the last part of its stream."""
    return store.tensors(store.keys("stream-")[-1])["delta"]


@dataclass(frozen=True)
class Apply(Task):
    """Adds the perturbation to every image, and has the judge look."""

    on_all = True

    def search(self, block: Block, index: Tensor, report: Report) -> Search:
        x = block.x[index]
        lo, hi = block.setting.box.bounds(x)
        points = torch.clamp(x + made(block.store).to(x), lo, hi)
        none = torch.zeros(len(x), dtype=torch.int64)
        yield index, Outcome(
            points=points, loss=torch.full((len(x),), torch.nan), fooled=none.bool(),
            distance=none.double(), attempt=none, forwards=none, backwards=none,
        )  # fmt: skip

    def columns(self, found: Sequence[Portion]) -> Columns:
        return {"prediction": verdicts(found, "prediction").astype(np.int64)}
