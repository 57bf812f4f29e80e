"""Normalisation inside the model, so that attacks act on inputs in [0, 1]."""

from collections.abc import Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from hauberk.errors import InputError
from hauberk.models.mean_std import MeanStd


def normalised(
    model: nn.Module,
    mean: float | Sequence[float] | Tensor | str | Path | MeanStd,
    std: float | Sequence[float] | Tensor | str | Path | None = None,
) -> "NormalisedModel":
    """A classifier of normalised inputs as one of the inputs themselves: images in [0, 1].

    Sizes of threats then count in units of the images: linf:8/255 is 8 steps of 8-bit images, not
    8/255 of a std.

    Args:
        model: takes ``(x - mean) / std``; it stands in the result as ``.model``.
        mean: a number, one a channel (of rows of a table, one a feature), or the name of a usual
            one (``imagenet``, ``cifar10``, ``cifar100``, ``mnist``, ``clip``, ...), or a
            ``config.json`` of timm or ``preprocessor_config.json`` of Hugging Face, or its folder.
        std: alike, above 0; left out, the one of the name or file.

    Raises:
        InputError: for a mean and std that cannot be read or do not fit each other; for inputs of
            another number of channels, once it is called.

    Example:
        >>> import torch
        >>> net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(12, 2))
        >>> model = normalised(net, "imagenet")
        >>> model(torch.rand(5, 3, 2, 2)).shape
        torch.Size([5, 2])
    """
    return NormalisedModel(model, MeanStd.of(mean, std))


def behind(
    model: nn.Module, says: Mapping[str, Any], mean: Any, std: Any, box: Sequence[Any], spec: str
) -> tuple[nn.Module, bool]:
    """A model behind the normalisation that is asked for, or that its configuration says.

    Args:
        says: what is said of the model's inputs (:attr:`hauberk.models.source.FoundModel`).
        mean, std: as of :func:`normalised`; None for what ``says`` has, ``"auto"`` to require that
            it has any, ``"none"`` for the model as it is.
        box: valid range of the inputs, which images in [0, 1] are spread over.
        spec: the model's name, for messages.

    Returns:
        the model, and whether the configuration decided.

    Raises:
        InputError: as :func:`normalised` does.
    """
    word = mean.strip().lower() if isinstance(mean, str) else mean
    if word == "none" and std in (None, "none"):
        return model, False
    if word is None and std is not None:
        raise InputError("std without mean: give both (mean 0 to divide alone)")
    own = word in (None, "auto")
    if own:
        if word and not says:
            says = getattr(model, "pretrained_cfg", None) or getattr(model, "default_cfg", {})
        by = MeanStd.of_configuration(says)
        if word and by is None:
            raise InputError(
                f"model {spec!r} has no configuration with a mean and std: give numbers, a name "
                "such as imagenet, or its file"
            )
        if by is None:
            return model, False
    else:
        by = MeanStd.of(mean, std)
    return NormalisedModel(model, by.in_box(*box)), own


class NormalisedModel(nn.Module):
    """A module behind a normalisation of its inputs; see :func:`normalised`.

    Its state dict holds the module's weights as ``model.NAME``, and no mean or std.

    Args:
        model: takes normalised inputs.
        by: mean and std.

    Attributes:
        by: the same.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, model: nn.Module, by: MeanStd) -> None:
        super().__init__()
        self.model, self.by = model, MeanStd(by.mean, by.std)  # wherever they came from
        held = chain(model.parameters(), model.buffers())
        like = next((t for t in held if t.is_floating_point()), torch.empty(0))
        for name, values in (("mean", by.mean), ("std", by.std)):
            buffer = torch.tensor(values, dtype=like.dtype, device=like.device)
            self.register_buffer(name, buffer, persistent=False)
        self.training = model.training

    def forward(self, x: Tensor, *more: Any, **named: Any) -> Any:
        """What the module makes of :meth:`normalise` of ``x``."""
        return self.model(self.normalise(x), *more, **named)

    def normalise(self, x: Tensor) -> Tensor:
        """``(x - mean) / std`` for ``x`` of shape (B, C, ...) or (B, D).

        Raises:
            InputError: for another number of channels or features.
        """
        shape = self._shape(x)
        return (x - self.mean.view(shape)) / self.std.view(shape)

    def _shape(self, x: Tensor) -> list[int]:
        many = max(len(self.by.mean), len(self.by.std))
        if many == 1 or (x.dim() == 2 and many == x.shape[1]) or many == x.shape[-1] != x.shape[1]:
            return [-1]
        if x.dim() < 2 or x.shape[1] != many:
            raise InputError(
                f"mean and std have {many} values but inputs have shape {tuple(x.shape[1:])}: give "
                "one a channel, or one number for all"
            )
        return [-1, *[1] * (x.dim() - 2)]


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
