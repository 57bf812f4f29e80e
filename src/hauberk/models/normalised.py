"""Normalisation inside the model, so that attacks act on inputs in [0, 1]."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from hauberk.errors import InputError


class Normalised(nn.Module):
    """A module with a per-channel mean and std that move with it but are not in its state dict."""

    mean: Tensor
    std: Tensor

    def set_normalisation(self, mean: Sequence[float], std: Sequence[float]) -> None:
        """Record one `mean` and one positive `std` a channel, in units of the [0, 1] input.

        Raises `InputError` if their lengths differ or a `std` is not positive.
        """
        if len(mean) != len(std) or not all(value > 0 for value in std):
            raise InputError(
                f"mean={tuple(mean)}, std={tuple(std)}: give equally many, and every std above 0"
            )
        for name, values in (("mean", mean), ("std", std)):
            self.register_buffer(name, torch.tensor(values).view(-1, 1, 1), persistent=False)

    def normalise(self, x: Tensor) -> Tensor:
        """`(x - mean) / std` for `x` of shape (B, C, H, W)."""
        return (x - self.mean) / self.std
