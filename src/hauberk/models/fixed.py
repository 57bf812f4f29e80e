"""Models that take batches of exactly one size."""

from torch import Tensor, nn

from hauberk.errors import InputError
from hauberk.maths.modules import in_batches


class FixedBatch(nn.Module):
    """A module that takes batches of exactly one size, for batches of any size.

    The last batch is filled up with copies of its last input, whose results are cut off. Graphs of
    `torch.export` and ONNX files made for one size are found out by themselves; this is for a
    module of your own that has the size in its code.

    Args:
        model: from ``(size, ...)`` to ``(size, C)``.
        size: inputs that it takes at once.

    Raises:
        InputError: for a size below 1.

    Example:
        >>> import torch
        >>> from hauberk.models import FixedBatch
        >>> FixedBatch(nn.Flatten(), 2)(torch.rand(5, 3, 2)).shape
        torch.Size([5, 6])
    """

    def __init__(self, model: nn.Module, size: int) -> None:
        super().__init__()
        if size < 1:
            raise InputError(f"size is {size}: give 1 or more")
        self.model, self.size = model, size

    def forward(self, x: Tensor) -> Tensor:
        return in_batches(self.model, x, self.size)

    def extra_repr(self) -> str:
        """The size."""
        return f"size={self.size}"
