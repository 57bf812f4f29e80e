"""Data of a training: split, checked and identified before anything starts."""

import hashlib
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from hauberk.data.dataset import Dataset
from hauberk.engine.inputs import check
from hauberk.errors import InputError
from hauberk.spec.imports import one_line
from hauberk.threats.base import Box
from hauberk.train.loop.arguments import shown
from hauberk.victims.victim import Victim

Data = Dataset | tuple[Tensor, Tensor]


@dataclass(frozen=True)
class LabelledExamples:
    """Examples on the CPU.

    Args:
        x: Inputs ``(N, ...)`` in the model's dtype.
        y: Labels ``(N,)``.
        ids: Ids ``(N,)`` by which the user names them.
        name: That of the data set.
    """

    x: Tensor
    y: Tensor
    ids: Tensor
    name: str

    def __len__(self) -> int:
        return len(self.y)

    def describe(self) -> dict[str, Any]:
        """Name, size and a digest of the bytes."""
        digest = hashlib.sha256()
        for tensor in (self.x, self.y):
            digest.update(tensor.contiguous().view(torch.uint8).numpy().data)
        return {"name": self.name, "shape": list(self.x.shape), "sha256": digest.hexdigest()}

    def part(self, rows: slice | Tensor) -> "LabelledExamples":
        """Some of the examples."""
        return LabelledExamples(self.x[rows], self.y[rows], self.ids[rows], self.name)

    def split_off(self, count: int) -> tuple["LabelledExamples", "LabelledExamples"]:
        """The rest, and so many examples to validate on.

        The first ones; of examples grouped by class, which would all be of one, every so many-th.
        """
        y = self.y
        groups = 1 + int((y[1:] != y[:-1]).sum())
        if not count or groups == 1 or groups > len(y.unique()):
            return self.part(slice(count, None)), self.part(slice(0, count))
        chosen = torch.zeros(len(y), dtype=torch.bool)
        chosen[(torch.arange(count) * len(y) + len(y) // 2) // count] = True
        return self.part(~chosen), self.part(chosen)


def split(
    data: Data, validation: int | Data, box: Box, model: nn.Module
) -> "tuple[LabelledExamples, LabelledExamples]":
    """Training and validation examples; `InputError` for what cannot be trained on."""
    train = _examples(data, box, model, "data")
    if isinstance(validation, bool) or not isinstance(validation, int | Dataset | tuple | list):
        raise InputError(
            f"validation is {shown(validation)}: give a whole number of examples, a data set or "
            "(images, labels)"
        )
    if not isinstance(validation, int):
        held = _examples(validation, box, model, "validation")
        if held.x.shape[1:] != train.x.shape[1:]:
            raise InputError(
                f"validation inputs have shape {tuple(held.x.shape[1:])}, training inputs "
                f"{tuple(train.x.shape[1:])}: give both alike"
            )
    else:
        if not 0 <= validation < max(1, len(train)):
            raise InputError(
                f"validation is {validation} of {len(train)} examples: "
                "give fewer than there are, and 0 or more"
            )
        train, held = train.split_off(validation)
    if not len(train):
        raise InputError("there are no examples to train on: give at least one")
    _check_classes(model, train, held)
    return train, held


def _examples(data: Data, box: Box, model: nn.Module, name: str) -> LabelledExamples:
    if isinstance(data, Dataset):
        x, y, ids, name = data.images, data.labels, data.ids, data.name
    else:
        pair = isinstance(data, tuple | list) and len(data) == 2
        if not pair or not all(isinstance(part, Tensor) for part in data):
            kinds = ", ".join(type(d).__name__ for d in data[:4]) if pair else type(data).__name__
            raise InputError(
                f"{name} must be a hauberk.data.Dataset or a pair of tensors (images, labels), not "
                f"{kinds}: use torch.as_tensor on arrays"
            )
        x, y = data
        if x.dim() < 2 or y.dim() != 1:
            raise InputError(
                f"{name} is {tuple(x.shape)} images with {tuple(y.shape)} labels: give (N, ...) "
                "and (N,)"
            )
        ids = torch.arange(len(y))
    x, y = check(x.detach().cpu(), y.detach().cpu(), box)
    dtype = Victim(model).dtype
    if dtype not in (torch.float32, torch.float64):
        raise InputError(
            f"the model is in {dtype}: train it in float32 with precision='bf16-mixed'"
        )
    return LabelledExamples(x.to(dtype), y, ids.cpu(), name)


def _check_classes(model: nn.Module, *parts: LabelledExamples) -> None:
    victim = Victim(model)
    for part in parts:
        if len(part):
            victim.top_label = max(victim.top_label, int(part.y.max()))
    few = parts[0].x[:2]
    with victim.held():
        try:
            victim.predict(few)
        except InputError:
            raise
        except Exception as error:  # whatever a user's model raises
            raise InputError(
                f"the model fails on a batch of inputs of shape {tuple(few.shape[1:])}: "
                f"{one_line(error)}"
            ) from error
