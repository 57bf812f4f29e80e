"""A new kind of run in one short file: accuracy under noise of given strengths."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from hauberk.engine.outcome import Outcome
from hauberk.evaluation.core.options import RunOptions
from hauberk.evaluation.core.question import Question
from hauberk.evaluation.core.run import run
from hauberk.evaluation.core.summary import RunResult, head
from hauberk.evaluation.core.task import Task
from hauberk.maths.rng import Draws
from hauberk.threats import Linf


@dataclass
class Corrupted(RunResult):
    summary: dict[str, Any]
    store: Any

    @property
    def accuracy(self) -> Mapping[str, float]:
        return self.summary["accuracy"]


@dataclass(frozen=True)
class UnderNoise(Question[Corrupted]):
    """Accuracy under uniform noise of each of several strengths."""

    kind = "noise"

    strengths: tuple[float, ...]

    def facts(self) -> dict[str, Any]:
        return {"strengths": list(self.strengths)}

    @classmethod
    def of(cls, manifest, objects={}):  # noqa: B006
        return cls(tuple(manifest["strengths"]))

    def tasks(self, setting) -> Sequence[Task]:
        return [
            Shake(f"noise-{{}}-{k}", "noise", Linf(size)) for k, size in enumerate(self.strengths)
        ]

    def summarise(self, store) -> dict[str, Any]:
        clean, rows = store.rows("clean-"), store.rows("noise-")
        broken = {str(Linf(s)): rows["broken"][rows["threat"] == str(Linf(s))].sum()
                  for s in self.strengths}  # fmt: skip
        accuracy = {k: float(clean["correct"].sum() - b) / len(clean["id"])
                    for k, b in broken.items()}  # fmt: skip
        return head(store.manifest, clean, [rows]) | {"accuracy": accuracy}

    def result(self, store, summary) -> Corrupted:
        return Corrupted(summary, store)


class Shake(Task):
    def search(self, block, index, report):
        x, none = block.x[index], torch.zeros(len(index), dtype=torch.int64)
        draws = Draws.of(block.setting.seed, block.ids[index])
        noise = (2 * draws.uniform(0, x.shape[1:], x.dtype) - 1) * self.threat.eps
        points = self.threat.at(x, block.setting.box).project_((x + noise).clamp(0, 1))
        yield index, Outcome(
            points=points, loss=none.double(), fooled=none.bool(), distance=none.double(),
            attempt=none, forwards=none + 1, backwards=none,
        )  # fmt: skip


def under_noise(model, images, labels, strengths, **options) -> Corrupted:
    question = UnderNoise(tuple(strengths))
    return run(question, {"model": model}, images, labels, RunOptions(**options))
