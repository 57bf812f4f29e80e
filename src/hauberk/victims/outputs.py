"""What models return, as logits: tensors, tuples, mappings, objects, one logit instead of two."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from hauberk.errors import InputError

_WRAP = "wrap it in a module that returns the logits alone"
_BOXES = ("pred_boxes", "boxes")


@dataclass(frozen=True)
class Logits:
    """What a model returned, read as logits.

    Attributes:
        values: ``(B, C)`` with C >= 2, of a floating type.
        note: how they were found, where that is not plain; empty otherwise.
        doubt: why they may be the wrong ones; empty otherwise.
        single: whether the model has one logit z, which is read as [0, z].
    """

    values: Tensor
    note: str = ""
    doubt: str = ""
    single: bool = False


def as_logits(out: Any, count: int, top_label: int = 0) -> Logits:
    """The logits in what a model returned for a batch.

    A tensor; the first tensor of a tuple or list; ``logits`` of a mapping or an object, as
    transformers return it; the only table of a mapping. One number for each input is the logit of
    class 1 of two, [0, z]. Trailing dimensions of size 1 are nothing, and a lone input may have
    lost its first one. Integers become float64.

    Args:
        out: what the model returned.
        count: inputs in the batch.
        top_label: largest label of the run.

    Raises:
        InputError: for anything else: maps of classes, boxes, sequences, class ids.

    Example:
        >>> as_logits((torch.zeros(2, 3), "features"), 2).values.shape
        torch.Size([2, 3])
        >>> as_logits(torch.tensor([0.5, -1.0]), 2).values.tolist()
        [[0.0, 0.5], [0.0, -1.0]]
    """
    if isinstance(out, Tensor):
        values, note, doubt = out, "", ""
    else:
        values, note, doubt = _inside(out, count, top_label)
    if values.is_complex() or values.layout != torch.strided:
        raise InputError(f"the model returned a tensor of {values.dtype}, {values.layout}: {_WRAP}")
    if values.is_inference():  # it could not be written to
        values = values.clone()
    table = _table(values, count)
    if table.shape[1] > 1:
        return Logits(_floats(table), note, doubt)
    if not table.is_floating_point():
        raise InputError(
            "the model returned one integer for each input, as class ids are: it must return "
            "scores, (B, C), of which the largest is its decision"
        )
    pair = torch.cat([torch.zeros_like(table), table], 1)
    one = "the model has one logit z: it is judged by [0, z], class 1 where z is above 0"
    return Logits(pair, "; ".join(filter(None, (note, one))), doubt, single=True)


def require_logit(single: bool, logits: Tensor) -> None:
    """Refuse a probability where one logit is wanted: all would be decided as class 1.

    Args:
        single: whether the model returned one number for each input.
        logits: [0, z] of some inputs, ``(B, 2)``.

    Raises:
        InputError: if all z lie in [0, 1].

    Example:
        >>> require_logit(True, torch.tensor([[0.0, 0.3], [0.0, -0.1]]))
    """
    z = logits[:, -1]
    if single and len(z) and bool(((z >= 0) & (z <= 1)).all()):
        raise InputError(
            "the model returns one number in [0, 1] for each input, as a sigmoid does: it is read "
            "as a logit z, class 1 where it is above 0. Return the logit, without the sigmoid, or "
            "two logits"
        )


def _floats(table: Tensor) -> Tensor:
    return table if table.is_floating_point() else table.double()


def _table(values: Tensor, count: int) -> Tensor:
    """The tensor as ``(count, C)``."""
    shape = tuple(values.shape)
    if values.dim() > 2 and len(values) == count and not any(size > 1 for size in shape[2:]):
        return values.flatten(1)
    if values.dim() == 0 and count == 1:
        return values.view(1, 1)
    if values.dim() == 1:
        if len(values) == count:
            return values.unsqueeze(1)
        if count == 1 and len(values) > 1:
            return values.unsqueeze(0)
    if values.dim() == 2 and len(values) == count and values.shape[1]:
        return values
    if values.dim() >= 4 and len(values) == count:
        what = "a map of classes for each input, as in segmentation: hauberk judges one label each"
    elif values.dim() == 3 and len(values) == count:
        what = "a row of predictions for each input: hauberk judges one label each"
    else:
        what = "it must return logits (B, C) with at least two classes, or one logit each"
    raise InputError(f"the model returned shape {shape} for {count} inputs: {what}")


def _inside(out: Any, count: int, top_label: int) -> tuple[Tensor, str, str]:
    """The tensor of logits inside something, how it was found, and why it may be another."""
    kind = type(out).__name__
    if _of_boxes(out):
        raise InputError(
            f"the model returned boxes ({kind}), as in detection: hauberk judges one label for "
            "each input"
        )
    named = out.get("logits") if isinstance(out, Mapping) else getattr(out, "logits", None)
    if isinstance(named, Tensor):
        return named, "", ""
    if isinstance(out, Mapping):
        tables = {key: value for key, value in out.items() if _is_table(value, count)}
        if len(tables) == 1:
            ((key, table),) = tables.items()
            return table, f"the model returned a {kind}: its {key!r} is read as the logits", ""
        maps = [key for key, value in out.items() if isinstance(value, Tensor) and value.dim() == 4]
        if maps and not tables:
            return out[maps[0]], "", ""
        raise InputError(
            f"the model returned a {kind} of {', '.join(map(repr, list(out)[:6]))}, not a tensor "
            f"of logits (B, C): name it 'logits', or {_WRAP}"
        )
    if isinstance(out, Sequence) and not isinstance(out, str | bytes) and len(out):
        # A loss ahead of the logits is one number.
        rows = [each for each in out if not (isinstance(each, Tensor) and each.dim() == 0)]
        first = rows[0] if rows else out[0]
        if isinstance(first, Tensor):
            note = f"the model returned a {kind}: its first tensor is read as the logits"
            return first, note if len(out) > 1 else "", _doubt(first, rows, count, top_label)
        if first is not out and not isinstance(first, str | bytes | int | float | None):
            return _inside(first, count, top_label)
    raise InputError(f"the model returned a {kind}, not a tensor of logits (B, C): {_WRAP}")


def _of_boxes(out: Any) -> bool:
    if isinstance(out, Mapping):
        return any(name in out for name in _BOXES)
    if isinstance(out, list | tuple) and out and isinstance(out[0], Mapping):
        return _of_boxes(out[0])
    return any(isinstance(getattr(out, name, None), Tensor) for name in _BOXES)


def _is_table(value: Any, count: int) -> bool:
    return isinstance(value, Tensor) and value.dim() == 2 and len(value) == count


def _doubt(first: Tensor, rows: Sequence[Any], count: int, top_label: int) -> str:
    """Why another tensor than the first may be the logits: it is narrower, and wide enough."""
    if not _is_table(first, count):
        return ""
    for other in rows[1:]:
        if _is_table(other, count) and max(1, top_label) < other.shape[1] < first.shape[1]:
            return (
                f"the model returned several tables, of {first.shape[1]} and {other.shape[1]} "
                f"columns, and the first is read as the logits: if it is not, {_WRAP}"
            )
    return ""
