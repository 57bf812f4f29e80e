"""Normalisation inside the model, so that attacks act on inputs in [0, 1]."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from hauberk.errors import InputError


class Normalised(nn.Module):
    """A module with a mean and std per channel, in buffers that are not in its state dict."""

    mean: Tensor
    std: Tensor

    def set_normalisation(self, mean: Sequence[float], std: Sequence[float]) -> None:
        """Set the normalisation, in units of the [0, 1] input.

        Args:
            mean: one value a channel.
            std: one value a channel, above 0.

        Raises:
            InputError: if their lengths differ or a `std` is not positive.
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


class Prepared(Normalised):
    """A module that normalises its input per channel, per image, or not at all."""

    per_image: bool = False
    per_channel: bool = False

    def set_preparation(
        self, mean: Sequence[float], std: Sequence[float], per_image: bool, channels: int = 3
    ) -> None:
        """Choose how the input is normalised.

        Args:
            mean: one value a channel, with `std`; empty for no normalisation per channel.
            std: one value a channel, above 0.
            per_image: each image by its own mean and deviation.
            channels: of the input.

        Raises:
            InputError: if both are asked for, unless there is one value a channel, and for a `std`
                of 0 or less.
        """
        self.per_image, self.per_channel = per_image, bool(len(mean) or len(std))
        if not self.per_channel:
            return
        if per_image:
            raise InputError("per_image with mean and std: normalise per image or per channel")
        if len(mean) != channels:
            raise InputError(
                f"mean={tuple(mean)} for {channels} channels: give one value a channel"
            )
        self.set_normalisation(mean, std)

    def prepare(self, x: Tensor) -> Tensor:
        """The normalised input (B, C, H, W), for the first layer."""
        if self.per_image:
            return standardise(x)
        return self.normalise(x) if self.per_channel else x


def standardise(x: Tensor) -> Tensor:
    """`(x - mean) / max(std, 1 / sqrt(d))` of each input in (B, ...), over all its d features.

    Mean and standard deviation are taken over all pixels and channels; the lower bound keeps
    images of one colour finite. Source: Ding et al. 2020, appendix C.
    """
    if not x.numel():
        return x
    flat = x.flatten(1)
    centred = flat - flat.mean(1, keepdim=True)
    # Bounded before the root, whose slope at 0 is infinite.
    variance = centred.square().mean(1, keepdim=True).clamp_min(1 / flat.shape[1])
    return (centred / variance.sqrt()).view_as(x)
