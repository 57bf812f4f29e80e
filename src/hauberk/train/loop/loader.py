"""Minibatches from tensors: on the device if they fit, in an order of each epoch's own."""

import torch
from torch import Tensor

from hauberk.maths.rng import Draws
from hauberk.threats.base import Box
from hauberk.train.loop.augment import Augmentation

_STREAM = 37


class Loader:
    """Training examples in minibatches, in an order that depends on the seed and the epoch alone.

    Nothing is dropped: the last minibatch of an epoch may be smaller. If one example is left over,
    the last minibatch takes it in, for batch normalisation has no statistics of one example.

    Args:
        images: Inputs ``(N, ...)``.
        labels: ``(N,)``.
        minibatch: Examples per minibatch.
        augmentation: How the inputs are varied.
        box: Valid range of the inputs.
        seed: Seed of the order and of the augmentation.
        device: Where minibatches are needed; the examples are kept there if they fit.
        channels_last: Whether images are laid out in that memory format.

    Example:
        >>> x, y = torch.rand(7, 4), torch.zeros(7, dtype=torch.int64)
        >>> loader = Loader(x, y, 3, Augmentation(), Box(), 0, torch.device("cpu"))
        >>> [len(loader.rows(epoch=0, index=i)) for i in range(loader.steps)]
        [3, 4]
    """

    def __init__(
        self, images: Tensor, labels: Tensor, minibatch: int, augmentation: Augmentation, box: Box,
        seed: int, device: torch.device, channels_last: bool = False,
    ) -> None:  # fmt: skip
        self.minibatch, self.augmentation, self.box, self.seed = minibatch, augmentation, box, seed
        self.device, self.channels_last = device, channels_last and images.dim() == 4
        where = device if _fits(images, device) else torch.device("cpu")
        self.images, self.labels = images.to(where), labels.to(where)
        self._epoch, self._order = -1, torch.empty(0)

    @property
    def steps(self) -> int:
        """Minibatches of an epoch."""
        return minibatches(len(self.labels), self.minibatch)

    def rows(self, epoch: int, index: int) -> Tensor:
        """Numbers of the examples in minibatch ``index`` of an epoch."""
        if epoch != self._epoch:
            ids = torch.arange(len(self.labels), device=self.labels.device)
            key = Draws.of(self.seed, ids, _STREAM, epoch).key
            self._epoch, self._order = epoch, key.argsort(stable=True)
        stop = None if index == self.steps - 1 else (index + 1) * self.minibatch
        return self._order[index * self.minibatch : stop]

    def take(self, rows: Tensor, epoch: int) -> tuple[Tensor, Tensor, Tensor]:
        """Inputs, labels and numbers of these examples on the device, inputs augmented."""
        x = self.images[rows].to(self.device, non_blocking=True)
        y = self.labels[rows].to(self.device, non_blocking=True)
        ids = rows.to(self.device, non_blocking=True)
        if self.augmentation != Augmentation():
            x = self.augmentation(x, ids, self.seed, epoch, self.box)
        if self.channels_last:
            x = x.contiguous(memory_format=torch.channels_last)
        return x, y, ids


def minibatches(examples: int, minibatch: int) -> int:
    """How many minibatches an epoch has."""
    full, rest = divmod(examples, minibatch)
    return full + (rest > min(1, full))


def _fits(images: Tensor, device: torch.device) -> bool:
    if device.type != "cuda":
        return True
    free, _ = torch.cuda.mem_get_info(device)
    return images.numel() * images.element_size() < free // 4
