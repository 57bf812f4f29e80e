"""Pre-activation ResNet-18 for 32x32 images: input (B, 3, 32, 32) in [0, 1] to logits."""

from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor, nn

from hauberk.errors import InputError
from hauberk.models.normalised import Prepared


class PreActResNet18(Prepared):
    """ResNet-18 with pre-activation (He et al. 2016b), as Maini 2020 and Rice 2020 train it.

    A 3x3 convolution; four stages of two units of 64, 128, 256 and 512 channels, the last three of
    stride 2; BatchNorm, ReLU, average over the pixels and a linear layer. Shortcuts are 1x1
    convolutions of the activated input where the shape changes. Input (B, 3, H, W) in [0, 1],
    logits (B, classes); 11,172,170 parameters. Keys as in kuangliu/pytorch-cifar, where the last
    BatchNorm is missing, and `bn`.

    Args:
        classes: number of classes, 2 or more.
        mean: one value a channel, with `std`, to normalise by.
        std: one value a channel, above 0.
        per_image: normalise each image by its own mean and deviation instead.

    Raises:
        InputError: for fewer than two classes, and for a normalisation that does not fit.

    Example:
        >>> import torch
        >>> from hauberk.models import PreActResNet18
        >>> with torch.device("meta"):  # no memory, shapes only
        ...     logits = PreActResNet18()(torch.rand(2, 3, 32, 32))
        >>> logits.shape
        torch.Size([2, 10])
    """

    def __init__(
        self,
        classes: int = 10,
        *,
        mean: Sequence[float] = (),
        std: Sequence[float] = (),
        per_image: bool = False,
    ) -> None:
        super().__init__()
        if classes < 2:
            raise InputError(f"classes is {classes}: give 2 or more")
        self.set_preparation(mean, std, per_image)
        self.conv1 = nn.Conv2d(3, 64, 3, padding=1, bias=False)
        self.layer1 = _stage(64, 64, 1)
        self.layer2 = _stage(64, 128, 2)
        self.layer3 = _stage(128, 256, 2)
        self.layer4 = _stage(256, 512, 2)
        self.bn = nn.BatchNorm2d(512)
        self.linear = nn.Linear(512, classes)

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv1(self.prepare(x))
        x = self.layer4(self.layer3(self.layer2(self.layer1(x))))
        logits: Tensor = self.linear(F.relu(self.bn(x)).mean(dim=(2, 3)))
        return logits


class PreActUnit(nn.Module):
    """BatchNorm, ReLU and a 3x3 convolution, twice, plus a shortcut that subclasses define."""

    def __init__(self, inner: int, outer: int, stride: int) -> None:
        super().__init__()
        self.bn1 = nn.BatchNorm2d(inner)
        self.conv1 = nn.Conv2d(inner, outer, 3, stride=stride, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(outer)
        self.conv2 = nn.Conv2d(outer, outer, 3, padding=1, bias=False)

    @property
    def shortcut_module(self) -> nn.Module | None:
        """The module of the shortcut, applied to the activated input; None: the input itself."""
        raise NotImplementedError

    def forward(self, x: Tensor) -> Tensor:
        active = F.relu(self.bn1(x))
        module = self.shortcut_module
        shortcut = x if module is None else module(active)
        total: Tensor = self.conv2(F.relu(self.bn2(self.conv1(active)))) + shortcut
        return total


class _Unit(PreActUnit):
    def __init__(self, inner: int, outer: int, stride: int) -> None:
        super().__init__(inner, outer, stride)
        self.shortcut: nn.Sequential | None = None
        if stride != 1 or inner != outer:
            self.shortcut = nn.Sequential(nn.Conv2d(inner, outer, 1, stride=stride, bias=False))

    @property
    def shortcut_module(self) -> nn.Module | None:
        return self.shortcut


def _stage(inner: int, outer: int, stride: int) -> nn.Sequential:
    return nn.Sequential(_Unit(inner, outer, stride), _Unit(outer, outer, 1))
