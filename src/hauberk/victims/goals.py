"""What an adversary wants of the model besides a wrong class: one class, or a confident mistake.

A goal shows an attack other logits: of those, the label is wrong exactly where the goal is reached.
So losses, targets, solvers and the judge need not know of goals.
"""

import re
from abc import ABC, abstractmethod
from dataclasses import dataclass
from math import log
from typing import Any

import torch
from torch import Tensor

from hauberk.errors import InputError
from hauberk.spec.arrays import Array
from hauberk.spec.numbers import number

GRAMMAR = "target=CLASS, target=FILE (a class for each example) or confident:SHARE, e.g. 0.9"


class Goal(ABC):
    """What counts as success; without one, that the model decides for a wrong class.

    Example:
        >>> str(Goal.of("target=3")), str(Goal.of("confident:0.9"))
        ('target=3', 'confident:0.9')
    """

    @staticmethod
    def of(given: "Goal | str") -> "Goal":
        """A goal as it is, or from its notation.

        Raises:
            InputError: for text that is no goal.
        """
        if isinstance(given, Goal):
            return given
        word, mark, value = str(given).strip().partition("=")
        if word.strip().lower() == "target" and mark and value.strip():
            value = value.strip()
            return Toward(int(value) if re.fullmatch(r"\d+", value) else value)
        word, _, value = str(given).strip().lower().partition(":")
        share = number(value)
        if word != "confident" or share is None:
            raise InputError(f"unknown goal '{given}': write {GRAMMAR}")
        return Confident(share)

    @property
    def arrays(self) -> list[Array]:
        """Arrays that it names."""
        return []

    @abstractmethod
    def aims(self, y: Tensor, ids: Tensor) -> Tensor:
        """What attacks and judge take for the labels, ``(B,)``, of labels and ids ``(B,)``."""

    @abstractmethod
    def seen(self, logits: Tensor, aims: Tensor) -> tuple[Tensor, Tensor]:
        """Other logits ``(B, K)`` and labels ``(B,)``, wrong exactly where the goal is reached."""

    def bound(self, ids: Tensor) -> "Goal":
        """The goal for the examples of these ids, in the order of a run.

        Raises:
            InputError: if it does not say what it is for each.
        """
        return self

    def check(self, classes: int) -> None:
        """Refuse a goal that a model of so many classes cannot meet.

        Raises:
            InputError: for one.
        """
        return


@dataclass(frozen=True, eq=False)
class Toward(Goal):
    """The model decides for one class, the target; a tie with it counts, an output of NaN does not.

    Args:
        target: a class; or one for each example of a run, in their order: a tensor, an array, a
            list, or a file of one.

    Example:
        >>> goal = Toward(2)
        >>> logits, label = goal.seen(torch.tensor([[1.0, 4.0, 3.0]]), torch.tensor([2]))
        >>> logits, label  # the largest other, and the target's
        (tensor([[4., 3.]]), tensor([0]))
    """

    target: Any

    def __post_init__(self) -> None:
        if isinstance(self.target, Tensor) and self.target.dim() == 0:
            object.__setattr__(self, "target", int(self.target))
        if not isinstance(self.target, int):
            array = Array.of(self.target)
            if bool((array.value != array.value.long()).any()):
                raise InputError(f"target={array.name} holds numbers that are no classes")
            object.__setattr__(self, "target", array)
        if (self.target if isinstance(self.target, int) else int(self.target.value.min())) < 0:
            raise InputError("the target is a negative class: classes are numbered from 0")

    def __str__(self) -> str:
        return f"target={self.target.name if isinstance(self.target, Array) else self.target}"

    @property
    def arrays(self) -> list[Array]:
        return [self.target] if isinstance(self.target, Array) else []

    def aims(self, y: Tensor, ids: Tensor) -> Tensor:
        if isinstance(self.target, int):
            return torch.full_like(y, self.target)
        table = self.target.value.to(ids.device).long()
        if table.dim() == 1:
            table = torch.stack((torch.arange(len(table), device=ids.device), table), 1)
        table = table[table[:, 0].argsort()]
        names = table[:, 0].contiguous()
        at = torch.searchsorted(names, ids.contiguous()).clamp(max=len(names) - 1)
        if bool((names[at] != ids).any()):
            raise InputError(f"{self} has no class for example {int(ids[names[at] != ids][0])}")
        found: Tensor = table[at, 1].to(y)
        return found

    def bound(self, ids: Tensor) -> "Toward":
        if isinstance(self.target, int) or self.target.value.dim() == 2:
            return self
        value = self.target.value.long()
        if value.dim() != 1 or len(value) != len(ids):
            raise InputError(
                f"{self} has shape {tuple(value.shape)} for {len(ids)} examples: give a class for "
                "each, in their order"
            )
        return Toward(Array(self.target.name, torch.stack((ids.cpu(), value), 1)))

    def check(self, classes: int) -> None:
        classes_of = self.target if isinstance(self.target, int) else self.target.value
        most = int(classes_of if isinstance(classes_of, int) else classes_of[..., -1].max())
        if most >= classes:
            raise InputError(
                f"the target is class {most} but the model has classes 0 to {classes - 1}"
            )

    def seen(self, logits: Tensor, aims: Tensor) -> tuple[Tensor, Tensor]:
        own = aims.unsqueeze(1)
        others = logits.scatter(1, own, -torch.inf).amax(1)
        pair = torch.stack((others, logits.gather(1, own).squeeze(1)), 1)
        none = logits.detach().isnan().any(1, keepdim=True)
        lost = torch.tensor([[0.0, -1.0]], dtype=pair.dtype, device=pair.device)
        return torch.where(none, lost, pair), torch.zeros_like(aims)


@dataclass(frozen=True)
class Confident(Goal):
    """The model decides for a wrong class with at least this softmax probability.

    Args:
        share: the probability, above 0 and below 1.

    Raises:
        InputError: for another share.

    Example:
        >>> logits = torch.tensor([[0.0, 1.0]])
        >>> y = torch.tensor([0])
        >>> [bool(Confident(p).seen(logits, y)[0].argmax() == 1) for p in (0.7, 0.75)]
        [True, False]
    """

    share: float

    def __post_init__(self) -> None:
        if not 0 < self.share < 1:
            raise InputError(f"confident:{self.share:g}: give a probability above 0 and below 1")

    def __str__(self) -> str:
        return f"confident:{self.share:g}"

    def aims(self, y: Tensor, ids: Tensor) -> Tensor:
        return y

    def seen(self, logits: Tensor, aims: Tensor) -> tuple[Tensor, Tensor]:
        z = logits if logits.dtype in (torch.float32, torch.float64) else logits.float()
        z = z.clamp(-1e30, 1e30)
        whole = z.logsumexp(1, keepdim=True)
        # Of the largest, the rest is added up by itself: a difference would round to nothing.
        top = z.detach().argmax(1, keepdim=True)
        rest_of_top = z.scatter(1, top, -torch.inf).logsumexp(1, keepdim=True)
        share = (z - whole).exp().scatter(1, top, 0.0)
        rest = (whole + torch.log1p(-share)).scatter(1, top, rest_of_top)
        lead = z - rest - log(self.share / (1 - self.share))
        return lead.scatter(1, aims.unsqueeze(1), 0.0), aims
