"""A classifier taken apart into affine maps with ReLU between them, in float64."""

from collections.abc import Callable, Iterator
from copy import deepcopy
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from hauberk.errors import InputError
from hauberk.models.mlp import MLP
from hauberk.models.normalised import Normalised, NormalisedModel

Array = np.ndarray

MOST_UNITS = 1024
"""ReLU units beyond which a network is refused."""
_MOST_ENTRIES = 2**24
_SAME_SHAPE = (nn.Identity, nn.Flatten, nn.Unflatten, nn.modules.dropout._DropoutNd)
_AFFINE = (
    nn.Linear, nn.Conv1d, nn.Conv2d, nn.AvgPool1d, nn.AvgPool2d, nn.AdaptiveAvgPool2d,
    nn.BatchNorm1d, nn.BatchNorm2d,
)  # fmt: skip


@dataclass(frozen=True)
class ReluNet:
    """`W_k relu( ... relu(W_1 x + b_1) ... ) + b_k` on flat inputs (N, d), in float64."""

    layers: tuple[tuple[Array, Array], ...]

    @property
    def classes(self) -> int:
        """How many logits there are."""
        return len(self.layers[-1][1])

    def preactivations(self, x: Array) -> list[Array]:
        """What enters each ReLU for inputs (N, d), and last the logits (N, C)."""
        out = []
        for weight, bias in self.layers:
            out.append(x @ weight.T + bias)
            x = np.maximum(out[-1], 0.0)
        return out

    def logits(self, x: Array) -> Array:
        """(N, d) -> (N, C)."""
        return self.preactivations(x)[-1]

    def slopes(self, active: list[Array], rows: Array) -> Array:
        """Gradients (N, d) of `rows` (N, C) times the logits, for units `active` as said."""
        grad = rows
        for (weight, _), on in zip(self.layers[:0:-1], active[::-1], strict=True):
            grad = (grad @ weight) * on
        out: Array = grad @ self.layers[0][0]
        return out


def take_apart(model: nn.Module, like: Tensor) -> tuple[ReluNet, nn.Module]:
    """The network behind `model` for inputs shaped as `like` (B, ...), and its float64 copy.

    Supported are Linear, convolutions, average pooling, batch norm (eval), ReLU, Flatten, Dropout
    (eval), Identity, modules whose children make such a chain, and hauberk's own MLP and
    normalised models. The chain is compared with the model at `like` and at points beside it.

    Raises:
        InputError: if the model is no such chain, or too large.
    """
    if not isinstance(model, nn.Module):
        raise InputError(f"the model must be a torch.nn.Module, not {type(model).__name__}")
    copy = deepcopy(model).cpu().double().eval().requires_grad_(False)
    shape, features = tuple(like.shape[1:]), like.shape[1:].numel()
    weight, bias = np.eye(features), np.zeros(features)
    layers: list[tuple[Array, Array]] = []
    units = 0
    with torch.no_grad():
        for leaf in _leaves(copy):
            if isinstance(leaf, nn.ReLU):
                units += len(bias)
                if units > MOST_UNITS:
                    raise InputError(
                        f"the network has over {MOST_UNITS} ReLU units: exact radii are for "
                        "small networks, use bounds for this one"
                    )
                layers.append((weight, bias))
                weight, bias = np.eye(len(bias)), np.zeros(len(bias))
                continue
            ahead, behind, shape = _matrix(leaf, shape)
            if ahead is not None:
                weight, bias = ahead @ weight, ahead @ bias + behind
    net = ReluNet((*layers, (weight, bias)))
    some = like.detach().cpu().double()
    _compare(net, copy, some if len(some) else some.new_zeros(1, *like.shape[1:]))
    return net, copy


def _leaves(module: nn.Module) -> Iterator[nn.Module | Callable[[Tensor], Tensor]]:
    if isinstance(module, Normalised | NormalisedModel):
        yield module.normalise
    if isinstance(module, MLP):
        yield nn.Flatten()
        for index, layer in enumerate(module.layers):
            if index:
                yield nn.ReLU()
            yield layer
    elif isinstance(module, (nn.ReLU, *_SAME_SHAPE, *_AFFINE)):
        yield module
    elif module._modules:
        # Not children(), which leaves out the second use of a shared module.
        for child in module._modules.values():
            if child is not None:
                yield from _leaves(child)
    else:
        raise InputError(
            f"exact radii do not support {type(module).__name__}: give a chain of Linear, Conv2d, "
            "AvgPool2d, BatchNorm, ReLU, Flatten and Dropout modules"
        )


def _matrix(
    leaf: nn.Module | Callable[[Tensor], Tensor], shape: tuple[int, ...]
) -> tuple[Array | None, Array, tuple[int, ...]]:
    """Matrix (None for the identity) and offset of an affine map on flat inputs; its shape."""
    zero = torch.zeros(1, *shape, dtype=torch.float64)
    try:
        rest = leaf(zero)
    except (RuntimeError, ValueError, IndexError) as error:
        raise InputError(
            f"the model's modules do not chain ({str(error).splitlines()[0]}): give a model that "
            "calls its children one after the other, in their order"
        ) from error
    size, after = zero.numel(), tuple(rest.shape[1:])
    offset = rest.flatten()
    if isinstance(leaf, _SAME_SHAPE):
        return None, offset.numpy(), after
    if size * offset.numel() > _MOST_ENTRIES:
        raise InputError(
            f"a layer from {size} to {offset.numel()} features is too large for exact radii: "
            f"the product may be at most {_MOST_ENTRIES}"
        )
    units = torch.eye(size, dtype=torch.float64).view(size, *shape)
    images = torch.cat([leaf(part) for part in units.split(256)])
    return (images.flatten(1) - offset).T.numpy(), offset.numpy(), after


def _compare(net: ReluNet, model: nn.Module, x: Tensor) -> None:
    """Refuse a model that computes something else than its modules in a row."""
    generator = torch.Generator().manual_seed(0)
    noise = torch.randn(64, *x.shape[1:], generator=generator, dtype=torch.float64)
    beside = x[torch.arange(64) % len(x)] + noise * torch.logspace(-3, 1, 64).view(
        -1, *[1] * (x.dim() - 1)
    )
    points = torch.cat((x, beside))
    with torch.no_grad():
        theirs = model(points)
    if not isinstance(theirs, Tensor) or theirs.dim() != 2:
        raise InputError("the model must return a tensor of logits (B, C)")
    ours = torch.from_numpy(net.logits(points.flatten(1).numpy()))
    if ours.shape != theirs.shape or not torch.allclose(ours, theirs.double(), 1e-9, 1e-9):
        raise InputError(
            "the model is not its modules in a row (a functional layer, a branch or a cast to "
            "float32 inside?): write it as an nn.Sequential"
        )
