"""Models whose output depends on the rest of the batch, run on each example alone."""

from typing import Literal

import torch
from torch import Tensor

from hauberk.victims.victim import Victim

BatchDependent = Literal["refuse", "alone"]
"""What a run does with a model whose output depends on the rest of the batch: it refuses, or shows
the model each example alone."""


class Alone(Victim):
    """A victim that shows its model one example at a time, in the search and to the judge.

    So what a model answers is a function of the example, whatever else stands in its batch.

    Example:
        >>> class Centred(torch.nn.Module):
        ...     def forward(self, x):
        ...         return x - x.mean(0)
        >>> x = torch.tensor([[1.0, 0.0], [3.0, 0.0]])
        >>> Victim(Centred()).predict(x).tolist(), Alone(Centred()).predict(x).tolist()
        ([[-1.0, 0.0], [1.0, 0.0]], [[0.0, 0.0], [0.0, 0.0]])
    """

    def logits(self, x: Tensor, soften: float = 0.0) -> Tensor:
        if len(x) < 2:
            return super().logits(x, soften)
        return torch.cat([super(Alone, self).logits(row, soften) for row in x.split(1)])
