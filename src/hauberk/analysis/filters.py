"""The filters of a first layer, and which of them only compare one pixel with a threshold."""

from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from hauberk.errors import InputError
from hauberk.models.normalised import Prepared
from hauberk.store.files import plain

CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
SINGLE = 0.9
"""The share of a filter's absolute weights that one weight has at least, to count as the only."""


@dataclass(frozen=True, eq=False, kw_only=True)
class Filters:
    """The filters of a first convolution, in units of the model's input.

    A filter with one weight ``a`` and bias ``b`` answers ``a x + b = a (x - t)`` to a pixel x, at
    ``t = -b / a``: behind a ReLU it is 0 on one side of the threshold t.

    Attributes:
        layer: name of the layer in the model.
        weights: ``(K, C, ...)`` float64, divided by the std of a normalisation before it.
        bias: ``(K,)``, with its mean taken in; 0 for a layer without one.
        single: the share of one weight from which on it counts as the only one.
        standardised: whether each image is standardised first, so that thresholds are in units of
            the standardised image.

    Example:
        >>> model = torch.nn.Conv2d(1, 2, 1)
        >>> _ = model.weight.data.fill_(2.0), model.bias.data.fill_(-0.6)
        >>> round(float(filters(model).threshold[0]), 6)
        0.3
    """

    layer: str
    weights: Tensor = field(repr=False)
    bias: Tensor = field(repr=False)
    single: float = SINGLE
    standardised: bool = False

    def __len__(self) -> int:
        return len(self.weights)

    @property
    def share(self) -> Tensor:
        """The largest absolute weight over the sum of all, ``(K,)``; 0 for a filter of zeros."""
        size = self.weights.flatten(1).abs()
        return (size.amax(1) / size.sum(1)).nan_to_num(nan=0.0)

    @property
    def strength(self) -> Tensor:
        """The sum of absolute weights as a share of the largest filter's, ``(K,)``."""
        size = self.weights.flatten(1).abs().sum(1)
        return (size / size.max()).nan_to_num(nan=0.0)

    @property
    def gain(self) -> Tensor:
        """The weight ``a`` that is largest in size, with its sign, ``(K,)``."""
        flat = self.weights.flatten(1)
        return flat.gather(1, flat.abs().argmax(1, keepdim=True)).squeeze(1)

    @property
    def threshold(self) -> Tensor:
        """``-b / a``, ``(K,)``: where a filter of one weight answers 0; NaN for zeros."""
        return torch.where(self.gain == 0, torch.nan, -self.bias / self.gain)

    @property
    def thresholding(self) -> Tensor:
        """Which filters have a single weight, ``(K,)`` bool."""
        return self.share >= self.single

    def thresholds(self) -> list[dict[str, Any]]:
        """The filters of a single weight, the strongest first: number, ``a``, ``t`` and share."""
        found = self.thresholding.nonzero().squeeze(1).tolist()
        rows = [
            {"filter": k, "a": float(self.gain[k]), "t": float(self.threshold[k]),
             "share": float(self.share[k]), "strength": float(self.strength[k])}
            for k in found
        ]  # fmt: skip
        return sorted(rows, key=lambda row: -row["strength"])

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {
            "layer": self.layer, "filters": len(self), "size": list(self.weights.shape[1:]),
            "single": self.single, "standardised": self.standardised,
            "count": int(self.thresholding.sum()), "thresholds": plain(self.thresholds()),
            "share": plain(self.share), "strength": plain(self.strength),
            "weights": plain(self.weights), "bias": plain(self.bias),
        }  # fmt: skip


def filters(model: nn.Module, single: float = SINGLE) -> Filters:
    """The filters of a model's first layer, which must be a convolution.

    A normalisation before it, a module with a ``mean`` and a ``std`` for every channel, is taken
    into weights and bias, so that thresholds are in units of the input.

    Args:
        model: a module; wrappers around it do not matter.
        single: the share of a filter's absolute weights from which on one counts as the only one.

    Raises:
        InputError: for a model whose first layer with weights is none, and a share outside (0, 1].

    Source: Maini et al. 2020, appendix E (Figures 3, 6 to 10); Tramèr & Boneh 2019, appendix D:
    of Madry's network ``ReLU(0.6 (x - 0.3))``, ``ReLU(1.34 (x - 0.3))``, ``ReLU(0.86 (x - 0.7))``.

    Example:
        >>> from hauberk.models import MadryCNN
        >>> len(filters(MadryCNN())), int(filters(MadryCNN()).thresholding.sum())
        (32, 0)
    """
    if not 0 < single <= 1:
        raise InputError(f"single is {single}: give a share in (0, 1]")
    mean, std, standardised = None, None, False
    for name, module in model.named_modules():
        found = _normalisation(module)
        if found is not None:
            mean, std = found
        standardised |= isinstance(module, Prepared) and module.per_image
        if isinstance(module, CONVOLUTIONS):
            return _of(name or "the model", module, mean, std, single, standardised)
        if next(module.parameters(recurse=False), None) is not None:
            raise InputError(
                f"the first layer, {name or 'the model'}, is a {type(module).__name__}: give a "
                "model that begins with a convolution"
            )
    raise InputError("the model has no layer with weights: give one that begins with a convolution")


def _normalisation(module: nn.Module) -> tuple[Tensor, Tensor] | None:
    """Mean and std for each channel of a module that has them; None for others."""
    mean, std = getattr(module, "mean", None), getattr(module, "std", None)
    if not isinstance(mean, Tensor) or not isinstance(std, Tensor):
        return None
    return mean.detach().double().flatten().cpu(), std.detach().double().flatten().cpu()


def _of(
    name: str, layer: nn.Module, mean: Tensor | None, std: Tensor | None, single: float,
    standardised: bool,
) -> Filters:  # fmt: skip
    assert isinstance(layer.weight, Tensor)
    weights = layer.weight.detach().double().cpu()
    bias = weights.new_zeros(len(weights))
    if isinstance(layer.bias, Tensor):
        bias = layer.bias.detach().double().cpu()
    if mean is not None and std is not None and not standardised:
        channels = weights.shape[1]
        if len(mean) not in (1, channels):
            raise InputError(
                f"a normalisation of {len(mean)} channels before a layer of {channels}: give a "
                "model whose first layer sees the image"
            )
        over = (-1, *[1] * (weights.dim() - 2))
        weights = weights / std.view(over)
        bias = bias - (weights * mean.view(over)).flatten(1).sum(1)
    return Filters(layer=name, weights=weights, bias=bias, single=single, standardised=standardised)
