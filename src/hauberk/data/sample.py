"""Examples drawn at random, each by its own random number."""

import torch
from torch import Tensor

from hauberk.errors import InputError
from hauberk.maths.rng import Draws

_STREAM = 0x5A4D


def drawn(ids: Tensor, n: int, seed: int, labels: Tensor | None = None) -> Tensor:
    """`n` of the positions without replacement, in their order.

    Args:
        ids: positions in the whole data set, ``(N,)`` int64.
        n: how many; all if there are fewer.
        seed: of the draw. The number of an example depends on it and on its position alone, so a
            sample of more examples holds one of fewer.
        labels: ``(N,)``; if given, as many of each class are drawn as there are.

    Raises:
        InputError: for a seed that does not fit into 64 bits.

    Example:
        >>> drawn(torch.arange(6), 4, seed=0, labels=torch.tensor([0, 0, 0, 0, 1, 1])).tolist()[2:]
        [4, 5]
    """
    if not -(2**63) <= seed < 2**63:
        raise InputError(f"sample seed is {seed}: give a number below 2 to the 63rd")
    numbers = Draws.of(seed, ids, _STREAM).uniform(0, (1,), torch.float64)[:, 0]
    order = numbers.argsort(stable=True)
    if labels is not None:
        # The k-th drawn of each class come before all that are drawn later.
        turn = torch.empty_like(ids)
        for label in labels.unique():
            mine = order[labels[order] == label]
            turn[mine] = torch.arange(len(mine))
        order = order[turn[order].argsort(stable=True)]
    return ids[order[:n]].sort().values
