"""Wide residual networks for 32x32 images: input (B, 3, 32, 32) in [0, 1] to logits."""

from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor, nn

from hauberk.errors import InputError
from hauberk.models.normalised import Prepared
from hauberk.models.preact import PreActUnit


class WideResNet(Prepared):
    """Wide residual network WRN-`depth`-`widen` without dropout (Zagoruyko & Komodakis 2016).

    A 3x3 convolution to 16 channels; three stages of (depth - 4) / 6 pre-activated units, of 16, 32
    and 64 times `widen` channels, the last two of stride 2; BatchNorm, ReLU, average over the
    pixels and a linear layer. Shortcuts are 1x1 convolutions of the activated input where the
    number of channels changes. Input (B, 3, H, W) in [0, 1], logits (B, classes). Keys as in
    yaodongyu/TRADES, but for the copy of the first stage there that nothing uses.

    Args:
        depth: 6 n + 4.
        widen: factor of the number of channels, 1 or more.
        classes: number of classes, 2 or more.
        mean: one value a channel, with `std`, to normalise by.
        std: one value a channel, above 0.
        per_image: normalise each image by its own mean and deviation instead.

    Raises:
        InputError: for sizes out of range, and for a normalisation that does not fit.

    Example:
        >>> import torch
        >>> from hauberk.models import WideResNet
        >>> with torch.device("meta"):  # no memory, shapes only
        ...     logits = WideResNet(16, 2)(torch.rand(2, 3, 32, 32))
        >>> logits.shape
        torch.Size([2, 10])
    """

    def __init__(
        self,
        depth: int,
        widen: int,
        classes: int = 10,
        *,
        mean: Sequence[float] = (),
        std: Sequence[float] = (),
        per_image: bool = False,
    ) -> None:
        super().__init__()
        if depth < 10 or depth % 6 != 4:
            raise InputError(f"depth is {depth}: give 10, 16, 22, 28, 34 or another 6 n + 4")
        if widen < 1:
            raise InputError(f"widen is {widen}: give 1 or more")
        if classes < 2:
            raise InputError(f"classes is {classes}: give 2 or more")
        self.set_preparation(mean, std, per_image)
        units, width = (depth - 4) // 6, 16 * widen
        self.conv1 = nn.Conv2d(3, 16, 3, padding=1, bias=False)
        self.block1 = _Stage(16, width, units, 1)
        self.block2 = _Stage(width, 2 * width, units, 2)
        self.block3 = _Stage(2 * width, 4 * width, units, 2)
        self.bn1 = nn.BatchNorm2d(4 * width)
        self.fc = nn.Linear(4 * width, classes)
        for layer in self.modules():
            if isinstance(layer, nn.Conv2d):
                nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")
        nn.init.zeros_(self.fc.bias)

    def forward(self, x: Tensor) -> Tensor:
        x = self.block3(self.block2(self.block1(self.conv1(self.prepare(x)))))
        logits: Tensor = self.fc(F.relu(self.bn1(x)).mean(dim=(2, 3)))
        return logits


def wrn_28_4() -> WideResNet:
    """WRN-28-4 for 10 classes, images standardised one by one, as in Ding 2020; 5.8 M parameters.

    `WideResNet(28, 4)` is the same network without.

    Example:
        >>> import torch
        >>> from hauberk.models import wrn_28_4
        >>> with torch.device("meta"):  # no memory, shapes only
        ...     logits = wrn_28_4()(torch.rand(2, 3, 32, 32))
        >>> logits.shape
        torch.Size([2, 10])
    """
    return WideResNet(28, 4, per_image=True)


def wrn_28_10() -> WideResNet:
    """WRN-28-10 for 10 classes, without normalisation; 36.5 M parameters.

    Example:
        >>> import torch
        >>> from hauberk.models import wrn_28_10
        >>> with torch.device("meta"):  # no memory, shapes only
        ...     logits = wrn_28_10()(torch.rand(2, 3, 32, 32))
        >>> logits.shape
        torch.Size([2, 10])
    """
    return WideResNet(28, 10)


def wrn_34_10() -> WideResNet:
    """WRN-34-10 for 10 classes, without normalisation, as in TRADES; 46.2 M parameters.

    Example:
        >>> import torch
        >>> from hauberk.models import wrn_34_10
        >>> with torch.device("meta"):  # no memory, shapes only
        ...     logits = wrn_34_10()(torch.rand(2, 3, 32, 32))
        >>> logits.shape
        torch.Size([2, 10])
    """
    return WideResNet(34, 10)


class _Stage(nn.Module):
    def __init__(self, inner: int, outer: int, units: int, stride: int) -> None:
        super().__init__()
        rest = (_Unit(outer, outer, 1) for _ in range(units - 1))
        self.layer = nn.Sequential(_Unit(inner, outer, stride), *rest)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.layer(x)
        return y


class _Unit(PreActUnit):
    def __init__(self, inner: int, outer: int, stride: int) -> None:
        super().__init__(inner, outer, stride)
        self.convShortcut: nn.Conv2d | None = None
        if stride != 1 or inner != outer:
            self.convShortcut = nn.Conv2d(inner, outer, 1, stride=stride, bias=False)

    @property
    def shortcut_module(self) -> nn.Module | None:
        return self.convShortcut
