"""Groups of examples that share one perturbation."""

import torch
from torch import Tensor

from hauberk.errors import InputError


def groups(labels: Tensor, size: int, by_class: bool = False) -> Tensor:
    """Indices of examples, ``(G, size)``: one group after another, in order.

    What does not fill a group is left out.

    Args:
        labels: ``(N,)``.
        size: examples in a group.
        by_class: make groups of one class each (Wang et al. 2021, tables A7 and A8).

    Raises:
        InputError: if there are not enough examples for one group.
    """
    if size < 1:
        raise InputError(f"a group of {size} examples: give 1 or more")
    order = torch.arange(len(labels))
    if by_class:
        each = [order[labels.cpu() == c] for c in labels.cpu().unique()]
        kept = [index[: len(index) // size * size] for index in each]
        order = torch.cat(kept) if kept else order
        most = max(map(len, each), default=0)
    else:
        most = len(order)
        order = order[: len(order) // size * size]
    if not len(order):
        what = "the largest class has" if by_class else "there are"
        raise InputError(f"groups of {size} examples, but {what} {most}: make the groups smaller")
    return order.view(-1, size)
