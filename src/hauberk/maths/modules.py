"""What a module can be besides a plain one: an exported graph, one for batches of one size."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn
from torch.fx import GraphModule

_KEPT: WeakKeyDictionary[nn.Module, int] = WeakKeyDictionary()
"""Batch sizes of modules for which one was found out."""


def eval_mode(model: nn.Module) -> nn.Module:
    """The module in eval mode; an exported graph, whose mode was fixed by the export, as it is.

    Example:
        >>> eval_mode(nn.Dropout()).training
        False
    """
    try:
        return model.eval()
    except NotImplementedError:
        if not any(True for _ in exported(model)):
            raise
    for part in model.modules():
        part.training = False
    return model


def exported(model: nn.Module) -> Iterator[GraphModule]:
    """The parts of a model that `torch.export` made, or the model itself."""
    for part in model.modules() if isinstance(model, nn.Module) else ():
        if isinstance(part, GraphModule) and any(
            isinstance(node.target, torch._ops.OpOverload) for node in part.graph.nodes
        ):
            yield part


def exact_batch(model: nn.Module) -> int | None:
    """The only batch size that a model takes, as an exported one may; None if it takes any.

    Example:
        >>> net = torch.export.export(nn.Flatten(), (torch.zeros(4, 2, 2),)).module()
        >>> exact_batch(net), exact_batch(nn.Flatten())
        (4, None)
    """
    if isinstance(model, nn.Module) and model in _KEPT:
        return _KEPT[model]
    for part in exported(model):
        for node in part.graph.nodes:
            value = node.meta.get("val") if node.op == "placeholder" else None
            shape: Sequence[Any] = getattr(value, "shape", ())
            if len(shape) > 1 and isinstance(shape[0], int):
                return shape[0]
    return None


def keep_batch(model: nn.Module, size: int) -> None:
    """Note the only batch size that a model takes, for :func:`exact_batch`.

    Args:
        model: the model itself, not a copy.
        size: inputs at a time.
    """
    _KEPT[model] = size


def trained_parts(model: nn.Module) -> list[str]:
    """The operations of an exported model that were exported in train mode."""
    found = []
    for part in exported(model):
        for node in part.graph.nodes:
            name = getattr(getattr(node.target, "overloadpacket", None), "__name__", "")
            place = {"dropout": 2, "batch_norm": 5, "instance_norm": 5}.get(name)
            if place is not None and len(node.args) > place and node.args[place] is True:
                found.append(name)
    return found


def in_batches(run: Callable[[Tensor], Tensor], x: Tensor, size: int) -> Tensor:
    """What a function gives that takes `size` rows at a time, for any number of rows.

    The last batch is filled up with copies of its last row, whose results are cut off.

    Args:
        run: from ``(size, ...)`` to ``(size, ...)``.
        x: ``(B, ...)``.
        size: rows at a time.

    Example:
        >>> in_batches(lambda rows: rows.sum(0).expand(2, -1), torch.ones(3, 1), 2).tolist()
        [[2.0], [2.0], [2.0]]
    """
    if not len(x):
        return run(x.new_zeros(size, *x.shape[1:]))[:0]
    done = []
    for rows in x.split(size):
        spare = size - len(rows)
        full = torch.cat([rows, rows[-1:].expand(spare, *rows.shape[1:])]) if spare else rows
        done.append(run(full)[: len(rows)])
    return torch.cat(done)
